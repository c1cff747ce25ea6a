"""The geometry that convolutions, poolings and their gradients share: a window that moves over a padded image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from odl.graph import Array, Shape
from odl.kernels.signature import ShapeStruct

CONV2D_SHAPE = ShapeStruct(
    "odl_conv2d_shape",
    ("batch", "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "kernel_h", "kernel_w", "stride_h", "stride_w",
     "pad_top", "pad_left"),
)  # fmt: skip


@dataclass(frozen=True)
class Window:
    """Geometry shared by a convolution and its gradients; padding is (top, left, bottom, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __str__(self) -> str:
        text = f"{self.kernel[0]}x{self.kernel[1]}"
        if self.stride != (1, 1):
            text += f" stride={self.stride[0]}x{self.stride[1]}"
        if any(self.padding):
            text += " padding=" + ",".join(str(amount) for amount in self.padding)
        return text

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Output height and width; ValueError when the window does not fit once."""
        top, left, bottom, right = self.padding
        rows = (height + top + bottom - self.kernel[0]) // self.stride[0] + 1
        columns = (width + left + right - self.kernel[1]) // self.stride[1] + 1
        if rows < 1 or columns < 1:
            raise ValueError(f"a {self.kernel[0]}x{self.kernel[1]} window does not fit in {height}x{width}")
        return rows, columns

    def taps(self, rows: int, columns: int) -> Iterator[tuple[int, int, slice, slice]]:
        """Each kernel position with the slices of the padded input that it meets."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                yield (
                    i,
                    j,
                    slice(i, i + (rows - 1) * self.stride[0] + 1, self.stride[0]),
                    slice(j, j + (columns - 1) * self.stride[1] + 1, self.stride[1]),
                )

    def pad(self, x: Array, value: float = 0.0) -> Array:
        """The input with its padding around it."""
        top, left, bottom, right = self.padding
        return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)

    def crop(self, padded: Array) -> Array:
        """The inverse of `pad`."""
        top, left, bottom, right = self.padding
        return padded[:, :, top : padded.shape[2] - bottom, left : padded.shape[3] - right]

    def widened(self, padding: Sequence[int]) -> Window:
        """The window with more padding on each side."""
        top, left, bottom, right = (a + b for a, b in zip(self.padding, padding, strict=True))
        return Window(self.kernel, self.stride, (top, left, bottom, right))

    def sizes(self, x: Shape, y: Shape) -> dict[str, int]:
        """What shape structs call the sizes of a window over x [N,C,H,W] that gives y [N,O,OH,OW]; or sequences."""
        x, y = as_image(x), as_image(y)
        sizes = {"batch": x[0], "in_c": x[1], "channels": x[1], "out_c": y[1]}
        pairs = {"in": x[2:], "out": y[2:], "kernel": self.kernel, "stride": self.stride}
        for name, (height, width) in pairs.items():
            sizes |= {f"{name}_h": height, f"{name}_w": width}
        return sizes | {"pad_top": self.padding[0], "pad_left": self.padding[1]}


def as_image(shape: Shape) -> Shape:
    """A sequence [N,C,L], or its window [O,C,K], as an image of one row; an image as it is."""
    return (*shape[:2], 1, *shape[2:]) if len(shape) == 3 else shape


def as_given(image: Shape, given: Shape) -> Shape:
    """The inverse: the shape of an image without its row, where what was given is a sequence."""
    return (*image[:2], *image[3:]) if len(given) == 3 else image


#: A window of one pixel.
POINT = Window((1, 1))


def aten_window(kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Window:
    """The window of an ATen convolution or pooling, which gives one number for both directions or (height, width)."""
    around = (padding[0], padding[-1], padding[0], padding[-1])
    return Window((kernel[0], kernel[-1]), (stride[0], stride[-1]), around)
