"""Values: tensors with a shape, a storage type, a memory layout and a role, which says what they are for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class DType(StrEnum):
    """Storage type of a tensor."""

    F16 = "f16"
    F32 = "f32"
    U8 = "u8"
    I8 = "i8"
    U32 = "u32"
    I32 = "i32"

    @property
    def bytes(self) -> int:
        """Bytes of one element."""
        return int(self.value[1:]) // 8


class Purpose(StrEnum):
    """What the bytes of a buffer are for, as memory plans and reports sum them up."""

    WEIGHTS = "weights"
    ACTIVATIONS = "activations"
    GRADIENTS = "gradients"
    OPTIMIZER = "optimizer"
    STATISTICS = "statistics"
    INPUTS = "inputs"
    RECORDS = "records"


@dataclass(frozen=True)
class _Facts:
    purpose: Purpose
    persistent: bool = False
    of_model: bool = False
    from_caller: bool = False
    to_caller: bool = False
    half: bool = False
    derived: bool = False
    dtypes: tuple[DType, ...] = (DType.F32, DType.F16)


class Role(StrEnum):
    """What a value is for, and everything that stages decide by it.

    SAVED is what a forward kernel keeps for its gradient besides activations, in a type of its own. RECORD is what an entry
    point other than training adds up over calls. WORK is what such an entry point computes on the way, in a type of its
    own; a program may hand it to those that follow.
    """

    INPUT = "input", _Facts(Purpose.INPUTS, from_caller=True, half=True)
    TARGET = "target", _Facts(Purpose.INPUTS, from_caller=True, dtypes=(DType.F32,))
    SAMPLE_WEIGHT = "sample_weight", _Facts(Purpose.INPUTS, from_caller=True, dtypes=(DType.F32,))
    PARAMETER = "parameter", _Facts(Purpose.WEIGHTS, persistent=True, of_model=True)
    WORKING_COPY = (
        "working_copy",
        _Facts(Purpose.WEIGHTS, persistent=True, derived=True, dtypes=(DType.F16,)),
    )
    STATISTIC = "statistic", _Facts(Purpose.STATISTICS, persistent=True, of_model=True, dtypes=(DType.F32,))
    ACTIVATION = "activation", _Facts(Purpose.ACTIVATIONS, half=True)
    SAVED = "saved", _Facts(Purpose.ACTIVATIONS, dtypes=(DType.F32, DType.U8))
    GRADIENT = "gradient", _Facts(Purpose.GRADIENTS, half=True)
    PARAMETER_GRADIENT = "parameter_gradient", _Facts(Purpose.GRADIENTS)
    OPTIMIZER = "optimizer", _Facts(Purpose.OPTIMIZER, persistent=True)
    RECORD = "record", _Facts(Purpose.RECORDS, persistent=True, dtypes=tuple(DType))
    WORK = "work", _Facts(Purpose.ACTIVATIONS, dtypes=(DType.F32, DType.I8))
    LOSS = "loss", _Facts(Purpose.ACTIVATIONS, to_caller=True, dtypes=(DType.F32,))

    purpose: Purpose
    """The memory plan's category."""
    persistent: bool
    """Whether the value outlives a step."""
    of_model: bool
    """Whether the value is a parameter or buffer of the user's module."""
    from_caller: bool
    """Whether the caller of a program writes the value before it."""
    to_caller: bool
    """Whether the caller reads the value after it."""
    half: bool
    """Whether the value is stored in fp16 in every precision but fp32."""
    derived: bool
    """Whether the value is made again from others."""
    dtypes: tuple[DType, ...]
    """The types in which such a value can be stored."""

    def __new__(cls, text: str, facts: _Facts | None = None) -> Self:
        """A member whose value is its text; looking one up, `Role(text)`, takes no facts."""
        assert facts is not None
        member = str.__new__(cls, text)
        member._value_ = text
        for name, fact in vars(facts).items():
            setattr(member, name, fact)
        return member

    @property
    def saved(self) -> bool:
        """Whether a saved state holds the value: it outlives a step, and nothing makes it again from others."""
        return self.persistent and not self.derived

    @property
    def handed_on(self) -> bool:
        """Whether a program can leave such a value to the programs that follow it."""
        return self in (Role.PARAMETER_GRADIENT, Role.WORK)

    @property
    def pinned(self) -> bool:
        """Whether the value comes from or goes to the caller, so that no operator may work in its bytes."""
        return self.from_caller or self.to_caller


class Layout(StrEnum):
    """Order of the bytes: which permutation of the PyTorch axes lies contiguously in memory.

    With three axes, of sequences and their windows, the letters hold without H.
    """

    FLAT = "flat"
    NHWC = "nhwc"
    OHWI = "ohwi"
    HWC = "hwc"

    def permutation(self, rank: int) -> tuple[int, ...]:
        """PyTorch axis of each memory axis, outermost first."""
        if self is Layout.FLAT or rank < 3:
            return tuple(range(rank))
        window = tuple(range(2, rank))
        return (*window, 0, 1) if self is Layout.HWC else (0, *window, 1)


@dataclass(frozen=True)
class Value:
    """A tensor: PyTorch shape, storage type, memory layout and role.

    `source` is the PyTorch name of the parameter or buffer that the value holds, updates or differentiates.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    dtype: DType = DType.F32
    layout: Layout = Layout.FLAT
    source: str | None = None

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes in memory."""
        return self.count * self.dtype.bytes

    @property
    def persistent(self) -> bool:
        """Whether the value outlives a step."""
        return self.role.persistent
