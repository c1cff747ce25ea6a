"""Sums and means over any axes but the batch; and the gradient of a parameter that was repeated, which is such a sum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array, Layout, Role, Shape, Value
from odl.kernels.signature import Kernel, Operand, Scalar, ShapeStruct, written
from odl.kernels.tiling import Slice, Tile, Tiling, outer_runs, ranges
from odl.operators.base import AnyOrder, KernelRequest
from odl.operators.channel_sum import ChannelSum
from odl.operators.global_pooling import GlobalAveragePool
from odl.operators.lowering import Lowering, arguments, lowers
from odl.operators.strides import in_memory_order

_FIELDS = ("k0", "r0", "k1", "r1", "k2")


@dataclass(frozen=True)
class ReduceTiling(Tiling):
    """Runs of the outermost axis that is kept, or of the innermost. Operands: x, y."""

    def limits(self, shape: Mapping[str, int]) -> tuple[int, int]:
        """Single indices outside, pairs inside."""
        return (shape["k0"] if shape["k0"] > 1 else -(-shape["k2"] // 2)), 1

    def tiles(
        self, shape: Mapping[str, int], counts: Mapping[str, int], parts: tuple[int, int]
    ) -> list[Tile]:
        """Runs of indices."""
        if shape["k0"] > 1:
            return outer_runs(shape, "k0", counts, parts[0])
        inner = shape["k2"]
        return [
            Tile(
                {**shape, "k2": end - begin},
                {name: Slice(begin, end - begin, count // inner, inner) for name, count in counts.items()},
            )
            for begin, end in ranges(inner, parts[0], 2)
        ]


REDUCE = Kernel(
    "reduce",
    ShapeStruct("odl_reduce_shape", _FIELDS),
    (Operand("x", "T"), written("y", "Y", updated_with="accumulate"), Scalar("divisor")),
    (),
    ReduceTiling(),
)


@dataclass(frozen=True)
class Reduce(AnyOrder):
    """y = the sum of x over these axes divided by `divisor`, of the shape `shape` without regard to axes of one element."""

    signature: ClassVar[Kernel] = REDUCE
    axes: tuple[int, ...]
    shape: Shape
    divisor: float = 1.0

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        if math.prod(self._kept(inputs["x"])) != math.prod(self.shape):
            raise ValueError(f"a sum of {inputs['x']} over axes {self.axes} has not the shape {self.shape}")
        return {"y": self.shape}

    def _kept(self, x: Sequence[int]) -> Shape:
        return tuple(size for axis, size in enumerate(x) if axis not in self.axes)

    @override
    def layout(self, given: Mapping[str, Value], shape: Shape) -> Layout | None:
        """The layout in which the axes that are kept have the order that they have in x; None where there is none."""
        (x,) = given.values()
        kept = [
            axis for axis in x.layout.permutation(len(x.shape)) if axis not in self.axes and x.shape[axis] > 1
        ]
        named = [axis for axis, size in enumerate(shape) if size > 1]  # as PyTorch orders them, so does x
        wanted = [named[sorted(kept).index(axis)] for axis in kept]
        for layout in (x.layout, Layout.FLAT, Layout.NHWC):
            if [axis for axis in layout.permutation(len(shape)) if axis in named] == wanted:
                return layout
        return None

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {"y": (x.sum(axis=self.axes) / self.divisor).reshape(self.shape).astype(x.dtype)}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        x = request.present("x")
        kinds = in_memory_order(x.layout, [int(axis in self.axes) for axis in range(len(x.shape))])
        ordered = zip(kinds, in_memory_order(x.layout, x.shape), strict=True)
        runs = [
            (kind, math.prod(size for _, size in run))
            for kind, run in itertools.groupby(
                (item for item in ordered if item[1] > 1), lambda item: item[0]
            )
        ]
        sizes, place = dict.fromkeys(_FIELDS, 1), 0
        if runs and runs[0][0] == 0 and len(runs) == 1:
            place = len(_FIELDS) - 1  # nothing is summed: lanes run along all elements
        for kind, size in runs:
            place += place % 2 != kind
            sizes[_FIELDS[place]] = size
        if sizes["r1"] == sizes["k2"] == 1:  # lanes run along the innermost
            sizes |= {"k1": 1, "k2": sizes["k1"]}
        if sizes["k1"] == 1:
            sizes |= {"r0": 1, "r1": sizes["r0"] * sizes["r1"]}
        return sizes


@dataclass(frozen=True)
class ParameterSum(Reduce):
    """The gradient of a parameter that was repeated over these axes."""

    pass_name: ClassVar[str] = "weight_gradient"


def _axes(rank: int, axes: Sequence[int] | None) -> tuple[int, ...]:
    return tuple(sorted(axis % rank for axis in axes)) if axes else tuple(range(rank))


def _emit(lowering: Lowering, node: Any, x: Any, axes: tuple[int, ...], divisor: float) -> None:
    name, role = lowering.name(x), lowering.made_of(x)
    if 0 in axes and role is Role.ACTIVATION:
        raise InputError(
            f"{lowering.where(node)}: a sum of activations over the batch is not supported; sum over other axes"
        )
    lowering.emit(node, Reduce(axes, lowering.shape(node), divisor), {"x": name}, role)


@lowers("aten.sum.dim_IntList")
def lower_sum(lowering: Lowering, node: Any) -> None:
    """A sum over axes; of a gradient perhaps the gradient of a parameter, such as a bias."""
    x, axes = node.args[0], _axes(len(lowering.shape(node.args[0])), node.args[1])
    rank, parameter = len(lowering.shape(x)), lowering.gradient_shape(node)
    if parameter is None:
        _emit(lowering, node, x, axes, 1.0)
    elif axes == tuple(axis for axis in range(rank) if axis != 1) and len(parameter) == 1 and rank <= 4:
        lowering.emit(node, ChannelSum(), {"dy": x})
    else:
        lowering.emit(node, ParameterSum(axes, parameter), {"x": x})


@lowers("aten.mean.dim")
def lower_mean(lowering: Lowering, node: Any) -> None:
    """A mean over axes; over all behind the channels it is a global average pooling."""
    x, given, keep = arguments(node.args, None, None, False)
    shape = lowering.shape(x)
    axes = _axes(len(shape), given)
    if len(shape) in (3, 4) and axes == tuple(range(2, len(shape))):
        lowering.emit(node, GlobalAveragePool(keep), {"x": x})
    else:
        _emit(lowering, node, x, axes, float(math.prod(shape[axis] for axis in axes)))
