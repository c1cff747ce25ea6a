"""Arithmetic of two tensors that are repeated to one shape, and of a tensor and a number; PReLU (He et al. 2015,
arXiv 1502.01852).

Shapes go together as in PyTorch: aligned at their ends, an axis of one element is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array, Layout, Role, Shape, Value
from odl.kernels.signature import Kernel, Operand, Scalar, ShapeStruct, Specialisation, written
from odl.kernels.tiling import Slice, Tile, Tiling, ranges
from odl.operators.base import AnyOrder, KernelRequest
from odl.operators.elementwise import Add
from odl.operators.global_pooling import GlobalAveragePoolGradient
from odl.operators.lowering import Expanded, Lowering, Viewed, lowers
from odl.operators.strides import in_memory_order, merged, strides
from odl.operators.unary import Function, Unary, scaled

_AXES = range(4)


@dataclass(frozen=True)
class BroadcastTiling(Tiling):
    """Runs along the outermost axis that has more than one element. Operands: a, b, y."""

    def limits(self, shape: Mapping[str, int]) -> tuple[int, int]:
        """Single indices, or pieces of at least 64 elements; one where an operand does not lie in this order."""
        axis = self._axis(shape)
        if any(self._steps(shape, name)[axis] not in (0, self._rest(shape, name, axis)) for name in "ab"):
            return 1, 1
        return (shape[f"n{axis}"] if axis < 3 else max(1, shape["n3"] // 64)), 1

    def tiles(
        self, shape: Mapping[str, int], counts: Mapping[str, int], parts: tuple[int, int]
    ) -> list[Tile]:
        """Runs of indices."""
        axis = self._axis(shape)
        tiles = []
        for begin, end in ranges(shape[f"n{axis}"], parts[0], 4 if axis == 3 else 1):
            slices = {}
            for name, count in counts.items():
                step = (
                    math.prod(self._sizes(shape)[axis + 1 :])
                    if name == "y"
                    else self._steps(shape, name)[axis]
                )
                slices[name] = Slice(begin * step, (end - begin) * step) if step else Slice(0, count)
            tiles.append(Tile({**shape, f"n{axis}": end - begin}, slices))
        return tiles

    def _axis(self, shape: Mapping[str, int]) -> int:
        return next((axis for axis in _AXES if shape[f"n{axis}"] > 1), 3)

    def _sizes(self, shape: Mapping[str, int]) -> list[int]:
        return [shape[f"n{axis}"] for axis in _AXES]

    def _steps(self, shape: Mapping[str, int], name: str) -> list[int]:
        return [shape[f"{name}{axis}"] for axis in _AXES]

    def _rest(self, shape: Mapping[str, int], name: str, axis: int) -> int:
        """How many elements of the operand belong to one index."""
        behind = zip(self._sizes(shape)[axis + 1 :], self._steps(shape, name)[axis + 1 :], strict=True)
        return math.prod(size for size, step in behind if step)


BROADCAST = Kernel(
    "broadcast",
    ShapeStruct("odl_broadcast_shape", tuple(f"{name}{axis}" for name in "nab" for axis in _AXES)),
    (
        Operand("a", "A", only_with="with_a"),
        Operand("b", "B"),
        written("y", "T"),
        Scalar("scale", "with_scale"),
    ),
    (("y", "a"), ("y", "b")),
    BroadcastTiling(),
)


class Arithmetic(StrEnum):
    """What kernels/broadcast.c.j2 calls a function of two numbers."""

    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    EXPAND = "expand"
    PRELU = "prelu"
    PRELU_SLOPE = "prelu_slope"
    PRELU_SHARE = "prelu_share"


VALUES: Mapping[Arithmetic, Callable[[Array, Array], Array]] = {
    Arithmetic.ADD: np.add,
    Arithmetic.SUBTRACT: np.subtract,
    Arithmetic.MULTIPLY: np.multiply,
    Arithmetic.DIVIDE: np.divide,
    Arithmetic.PRELU: lambda a, b: np.where(a > 0, a, a * b),
    Arithmetic.PRELU_SLOPE: lambda a, b: np.where(a > 0, 1, b),
    Arithmetic.PRELU_SHARE: lambda a, b: np.where(b > 0, 0, a * b),
}


@dataclass(frozen=True)
class Broadcast(AnyOrder):
    """y = function(a, b), both repeated to `shape`; b is seen as a tensor of the shape `seen`, where it has another.

    EXPAND has no a: y = b times scale. The gradients of PReLU are made of PRELU_SLOPE, of its input and its weight, and
    PRELU_SHARE, of dy and its input: what each element adds to the weight's gradient.
    """

    signature: ClassVar[Kernel] = BROADCAST
    repeats: ClassVar[bool] = True
    function: Arithmetic
    shape: Shape
    seen: Shape | None = None
    scale: float = 1.0

    @property
    @override
    def title(self) -> str:
        return "".join(word.capitalize() for word in self.function.split("_"))

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        b = self.seen or inputs["b"]
        if math.prod(b) != math.prod(inputs["b"]):
            raise ValueError(f"{inputs['b']} cannot be seen as {b}")
        if np.broadcast_shapes(inputs.get("a", b), b, self.shape) != self.shape:
            raise ValueError(f"{inputs.get('a', b)} and {b} are not repeated to {self.shape}")
        return {"y": self.shape}

    @override
    def layout(self, given: Mapping[str, Value], shape: Shape) -> Layout:
        ranked = [value for value in given.values() if len(value.shape) == len(shape)]
        largest = max(ranked, key=lambda value: value.count, default=None)
        return Layout.FLAT if largest is None else largest.layout

    @override
    def reference(self, *, b: Array, a: Array | None = None) -> dict[str, Array]:
        b = b.reshape(self.seen or b.shape)
        y = b * self.scale if a is None else VALUES[self.function](a, b)
        return {"y": np.array(np.broadcast_to(y, self.shape), dtype=(b if a is None else a).dtype)}

    @override
    def scalar(self, name: str) -> float:
        """The scale; of `with_<name>` whether the kernel has the parameter."""
        expands = self.function is Arithmetic.EXPAND
        return {"with_a": float(not expands), "with_scale": float(expands), "scale": self.scale}[name]

    @override
    def specialisation(self, request: KernelRequest) -> Specialisation:
        return {"function": str(self.function)}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        layout = request.present("y").layout
        a, b = request.value("a"), request.present("b")
        walks = [
            [0] * len(self.shape) if a is None else strides(a, self.shape),
            strides(b, self.shape, self.seen),
        ]
        ordered = (in_memory_order(layout, items) for items in (self.shape, *walks))
        try:
            return walk_fields(*ordered)
        except ValueError as error:
            raise InputError(f"{self.title} of {b.shape} repeated to {self.shape}: {error}") from error


def walk_fields(sizes: Sequence[int], a: Sequence[int], b: Sequence[int]) -> dict[str, int]:
    """The fields of the kernel's struct for sizes in the order of memory and both operands' strides.

    ValueError where the walk has more axes than the kernel.
    """
    joined, steps = merged(sizes, a, b)
    if len(joined) > len(_AXES):
        raise ValueError(f"it walks through more than {len(_AXES)} axes")
    missing = len(_AXES) - len(joined)
    fields = {"n": [1] * missing + joined} | {
        name: [0] * missing + given for name, given in zip("ab", steps, strict=True)
    }
    return {f"{name}{axis}": values[axis] for name, values in fields.items() for axis in _AXES}


def _seen_operand(lowering: Lowering, node: Any) -> tuple[str, Shape | None]:
    """The value that is repeated, and the shape under which it is seen where that is not its own."""
    operand = node if isinstance(node, str) else lowering.operand(node)
    if isinstance(operand, Viewed):
        return operand.name, operand.shape
    if isinstance(operand, Expanded):
        return operand.name, None
    return operand if isinstance(operand, str) else lowering.name(node), None


def _emit(lowering: Lowering, node: Any, function: Arithmetic, a: Any, b: Any) -> None:
    (first, first_seen), (second, seen) = _seen_operand(lowering, a), _seen_operand(lowering, b)
    roles = [lowering.values[name].role for name in (first, second)]
    if first_seen is not None or roles[0].of_model:
        if function not in (Arithmetic.ADD, Arithmetic.MULTIPLY) or seen is not None or roles[1].of_model:
            raise InputError(
                f"{lowering.where(node)}: computing with a parameter or buffer is supported where it is the second of two "
                "operands, and the first is an activation"
            )
        first, second, seen = second, first, first_seen
    if Role.PARAMETER_GRADIENT in roles:
        raise InputError("a parameter is used more than once; give each use a parameter of its own")
    role = lowering.role_from(first, second)
    shapes = {lowering.values[name].shape for name in (first, second)}
    if (
        function is Arithmetic.ADD
        and len(shapes) == 1
        and seen is None
        and not any(item.of_model for item in roles)
    ):
        lowering.emit(node, Add(), {"a": first, "b": second}, role)
        return
    lowering.emit(node, Broadcast(function, lowering.shape(node), seen), {"a": first, "b": second}, role)


def _is_number(argument: Any) -> bool:
    return isinstance(argument, int | float)


@lowers("aten.add.Tensor", "aten.sub.Tensor", "aten.rsub.Scalar")
def lower_sum(lowering: Lowering, node: Any) -> None:
    """a + alpha b, a - alpha b, or (rsub) b - alpha a; b may be a number."""
    a, b = node.args[:2]
    alpha = float(lowering.keyword(node, "alpha", 1))
    sign = 1.0 if "add" in str(node.target) else -1.0
    if _is_number(b):
        reversed_sum = "rsub" in str(node.target)
        scale, shift = (-alpha, float(b)) if reversed_sum else (1.0, sign * alpha * float(b))
        lowering.emit(node, Unary(Function.AFFINE, scale=scale, shift=shift), {"x": a}, lowering.made_of(a))
        return
    if alpha != 1:
        name = lowering.name(b)
        (b,) = lowering.add(node, scaled(alpha), {"x": name}, lowering.made_of(b)).values()
    _emit(lowering, node, Arithmetic.ADD if sign > 0 else Arithmetic.SUBTRACT, a, b)


@lowers("aten.mul.Tensor", "aten.mul.Scalar", "aten.div.Tensor", "aten.div.Scalar")
def lower_product(lowering: Lowering, node: Any) -> None:
    """a b or a / b; b may be a number. The mean's gradient is a tensor repeated and divided by the number of elements."""
    a, b = node.args
    divides = ".div." in str(node.target)
    if not _is_number(b):
        _emit(lowering, node, Arithmetic.DIVIDE if divides else Arithmetic.MULTIPLY, a, b)
        return
    operand = lowering.operand(a)
    factor = 1.0 / float(b) if divides else float(b)
    if not isinstance(operand, Expanded):
        lowering.emit(node, scaled(factor), {"x": a}, lowering.made_of(a))
        return
    before, (n, c, *behind) = lowering.values[operand.name].shape, operand.shape
    if divides and behind and float(b) == math.prod(behind) and before == (n, c, *[1] * len(behind)):
        lowering.emit(node, GlobalAveragePoolGradient(operand.shape), {"dy": operand.name})
    else:
        emit_expanded(lowering, node, operand, factor)


def emit_expanded(lowering: Lowering, node: Any, operand: Expanded, factor: float = 1.0) -> str:
    """The repeated tensor, times a number."""
    operator = Broadcast(Arithmetic.EXPAND, operand.shape, scale=factor)
    return lowering.emit(node, operator, {"b": operand.name}, lowering.role_from(operand.name))


@lowers("aten.expand.default")
def lower_expand(lowering: Lowering, node: Any) -> None:
    """A tensor that is repeated: most readers repeat it themselves."""
    lowering.set(node, Expanded(lowering.name(node.args[0]), lowering.shape(node), emit_expanded))


@lowers("aten.pow.Tensor_Scalar")
def lower_power(lowering: Lowering, node: Any) -> None:
    """x squared, and the x that its gradient writes as a power of 1."""
    x, exponent = node.args
    if float(exponent) == 1.0:
        lowering.set(node, lowering.operand(x))
    elif float(exponent) == 2.0:
        _emit(lowering, node, Arithmetic.MULTIPLY, x, x)
    else:
        raise InputError(f"{lowering.where(node)}: a power of {exponent} is not supported; the square is")


@lowers("aten._prelu_kernel.default")
def lower_prelu(lowering: Lowering, node: Any) -> None:
    """prelu(x, weight): the weight is seen as a tensor that is repeated."""
    x, weight = node.args
    _emit(lowering, node, Arithmetic.PRELU, x, weight)


@lowers("aten._prelu_kernel_backward.default")
def lower_prelu_backward(lowering: Lowering, node: Any) -> None:
    """_prelu_kernel_backward(dy, x, weight): dx, and what every element adds to the weight's gradient."""
    dy, x, weight = node.args
    shape, (name, seen) = lowering.shape(x), _seen_operand(lowering, weight)
    slope = Broadcast(Arithmetic.PRELU_SLOPE, shape, seen)
    (slopes,) = lowering.add(node, slope, {"a": x, "b": name}, Role.ACTIVATION).values()
    results: list[str] = []
    for operator, operands in (
        (Broadcast(Arithmetic.MULTIPLY, shape), {"a": dy, "b": slopes}),
        (Broadcast(Arithmetic.PRELU_SHARE, shape), {"a": dy, "b": x}),
    ):
        results += lowering.add(node, operator, operands, Role.GRADIENT).values()
    lowering.set(node, tuple(results))
