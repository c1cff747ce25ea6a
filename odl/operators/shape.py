"""Views, padding, layout changes, and the ATen bookkeeping that leaves the bytes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array, InPlace, Layout, Role, Shape
from odl.kernels.call import KernelCall
from odl.kernels.signature import LAYOUT_SHAPE, Kernel, Operand, Specialisation, written
from odl.operators.base import Elementwise, KernelRequest, Operator, sizes_of
from odl.operators.lowering import Lowering, Viewed, arguments, lowers
from odl.operators.window import as_given, as_image

CHANGE_LAYOUT = Kernel("change_layout", LAYOUT_SHAPE, (Operand("x", "T"), written("y", "T")))


@dataclass(frozen=True)
class Reshape(Operator):
    """The same bytes under another shape."""

    inputs: ClassVar[tuple[str, ...]] = ("x",)
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    shape: Shape
    is_view: ClassVar[bool] = True
    in_place: ClassVar[tuple[InPlace, ...]] = (InPlace("y", "x"),)

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        if np.prod(inputs["x"]) != np.prod(self.shape):
            raise ValueError(f"cannot reshape {inputs['x']} to {self.shape}")
        return {"y": self.shape}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {"y": x.reshape(self.shape)}


@dataclass(frozen=True)
class ChangeLayout(Elementwise):
    """Copy between channels-last and PyTorch's order, where a flattened image meets a linear layer."""

    signature: ClassVar[Kernel] = CHANGE_LAYOUT
    image: Shape
    to_channels_first: bool

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        """The identity: references work in PyTorch's order."""
        return {"y": x}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        return sizes_of(self.image)

    @override
    def specialisation(self, request: KernelRequest) -> Specialisation:
        return {"to_channels_first": self.to_channels_first}


@dataclass(frozen=True)
class Pad(Operator):
    """Zeros added (or, where negative, elements dropped) around an image: (top, left, bottom, right).

    Only convolutions take padding on: the fuse pass moves it there, and nothing serves it alone.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x",)
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    amounts: tuple[int, int, int, int]

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        n, c, h, w = as_image(inputs["x"])
        top, left, bottom, right = self.amounts
        return {"y": as_given((n, c, h + top + bottom, w + left + right), inputs["x"])}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        shape = self.shapes({"x": x.shape})["y"]
        top, left, bottom, right = (max(0, amount) for amount in self.amounts)
        x = np.pad(x.reshape(as_image(x.shape)), ((0, 0), (0, 0), (top, bottom), (left, right)))
        top, left, bottom, right = (max(0, -amount) for amount in self.amounts)
        return {"y": x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right].reshape(shape)}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        """Refused: only padding that a convolution takes on is supported."""
        raise InputError(
            f"padding {self.amounts} (top, left, bottom, right) does not stand before a single convolution; give the "
            "padding to the layer itself, or pad once for each layer that reads it"
        )


@lowers(
    "aten.detach.default",
    "aten.alias.default",
    "aten.clone.default",
    "aten.lift_fresh_copy.default",
    part=True,
)
def lower_alias(lowering: Lowering, node: Any) -> None:
    """The same tensor."""
    lowering.set(node, lowering.operand(node.args[0]))


@lowers("<built-in function getitem>")
def lower_getitem(lowering: Lowering, node: Any) -> None:
    """One of several results."""
    results = lowering.operand(node.args[0])
    assert isinstance(results, tuple)
    item = results[node.args[1]]
    if item is not None:
        lowering.set(node, item)


@lowers(
    "aten.view.default",
    "aten.reshape.default",
    "aten._unsafe_view.default",
    "aten.unsqueeze.default",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.flatten.using_ints",
)
def lower_view(lowering: Lowering, node: Any) -> None:
    """A view with another shape; the layout pass finds out whether its bytes really stay."""
    operand, shape = lowering.operand(node.args[0]), lowering.shape(node)
    name = operand.name if isinstance(operand, Viewed) else lowering.name(node.args[0])
    value = lowering.values[name]
    if value.role.of_model:
        lowering.set(node, name if value.shape == shape else Viewed(name, shape))
        return
    if value.shape == shape:
        lowering.set(node, name)
        return
    lowering.emit(node, Reshape(shape), {"x": name}, _result_role(value.role))


@lowers("aten.constant_pad_nd.default")
def lower_pad(lowering: Lowering, node: Any) -> None:
    """Zero padding of the two image axes, and its gradient (negative amounts)."""
    x, amounts, value = arguments(node.args, None, None, 0.0)
    rank = len(lowering.shape(x))
    if float(value) != 0.0 or rank not in (3, 4) or any(amounts[2 * (rank - 2) :]):
        raise InputError(f"{lowering.where(node)}: only zero padding of height and width is supported")
    left, right, top, bottom = [*amounts, 0, 0][:4]
    name = lowering.name(x)
    role = _result_role(lowering.values[name].role)
    if role is not Role.GRADIENT and not _only_pads_convolutions(node):
        raise InputError(
            f"{lowering.where(node)}: only padding that convolutions alone read is supported, and no cropping; "
            "give the padding to the layer itself"
        )
    lowering.emit(node, Pad((top, left, bottom, right)), {"x": name}, role)


def _only_pads_convolutions(node: Any) -> bool:
    """Whether the FX node's result is bigger on each side and goes, perhaps padded again, to convolutions."""
    readers = {str(user.target).split(".")[1] for user in node.users if str(user.target).startswith("aten.")}
    convolutions = {"convolution", "convolution_backward"}
    if (
        min(int(amount) for amount in node.args[1]) < 0
        or len(readers) == 0
        or "output" in map(str, node.users)
    ):
        return False
    again = [user for user in node.users if str(user.target) == str(node.target)]
    return readers <= convolutions | {"constant_pad_nd"} and all(map(_only_pads_convolutions, again))


def _result_role(role: Role) -> Role:
    """What is made from an input is an activation; everything else stays what it is."""
    return Role.ACTIVATION if role is Role.INPUT else role


def same_bytes(before: Shape, layout_before: Layout, after: Shape, layout_after: Layout) -> bool:
    """Whether a view between the shapes leaves the bytes where they are in the given layouts."""
    index = np.arange(int(np.prod(before))).reshape(before)
    there = index.transpose(layout_before.permutation(len(before))).reshape(-1)
    seen = index.reshape(after).transpose(layout_after.permutation(len(after))).reshape(-1)
    return bool(np.array_equal(there, seen))
