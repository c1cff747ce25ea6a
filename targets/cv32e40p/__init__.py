"""A cluster of CV32E40P cores: the core's own RTL under Verilator, the memories around it modelled cycle by cycle.

`description` says what the machine looks like, `build_simulator` builds the simulator of what `find_tools` finds,
`run_program` runs a program on it.
`odl.targets.pulp` says how programs are built.
"""
