"""What a call of a project's C tells its caller: `enum <prefix>_status` of its header, and what Python says of each."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Self


class Status(IntEnum):
    """A status by its name in C without the prefix. Numbers never change: firmware logs them. `text` says what it means."""

    text: str

    OK = 0, "done"
    OVERFLOW = 1, "numbers beyond their type: a step is skipped, a sum starts anew, an output is not finite"
    SCALE_FLOOR = 2, "a step is skipped for an overflow that no smaller loss scale can prevent"
    UPDATE_OVERFLOW = (
        3,
        "an update left the range of its type, and weights are lost: load a state, lower the rate",
    )
    BAD_INPUT = 4, "the input holds NaN, infinity, or a number beyond the type that stores it"
    BAD_TARGET = 5, "the target holds NaN or infinity, or with cross-entropy no probabilities of sum 1"
    BAD_LABEL = 6, "a label is no class number"
    BAD_SAMPLE_WEIGHT = 7, "a sample weight is NaN or infinite"
    BAD_WEIGHTS = 8, "a weight or statistic, written from outside, is NaN, infinite or beyond its type"
    WRONG_ORDER = (
        9,
        "before init; apply with nothing accumulated; a step while accumulated gradients wait, or while the log has steps",
    )
    BAD_LEARNING_RATE = 10, "the learning rate is negative, NaN or infinite"
    LOG_FULL = 11, "the log has no room: drop its oldest steps, which can then not be forgotten"
    NOT_IN_LOG = (
        12,
        "a sample is not in the log: it was never learned, was forgotten, or its step was dropped",
    )
    BAD_SETTING = 13, "a setting of the call is beyond its range"
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
    STATE_LOST = 43, "the storage failed while a sound state was restored; the network is as compiled"
    HEAD_FULL = 64, "the analytic head has as many samples as its sums can certainly hold"
    HEAD_EMPTY = 65, "the analytic head has no sample to solve with, or none of that class to take out"
    HEAD_STALE = 66, "weights below the analytic head changed since its first sample: reset the head"
    HEAD_SINGULAR = (
        67,
        "the analytic head's equations have no solution: add samples, or compile with more shrinkage",
    )
    HEAD_UNSOLVED = 68, "the analytic head has no weights yet, or lost them with a sample: solve it"
    HEAD_RANGE = 69, "the sample's features are NaN, infinite or overflow on the way"

    def __new__(cls, number: int, text: str) -> Self:
        """A member whose value is its number."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.text = text
        return member

    @classmethod
    def of(cls, number: int) -> Status:
        """The status of that number; KeyError where there is none."""
        return {int(item): item for item in cls}[number]

    @property
    def everywhere(self) -> bool:
        """Whether every project's C declares it; others do where one of their functions returns it."""
        return self < 64

    @property
    def refused(self) -> bool:
        """Whether the caller is at fault, and the call did nothing."""
        return self not in (Status.OK, Status.OVERFLOW, Status.SCALE_FLOOR, Status.UPDATE_OVERFLOW)

    @property
    def raised(self) -> bool:
        """Whether Python raises it: all but the skipped steps, which training goes on from."""
        return self.refused or self is Status.UPDATE_OVERFLOW


#: How far the sum of a sample's target probabilities may be from 1.
TARGET_TOLERANCE = 1e-3


def declaration(declared: Iterable[Status] = Status, *, comments: bool = True) -> str:
    """The enumeration in C, as Jinja text over the prefix."""
    lines = ["typedef enum {{ prefix }}_status {"]
    for item in declared:
        if comments:
            lines.append(f"    /* {item.text[0].upper()}{item.text[1:]}. */")
        lines.append(f"    {{{{ PREFIX }}}}_{item.name} = {item.value},")
    return "\n".join([*lines, "} {{ prefix }}_status;"])
