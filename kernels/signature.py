"""A kernel's signature as a value: what its C function is called with.

Everything that is said of a kernel's parameters follows from its signature: the C prototype and the struct of the shape,
what a call passes, which tensors may share memory, which part of a tensor a tile takes, the operands of the tuner and of
the tests. A `Kernel` stands beside the operator that it serves; its template is kernels/<template>.c.j2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial

from odl.kernels.tiling import Tiling

#: What a template is specialised with: types by the names of its type parameters, tile sizes, switches.
Specialisation = Mapping[str, str | int]

_FIXED_TYPES = {"f32": "float", "u8": "uint8_t", "i8": "int8_t", "i32": "int32_t"}


class Direction(Enum):
    """What a kernel does with an operand: `UPDATE` reads and writes it."""

    READ = "read"
    WRITE = "write"
    UPDATE = "update"


@dataclass(frozen=True)
class Operand:
    """A tensor parameter: a pointer.

    `type` is a type parameter of the template (capital letters) or "f32", "u8", "i8" or "i32". An `optional` operand may be
    NULL. With `only_with` the parameter exists where that entry of the specialisation is neither False nor "none"; with
    `updated_with` an operand that is written is read as well where that entry is true.
    """

    name: str
    type: str
    direction: Direction = Direction.READ
    optional: bool = False
    only_with: str | None = None
    updated_with: str | None = None

    def reads(self, context: Specialisation) -> bool:
        """Whether the kernel reads what the operand held before the call."""
        updates = self.updated_with is not None and bool(context.get(self.updated_with))
        return updates or self.direction is not Direction.WRITE

    @property
    def written(self) -> bool:
        """Whether the kernel writes the operand."""
        return self.direction is not Direction.READ

    def declaration(self, context: Specialisation) -> str:
        """The parameter in C."""
        kind = _FIXED_TYPES.get(self.type) or f"odl_{context[self.type]}"
        return f"{'' if self.written else 'const '}{kind} *{self.name}"


written = partial(Operand, direction=Direction.WRITE)
updated = partial(Operand, direction=Direction.UPDATE)


@dataclass(frozen=True)
class Scalar:
    """A float parameter; `only_with` as an operand's."""

    name: str
    only_with: str | None = None

    def declaration(self, context: Specialisation) -> str:
        """The parameter in C."""
        return f"float {self.name}"


Parameter = Operand | Scalar


@dataclass(frozen=True)
class ShapeStruct:
    """The C struct that states a call's sizes: unsigned fields in order."""

    name: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Kernel:
    """A family of C functions, one for each specialisation of a template.

    A function takes the shape, the parameters in order, and which core of how many it runs on. `may_overlap` holds
    (written, read) operands that may be the same memory. `tiling` says how a call can be divided; None: it cannot.
    """

    template: str
    shape: ShapeStruct
    parameters: tuple[Parameter, ...]
    may_overlap: tuple[tuple[str, str], ...] = ()
    tiling: Tiling | None = None

    @property
    def every_operand(self) -> tuple[Operand, ...]:
        """The tensor parameters of all specialisations, in order."""
        return tuple(parameter for parameter in self.parameters if isinstance(parameter, Operand))

    @property
    def switches(self) -> frozenset[str]:
        """Entries of the specialisation, other than types, that say whether a parameter exists."""
        types = {operand.type for operand in self.every_operand}
        return frozenset(item.only_with for item in self.parameters if item.only_with) - types

    def types(self, given: Mapping[str, str]) -> dict[str, str]:
        """The template's type parameters, by the types of the operands that a call has.

        Where it has none of a type, this is "none" if the parameter is absent with it, else one that C never reads.
        """
        types: dict[str, str] = {}
        for operand in self.every_operand:
            if operand.type not in _FIXED_TYPES:
                without = "none" if operand.only_with else "f32"
                types[operand.type] = given.get(operand.name) or types.get(operand.type) or without
        return types

    def present(self, context: Specialisation) -> tuple[Parameter, ...]:
        """The parameters that exist in a specialisation, in order."""
        return tuple(
            parameter
            for parameter in self.parameters
            if parameter.only_with is None or context[parameter.only_with] not in (False, "none")
        )

    def operands(self, context: Specialisation) -> tuple[Operand, ...]:
        """The tensor parameters that exist in a specialisation, in order."""
        return tuple(parameter for parameter in self.present(context) if isinstance(parameter, Operand))

    def read(self, context: Specialisation) -> frozenset[str]:
        """Names of the operands that the kernel reads."""
        return frozenset(operand.name for operand in self.operands(context) if operand.reads(context))

    def prototype(self, function: str, context: Specialisation) -> str:
        """The C prototype of a specialisation, without the semicolon."""
        parameters = [parameter.declaration(context) for parameter in self.present(context)]
        listed = ", ".join(
            [f"const struct {self.shape.name} *s", *parameters, "uint32_t core", "uint32_t cores"]
        )
        return f"void {function}({listed})"


FLAT_SHAPE = ShapeStruct("odl_flat_shape", ("count",))
CHANNEL_SHAPE = ShapeStruct("odl_channel_shape", ("pixels", "channels"))
LAYOUT_SHAPE = ShapeStruct("odl_layout_shape", ("batch", "height", "width", "channels"))
