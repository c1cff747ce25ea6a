"""What an optimizer states about itself; every stage asks it.

An optimizer is one file of this folder, found by being there, and its kernel's template. The file holds a frozen
dataclass of the fields that torch.optim's class of that name has, and the operator that updates one parameter.
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
from odl.graph.ir import DType
from odl.graph.operator import Array, Shape
from odl.kernels.call import Argument, KernelCall, Number, Runtime
from odl.kernels.signature import FLAT_SHAPE, Direction, Kernel, Operand, Scalar, Specialisation
from odl.kernels.tiling import FLAT
from odl.operators.base import KernelRequest, Operator

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
    @abstractmethod
    def states(self) -> tuple[State, ...]:
        """The tensors kept for every parameter; inputs of the update by the same names."""

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

    @abstractmethod
    def update(self) -> Update:
        """The operator that updates one parameter."""

    @abstractmethod
    def twin(self, parameters: Sequence[torch.Tensor], learning_rate: float) -> torch.optim.Optimizer:
        """torch.optim's optimizer of the same arithmetic."""

    def manifest(self) -> dict[str, Any]:
        """Name and fields as manifest.json states them."""
        return {"name": self.name, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class Update(Operator):
    """One parameter's update, in place: in fp32, rounded once at each store.

    Inputs: parameter, gradient, fp16 working copy (or absent), and the optimizer's states; a subclass adds their names.
    """

    inputs: ClassVar[tuple[str, ...]] = ("parameter", "gradient", "copy")
    pass_name: ClassVar[str] = "update"
    operand_names: ClassVar[Mapping[str, str]] = {"w": "parameter", "g": "gradient"}

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {}

    @override
    def reference(self, **arrays: Array) -> dict[str, Array]:
        """None: an update is done in place, with a learning rate that only the running network knows."""
        raise TypeError("an update has no value; torch.optim is its reference (odl.check.reference)")

    @property
    @abstractmethod
    def weight_decay(self) -> float:
        """What the parameter is multiplied with and added to its gradient."""

    @property
    @abstractmethod
    def scalars(self) -> Mapping[str, Argument]:
        """The kernel's own scalars by name, after learning_rate and gradient_factor and before weight_decay."""

    def specialisation(self, request: KernelRequest) -> Specialisation:
        """Entries of the specialisation besides W, C, G and weight_decay."""
        return {}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        """The optimizer's kernel, flat over the parameter's elements."""
        parameter, gradient = request.present("parameter"), request.present("gradient")
        copy = request.value("copy")
        context: Specialisation = {
            "W": parameter.dtype,
            "C": "none" if copy is None else copy.dtype,
            "G": gradient.dtype,
            "weight_decay": self.weight_decay != 0.0,
            **self.specialisation(request),
        }
        scalars: dict[str, Argument] = {
            "learning_rate": Runtime("learning_rate"),
            "gradient_factor": Runtime("gradient_factor"),
            **self.scalars,
        }
        if self.weight_decay:
            scalars["weight_decay"] = Number(self.weight_decay)
        return self.call(request, context, {"count": parameter.count}, scalars)


def update_kernel(template: str, states: Sequence[Operand], scalars: Sequence[Scalar]) -> Kernel:
    """An update's kernel: parameter, working copy, gradient and states; rates, the optimizer's own scalars, decay."""
    return Kernel(
        template,
        FLAT_SHAPE,
        (
            Operand("w", "W", Direction.UPDATE),
            Operand("copy", "C", Direction.WRITE, only_with="C"),
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
