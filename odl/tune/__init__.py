"""Finds the fastest variant of every kernel call of a network, by measuring on the simulator; chooses when compiling."""
