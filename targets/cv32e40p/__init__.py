"""A cluster of CV32E40P cores: the core's own RTL under Verilator, the memories around it modelled cycle by cycle.

`description` says what the machine looks like, `simulator` builds the simulator, `simulation` runs a program on it.
Programs are built by `odl.targets.pulp`.
"""
