"""Runtime of programs for PULP-like clusters: the CV32E40P simulator and GVSoC.

The runtime (runtime/odl_runtime.h) is the same for both; only the event load's encoding, the cycle counter and who
starts the cores differ.
"""
