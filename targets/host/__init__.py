"""This machine: the exact build computes the devices' bits, the fast build is free to vectorise."""
