"""A call of a kernel: its specialisation, the sizes, and an argument for each parameter by name."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from odl.kernels.signature import Kernel, Specialisation


@dataclass(frozen=True)
class Tensor:
    """Argument: the address of a value, or NULL."""

    name: str | None


@dataclass(frozen=True)
class Number:
    """Argument: a float constant."""

    value: float


@dataclass(frozen=True)
class Runtime:
    """Argument: a float that the network's state holds, such as `loss_scale` or `learning_rate`."""

    name: str


Argument = Tensor | Number | Runtime


@dataclass(frozen=True)
class Variant:
    """Another way to compute the same call, to the same bits: entries of the specialisation that replace the call's."""

    context: Specialisation


def register_tiles(*sizes: str) -> tuple[Variant, ...]:
    """A variant for every combination of 4, 2 and 1 as sizes of a tile, the largest in front."""
    tiles = itertools.product((4, 2, 1), repeat=len(sizes))
    return tuple(Variant(dict(zip(sizes, tile, strict=True))) for tile in tiles)


@dataclass(frozen=True)
class KernelCall:
    """Which kernel serves a node, how it is specialised and what it is called with.

    `context` specialises the template; `shape` becomes a constant struct; `arguments` are by the names of the kernel's
    parameters, NULL for an operand that is absent. `variants` are ways to compute it, of which the tuner finds the
    fastest (odl/tune); the first is what `context` says. ValueError where a parameter has no argument or an argument no
    parameter.
    """

    kernel: Kernel
    context: Specialisation
    shape: Mapping[str, int]
    arguments: Mapping[str, Argument]
    variants: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        wanted = {parameter.name for parameter in self.kernel.present(self.context)}
        if wanted != set(self.arguments):
            raise ValueError(f"{self.kernel.template} takes {sorted(wanted)}, not {sorted(self.arguments)}")

    def number(self, name: str) -> int:
        """A number in the specialisation, such as the size of a tile."""
        value = self.context[name]
        assert isinstance(value, int)
        return value

    def with_variant(self, variant: Variant) -> KernelCall:
        """The same call, computed that way."""
        return dataclasses.replace(self, context={**self.context, **variant.context})

    @property
    def in_order(self) -> tuple[Argument, ...]:
        """The arguments in the order of the kernel's parameters."""
        return tuple(self.arguments[parameter.name] for parameter in self.kernel.present(self.context))

    @property
    def tensors(self) -> dict[str, str]:
        """The values that the call is given, by operand, in order; an absent operand is not there."""
        given = {operand.name: self.arguments[operand.name] for operand in self.kernel.operands(self.context)}
        return {
            operand: argument.name
            for operand, argument in given.items()
            if isinstance(argument, Tensor) and argument.name is not None
        }
