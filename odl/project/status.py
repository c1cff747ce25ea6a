"""What a call of a project's C tells its caller: `enum <prefix>_status` of its header, and what Python says of each."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class Status(IntEnum):
    """A status by its name in C without the prefix. Numbers never change: firmware logs them. `text` says what it means."""

    text: str

    OK = 0, "done"
    NOT_FINITE = 16, "a weight, a statistic or optimizer state is NaN or infinite"
    STATE_NONE = 32, "there is no saved state"
    STATE_DAMAGED = 33, "the saved state is damaged, truncated or was never finished"
    STATE_FORMAT = 34, "the saved state is of another version of the format"
    STATE_NETWORK = 35, "the saved state is of another network"
    STATE_LOSS = 36, "the saved state is of a training with another loss"
    STATE_TRAINED = 37, "the saved state is of a training of other parameters or statistics"
    STATE_OPTIMIZER = 38, "the saved state is of another optimizer, or of one with other constants"
    STATE_WAITING = 39, "gradients wait in the saved state for an update, which this network has no room for"
    STATE_RANGE = 40, "the saved state has a number beyond the range of the type that it is to be stored in"
    STATE_TOO_SMALL = 41, "the memory, a slot or the buffer is too small for the state"
    STATE_STORAGE = 42, "the storage failed, or its sizes make no sense"
    STATE_LOST = (
        43,
        "the storage failed while a state that was found whole was restored; the network is as compiled",
    )

    def __new__(cls, number: int, text: str) -> Self:
        """A member whose value is its number."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.text = text
        return member


def declaration(*, comments: bool = True) -> str:
    """The enumeration in C, as Jinja text over the prefix."""
    lines = ["typedef enum {{ prefix }}_status {"]
    for item in Status:
        if comments:
            lines.append(f"    /* {item.text[0].upper()}{item.text[1:]}. */")
        lines.append(f"    {{{{ PREFIX }}}}_{item.name} = {item.value},")
    return "\n".join([*lines, "} {{ prefix }}_status;"])
