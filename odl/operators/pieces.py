"""Pieces of tensors: joined along an axis, cut out of one, put back among zeros; axes in another order; channels shuffled
(Zhang et al. 2017, arXiv 1707.01083).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array, InPlace, Layout, Role, Shape, Value
from odl.kernels.call import KernelCall
from odl.kernels.signature import Kernel, Operand, Scalar, ShapeStruct, Specialisation, written
from odl.kernels.tiling import Tile, Tiling, outer_runs
from odl.operators.base import AnyOrder, KernelRequest, Operator
from odl.operators.broadcast import BROADCAST, Arithmetic, walk_fields
from odl.operators.lowering import Lowering, Reads, arguments, arguments_of, lowers, lowers_expression
from odl.operators.shape import Reshape
from odl.operators.strides import in_memory_order, strides

_JOINED = "abcd"


@dataclass(frozen=True)
class OuterTiling(Tiling):
    """Runs of the outermost index. Every operand has as many elements for each."""

    def limits(self, shape: Mapping[str, int]) -> tuple[int, int]:
        """Single indices."""
        return shape["outer"], 1

    def tiles(
        self, shape: Mapping[str, int], counts: Mapping[str, int], parts: tuple[int, int]
    ) -> list[Tile]:
        """Runs of indices."""
        return outer_runs(shape, "outer", counts, parts[0])


CONCATENATE = Kernel(
    "concatenate",
    ShapeStruct("odl_concatenate_shape", ("outer", *_JOINED)),
    (*(Operand(name, "T", optional=name != "a") for name in _JOINED), written("y", "T")),
    (),
    OuterTiling(),
)
_SLICE_SHAPE = ShapeStruct("odl_slice_shape", ("outer", "whole", "first", "step", "count", "inner"))
SLICE = Kernel("slice", _SLICE_SHAPE, (Operand("x", "T"), written("y", "T")), (), OuterTiling())
PLACE = Kernel(
    "place", _SLICE_SHAPE, (Operand("x", "T"), written("y", "T"), Scalar("value")), (), OuterTiling()
)


def _around(value: Value, axis: int) -> dict[str, int]:
    """How many elements stand in memory outside and inside of an axis."""
    order = value.layout.permutation(len(value.shape))
    sizes, place = in_memory_order(value.layout, value.shape), order.index(axis)
    return {"outer": math.prod(sizes[:place]), "inner": math.prod(sizes[place + 1 :])}


class _AlongAxis(AnyOrder):
    """Operands and output in one layout, any."""

    one_order: ClassVar[bool] = True

    @override
    def layout(self, given: Mapping[str, Value], shape: Shape) -> Layout:
        return max(given.values(), key=lambda value: value.count).layout


@dataclass(frozen=True)
class Concatenate(_AlongAxis):
    """Up to four tensors one behind the other along an axis."""

    signature: ClassVar[Kernel] = CONCATENATE
    axis: int

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        first = inputs["a"]
        rests = {tuple(size for axis, size in enumerate(x) if axis != self.axis) for x in inputs.values()}
        if len(rests) > 1:
            raise ValueError(f"{' and '.join(map(str, inputs.values()))} differ beside axis {self.axis}")
        total = sum(x[self.axis] for x in inputs.values())
        return {"y": (*first[: self.axis], total, *first[self.axis + 1 :])}

    @override
    def reference(self, **arrays: Array) -> dict[str, Array]:
        return {"y": np.concatenate(list(arrays.values()), axis=self.axis)}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        around = _around(request.present("y"), self.axis)
        given = {name: request.value(name) for name in _JOINED}
        runs = {
            name: 0 if value is None else value.shape[self.axis] * around["inner"]
            for name, value in given.items()
        }
        return {"outer": around["outer"], **runs}


@dataclass(frozen=True)
class Slice(_AlongAxis):
    """`count` indices of x along an axis: first, first + step and so on."""

    signature: ClassVar[Kernel] = SLICE
    axis: int
    first: int
    count: int
    step: int = 1

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        x = inputs["x"]
        if self.count < 1 or self.first < 0 or self.first + (self.count - 1) * self.step >= x[self.axis]:
            raise ValueError(f"no {self.count} indices from {self.first} on along axis {self.axis} of {x}")
        return {"y": (*x[: self.axis], self.count, *x[self.axis + 1 :])}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {
            "y": x.take(range(self.first, self.first + self.count * self.step, self.step), axis=self.axis)
        }

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        x = request.present("x")
        own = {"first": self.first, "step": self.step, "count": self.count}
        return {**_around(x, self.axis), **own, "whole": x.shape[self.axis]}


@dataclass(frozen=True)
class Place(_AlongAxis):
    """x at the indices first, first + step and so on along an axis that has `whole` of them; `value` at the others."""

    signature: ClassVar[Kernel] = PLACE
    axis: int
    first: int
    whole: int
    step: int = 1
    value: float = 0.0

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        x = inputs["x"]
        if self.first < 0 or self.first + (x[self.axis] - 1) * self.step >= self.whole:
            raise ValueError(
                f"{x} does not fit from {self.first} on into {self.whole} along axis {self.axis}"
            )
        return {"y": (*x[: self.axis], self.whole, *x[self.axis + 1 :])}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        y = np.full(self.shapes({"x": x.shape})["y"], self.value, dtype=x.dtype)
        where = [slice(None)] * x.ndim
        where[self.axis] = slice(self.first, self.first + (x.shape[self.axis] - 1) * self.step + 1, self.step)
        y[tuple(where)] = x
        return {"y": y}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        x = request.present("x")
        own = {"first": self.first, "step": self.step, "whole": self.whole}
        return {**_around(x, self.axis), **own, "count": x.shape[self.axis]}


class _Moved(Operator):
    """A copy in another order, made by the kernel that repeats tensors."""

    signature: ClassVar[Kernel] = BROADCAST
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    optional: ClassVar[tuple[str, ...]] = ()
    operand_names: ClassVar[Mapping[str, str]] = {"b": "x"}

    @property
    @override
    def in_place(self) -> tuple[InPlace, ...]:
        return ()

    @override
    def scalar(self, name: str) -> float:
        """A factor of 1; the kernel has no other operand."""
        return {"with_a": 0.0, "with_scale": 1.0, "scale": 1.0}[name]

    @override
    def specialisation(self, request: KernelRequest) -> Specialisation:
        return {"function": str(Arithmetic.EXPAND)}


def _walk(sizes: Sequence[int], steps: Sequence[int]) -> dict[str, int]:
    """The fields of the kernel's struct for a walk through memory, outermost axis first."""
    try:
        return walk_fields(sizes, [0] * len(sizes), steps)
    except ValueError as error:
        raise InputError(f"moving {tuple(sizes)} elements into another order: {error}") from error


@dataclass(frozen=True)
class Permute(_Moved, AnyOrder):
    """The axes of x in another order: a view where the bytes can stay, else a copy."""

    axes: tuple[int, ...]
    view: bool = False

    @property
    @override
    def is_view(self) -> bool:
        return self.view

    @property
    @override
    def in_place(self) -> tuple[InPlace, ...]:
        return (InPlace("y", "x"),) if self.view else ()

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"y": tuple(inputs["x"][axis] for axis in self.axes)}

    @override
    def layout(self, given: Mapping[str, Value], shape: Shape) -> Layout:
        (x,) = given.values()
        usual = Layout.NHWC if len(shape) == 4 else Layout.FLAT
        return next((item for item in (usual, Layout.FLAT, Layout.NHWC) if self._stays(x, item)), usual)

    @override
    def placed(self, given: Mapping[str, Value], layout: Layout) -> Permute:
        (x,) = given.values()
        return replace(self, view=self._stays(x, layout))

    def _stays(self, x: Value, layout: Layout) -> bool:
        index = np.arange(x.count).reshape(x.shape)
        there = index.transpose(x.layout.permutation(len(x.shape))).reshape(-1)
        seen = index.transpose(self.axes).transpose(layout.permutation(len(self.axes))).reshape(-1)
        return bool(np.array_equal(there, seen))

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {"y": x.transpose(self.axes)}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall | None:
        return None if self.view else super().kernel(request)

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        x, y = request.present("x"), request.present("y")
        steps = strides(x, x.shape)
        walk = [steps[axis] for axis in self.axes]
        return _walk(in_memory_order(y.layout, y.shape), in_memory_order(y.layout, walk))


@dataclass(frozen=True)
class ChannelShuffle(_Moved):
    """The channels of x, which are `groups` runs, with one of each run after the other."""

    groups: int

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        if inputs["x"][1] % self.groups:
            raise ValueError(f"{inputs['x'][1]} channels are not {self.groups} groups")
        return {"y": inputs["x"]}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        n, c, *behind = x.shape
        y = x.reshape(n, self.groups, c // self.groups, *behind).swapaxes(1, 2)
        return {"y": y.reshape(x.shape)}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        x = request.present("x")
        channels = x.shape[1]
        run = channels // self.groups
        return _walk((x.count // channels, run, self.groups), (channels, 1, run))


def _axis(lowering: Lowering, node: Any, x: Any, axis: int) -> int:
    """An axis that is not the batch's."""
    axis %= len(lowering.shape(x))
    if axis == 0:
        raise InputError(
            f"{lowering.where(node)}: cutting and joining along the batch is not supported; use another axis"
        )
    return axis


@lowers("aten.cat.default", "aten.stack.default")
def lower_concatenation(lowering: Lowering, node: Any) -> None:
    """cat(tensors, axis), or stack of tensors that get a new axis."""
    tensors, axis = arguments(node.args, None, 0)
    axis = _axis(lowering, node, node, axis)
    names = [lowering.name(item) for item in tensors]
    role = lowering.role_from(*names)
    if "stack" in str(node.target):
        shape = lowering.shape(node)
        single = Reshape((*shape[:axis], 1, *shape[axis + 1 :]))
        names = [lowering.add(node, single, {"x": name}, role)["y"] for name in names]
    while True:
        some, names = names[: len(_JOINED)], names[len(_JOINED) :]
        joined = lowering.emit(node, Concatenate(axis), dict(zip(_JOINED, some, strict=False)), role)
        if not names:
            return
        names = [joined, *names]


def _cut(lowering: Lowering, node: Any, x: Any, axis: int, first: int, end: int, step: int = 1) -> str:
    """What stands there along the axis."""
    name, size = lowering.name(x), lowering.shape(x)[axis]
    first, end, _ = slice(first, end, step).indices(size)
    if (first, end, step) == (0, size, 1):
        return name
    operator = Slice(axis, first, len(range(first, end, step)), step)
    return lowering.add(node, operator, {"x": name}, lowering.role_from(name))["y"]


@lowers("aten.slice.Tensor")
def lower_slice(lowering: Lowering, node: Any) -> None:
    """slice(x, axis, start, end, step)."""
    x, axis, first, end, step = arguments(node.args, None, 0, None, None, 1)
    whole = slice(first, end, step).indices(lowering.shape(x)[axis]) == (0, lowering.shape(x)[axis], 1)
    axis = axis if whole else _axis(lowering, node, x, axis)
    lowering.set(node, _cut(lowering, node, x, axis % len(lowering.shape(x)), first, end, step))


@lowers("aten.select.int")
def lower_select(lowering: Lowering, node: Any) -> None:
    """One index of an axis, which goes."""
    x, axis, index = node.args
    axis = _axis(lowering, node, x, axis)
    index %= lowering.shape(x)[axis]
    cut = _cut(lowering, node, x, axis, index, index + 1)
    lowering.emit(node, Reshape(lowering.shape(node)), {"x": cut}, lowering.role_from(cut))


@lowers("aten.split.Tensor", "aten.split_with_sizes.default", "aten.unbind.int")
def lower_split(lowering: Lowering, node: Any) -> None:
    """Pieces of a length, of given lengths, or (unbind) single indices whose axis goes."""
    unbinds = "unbind" in str(node.target)
    x, length, axis = (
        (node.args[0], 1, arguments(node.args[1:], 0)[0]) if unbinds else arguments(node.args, None, None, 0)
    )
    axis = _axis(lowering, node, x, axis)
    size = lowering.shape(x)[axis]
    lengths = list(length) if isinstance(length, list | tuple) else [length] * -(-size // length)
    pieces: list[str] = []
    first = 0
    for piece in lengths:
        pieces.append(_cut(lowering, node, x, axis, first, first + piece))
        first += piece
    if unbinds:
        shape = tuple(item for place, item in enumerate(lowering.shape(x)) if place != axis)
        pieces = [
            lowering.add(node, Reshape(shape), {"x": cut}, lowering.role_from(cut))["y"] for cut in pieces
        ]
    lowering.set(node, tuple(pieces))


@lowers("aten.slice_backward.default", "aten.select_backward.default")
def lower_slice_backward(lowering: Lowering, node: Any) -> None:
    """slice_backward(dy, shape of x, axis, start, end, step), or select_backward(dy, shape, axis, index)."""
    dy, shape, axis, first, *rest = node.args
    axis %= len(shape)
    name, step = lowering.name(dy), 1
    if rest:
        first, _, step = slice(first, *rest).indices(shape[axis])
    else:
        first %= shape[axis]
        single = Reshape((*shape[:axis], 1, *shape[axis + 1 :]))
        name = lowering.add(node, single, {"x": name}, Role.GRADIENT)["y"]
    lowering.emit(node, Place(axis, first, shape[axis], step), {"x": name}, Role.GRADIENT)


@lowers("aten.permute.default", "aten.transpose.int")
def lower_permute(lowering: Lowering, node: Any) -> None:
    """Axes in another order, or two of them exchanged."""
    name, rank = lowering.name(node.args[0]), len(lowering.shape(node))
    axes = list(range(rank))
    if "transpose" in str(node.target):
        first, second = (axis % rank for axis in node.args[1:])
        axes[first], axes[second] = second, first
    else:
        axes = [axis % rank for axis in node.args[1]]
    if lowering.values[name].role.of_model:
        raise InputError(f"{lowering.where(node)}: reordering parameter '{name}' is not supported here")
    if axes[0] != 0:
        raise InputError(f"{lowering.where(node)}: moving the batch axis is not supported; keep it in front")
    lowering.emit(node, Permute(tuple(axes)), {"x": name}, lowering.role_from(name))


@lowers("aten.channel_shuffle.default")
def lower_channel_shuffle(lowering: Lowering, node: Any) -> None:
    """channel_shuffle(x, groups)."""
    x, groups = node.args
    lowering.emit(node, ChannelShuffle(int(groups)), {"x": x}, lowering.made_of(x))


def _shuffle_reads(node: Any) -> Reads | None:
    """x of x.view(n, g, c/g, h, w).transpose(1, 2).reshape(n, c, h, w): how models write a channel shuffle."""
    (copied, *_) = node.args
    (moved,) = arguments_of(copied, "aten.clone.default", 1)
    viewed, first, second = arguments_of(copied if moved is None else moved, "aten.transpose.int", 3)
    x, _ = arguments_of(viewed, "aten.view.default")
    if x is None or {first, second} != {1, 2}:
        return None
    before, split, after = (tuple(item.meta["val"].shape) for item in (x, viewed, node))
    return {"x": x} if before == after and split[3:] == before[2:] and len(split) == len(before) + 1 else None


@lowers_expression("aten._unsafe_view.default", _shuffle_reads)
@lowers_expression("aten.view.default", _shuffle_reads)
def lower_shuffle(lowering: Lowering, node: Any, reads: Reads) -> None:
    """A channel shuffle that is written as views."""
    (copied, *_) = node.args
    (moved,) = arguments_of(copied, "aten.clone.default", 1)
    viewed = (copied if moved is None else moved).args[0]
    groups = int(viewed.meta["val"].shape[1])
    x = reads["x"]
    lowering.emit(node, ChannelShuffle(groups), {"x": x}, lowering.made_of(x))
