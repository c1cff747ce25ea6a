"""What an optimizer states about itself; every stage asks it.

An optimizer is one file of this folder, found by being there, and its kernel's template. The file holds a frozen
dataclass of the fields that torch.optim's class of that name has, and the kernel that updates one parameter.
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from odl.errors import InputError, option
from odl.graph import DType
from odl.kernels.call import Runtime
from odl.kernels.signature import (
    FLAT_SHAPE,
    Direction,
    Kernel,
    Operand,
    Scalar,
    Specialisation,
    updated,
    written,
)
from odl.kernels.tiling import FLAT
from odl.operators.base import InPlaceOperator, KernelRequest

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Limits:
    """The numbers that a field may hold, and the words that end an error after the field and its value."""

    hold: Callable[[float], bool]
    text: str


POSITIVE = Limits(lambda number: 0 < number < math.inf, "must be positive and finite")
LEARNING_RATE = Limits(POSITIVE.hold, f"the learning rate {POSITIVE.text}")
NOT_NEGATIVE = Limits(lambda number: 0 <= number < math.inf, "must be zero or positive, and finite")
BELOW_ONE = Limits(lambda number: 0 <= number < 1, "must be at least 0 and below 1")


def learning_rate(default: float) -> Any:
    """The field of the learning rate."""
    return limited(default, LEARNING_RATE, "learning rate")


def limited(default: Any, limits: Limits, text: str) -> Any:
    """A field whose number, or every number of whose tuple, is within limits; `text` is the command line's help."""
    return field(default=default, metadata={"limits": limits, "help": text})


@dataclass(frozen=True)
class State:
    """A tensor that the optimizer keeps for every parameter, under its name in PyTorch; None: the parameter's type."""

    name: str
    dtype: DType | None = None


class Restored(Enum):
    """Into which networks a saved word of the training state is taken: no other, those of the same numbers, or all.

    SAME_NUMBERS: what belongs to a loss scale, which means nothing among other formats of numbers.
    """

    NEVER = auto()
    SAME_NUMBERS = auto()
    ALWAYS = auto()


@dataclass(frozen=True)
class RunTimeScalar:
    """A float of the training state; an update kernel is passed it as `Runtime(name)`.

    `advance` is the C statement that runs before each update, with `numbers` as fp32 literals where it names them in
    braces; "" where nothing changes. `field`: the optimizer's field that it starts from, which a new build may change: then
    the build's value counts, whatever was saved, and `restored` is NEVER.
    """

    name: str
    initial: float = 0.0
    advance: str = ""
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    comment: str = ""
    field: str = ""
    restored: Restored = Restored.ALWAYS


@dataclass(frozen=True)
class Optimizer:
    """Base of all optimizers. InputError names a field that is beyond its limits, and its value."""

    #: What the command line and the manifest call it.
    name: ClassVar[str]
    #: Other names of the command line, each with the fields that it sets.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    #: The kernel of the update, and entries of its specialisation besides types and switches.
    kernel: ClassVar[Kernel]
    specialisation: ClassVar[Specialisation] = {}
    #: Whether every element moves by about the learning rate, however small its gradient.
    steps_by_sign: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value, limits = getattr(self, item.name), item.metadata["limits"]
            if not all(limits.hold(number) for number in (value if isinstance(value, tuple) else (value,))):
                raise InputError(f"{option(item.name, value)}: {limits.text}")

    @property
    @abstractmethod
    def lr(self) -> float:
        """The learning rate of the first updates; the running network can be given others."""

    @property
    def title(self) -> str:
        """What comments of the generated C call it."""
        return type(self).__name__

    @property
    def states(self) -> tuple[State, ...]:
        """The tensors kept for every parameter: what the kernel updates besides it."""
        kept = (
            operand
            for operand in self.kernel.every_operand
            if operand.direction is Direction.UPDATE and operand.name != "w"
        )
        return tuple(
            State(operand.name, DType.F32 if operand.type == "f32" else None)
            for operand in kept
            if operand.only_with is None or getattr(self, operand.only_with)
        )

    @property
    def numbers(self) -> Mapping[str, float]:
        """The kernel's scalars that are neither fields nor run-time scalars."""
        return {}

    @property
    def own_scalars(self) -> tuple[RunTimeScalar, ...]:
        """Run-time scalars besides those of all optimizers."""
        return ()

    def scalars(self, loss_scale: float) -> tuple[RunTimeScalar, ...]:
        """All floats of the training state, in its order; the loss's gradient starts with the factor `loss_scale`."""
        return (
            RunTimeScalar("learning_rate", self.lr, field="lr", restored=Restored.NEVER),
            RunTimeScalar("loss_scale", loss_scale, restored=Restored.SAME_NUMBERS),
            RunTimeScalar(
                "gradient_factor",
                advance="{state}.gradient_factor = 1.0f / ({state}.loss_scale * (float)steps);",
                comment="what a gradient is multiplied with at the update",
                restored=Restored.NEVER,
            ),
            *self.own_scalars,
        )

    def twin(self, parameters: Sequence[torch.Tensor], learning_rate: float) -> torch.optim.Optimizer:
        """torch.optim's optimizer of the same arithmetic: its class of this name, with the same fields."""
        import torch

        fields = {**dataclasses.asdict(self), "lr": learning_rate}
        twin: torch.optim.Optimizer = getattr(torch.optim, type(self).__name__)(parameters, **fields)
        return twin

    def manifest(self) -> dict[str, Any]:
        """Name and fields as manifest.json states them."""
        return {"name": self.name, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class Update(InPlaceOperator):
    """One parameter's update, in place: in fp32, rounded once at each store.

    Inputs: parameter, gradient, fp16 working copy (or absent), and the optimizer's states.
    """

    operand_names: ClassVar[Mapping[str, str]] = {"w": "parameter", "g": "gradient"}
    optimizer: Optimizer

    @property
    @override
    def signature(self) -> Kernel:
        return self.optimizer.kernel

    @property
    @override
    def title(self) -> str:
        return f"{self.optimizer.name.capitalize()}Update"

    @property
    @override
    def inputs(self) -> tuple[str, ...]:
        first = ("parameter", "gradient", "copy")
        return (*first, *(name for name in super().inputs if name not in first))

    @override
    def scalar(self, name: str) -> float | Runtime:
        if name in (scalar.name for scalar in self.optimizer.scalars(1.0)):
            return Runtime(name)
        numbers = {**vars(self.optimizer), **self.optimizer.numbers}
        value: float = numbers[name]
        return value

    @override
    def specialisation(self, request: KernelRequest) -> Specialisation:
        return self.optimizer.specialisation


#: The buffer of a momentum, in the parameter's type, and the factor; both are absent where the field `momentum` is 0.
MOMENTUM_BUFFER = updated("momentum_buffer", "M", only_with="momentum")
MOMENTUM = Scalar("momentum", only_with="momentum")


def update_kernel(template: str, states: Sequence[Operand], scalars: Sequence[Scalar]) -> Kernel:
    """An update's kernel: parameter, working copy, gradient and states; rates, the optimizer's own scalars, decay."""
    return Kernel(
        template,
        FLAT_SHAPE,
        (
            updated("w", "W"),
            written("copy", "C", only_with="C"),
            Operand("g", "G"),
            *states,
            Scalar("learning_rate"),
            Scalar("gradient_factor"),
            *scalars,
            Scalar("weight_decay", only_with="weight_decay"),
        ),
        may_overlap=(("copy", "g"),),
        tiling=FLAT,
    )
