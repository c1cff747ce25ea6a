"""Saved training states: `odl.state.read` takes the bytes that a device saved, without loading the network."""

from odl.state.blob import Blob, Record, Slot, find_slots
from odl.state.saved import State, difference, read

__all__ = ["Blob", "Record", "Slot", "State", "difference", "find_slots", "read"]
