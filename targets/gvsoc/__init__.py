"""GVSoC's pulp-open: a fabric controller and a cluster of eight RI5CY cores that share four FPUs.

GVSoC is the user's own installation. `launch` finds it and runs a program on it. Data goes in and comes out by the
files of common/exchange.py. The rest of the runtime is targets/pulp's.
"""
