"""What a kernel must compute: one call with its operands, compared with PyTorch in float64.

Bounds: half a unit in the last place for the rounding at the store, plus 2^-24 per fp32 operation times the size
of what it worked on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from odl.kernels.call import Argument, Number, Tensor
from odl.operators.broadcast import VALUES, Arithmetic
from odl.operators.im2row import Im2Row
from odl.operators.pooling import POOL_SHAPE
from odl.operators.unary import FACTS, Function
from odl.operators.window import CONV2D_SHAPE, Window
from odl.optimizers import OPTIMIZERS
from odl.optimizers.base import RunTimeScalar
from tests.kernels.cases import FUNCTIONS, NUMBERS, TYPES, Shape, optimizer_of, update_call
from tests.kernels.conv_checks import Operands, check_convolutions
from tests.kernels.head_checks import check_quantise, check_singular, check_sums, check_weights
from tests.kernels.kernel_library import INF, Run, close, draw, empty, exact, image, last

#: One rounding to fp16, counted in roundings to fp32.
HALF = 2**13


def check_relu(run: Run, t: str, n: int, seed: int, low: float, high: float) -> None:
    x, dy = draw(seed, n, t, 4.0), draw(seed + 1, n, t)
    (y,) = run(f"relu_{t}", {"count": n}, x=x, y=empty(n, t), low=low, high=high)
    reference = exact(x, True)
    output = F.hardtanh(reference, low, high)
    close(y, output, 0.0)
    output.backward(exact(dy))
    (dx,) = run(f"relu_gradient_{t}", {"count": n}, dy=dy, y=y, dx=empty(n, t), low=low, high=high)
    close(dx, reference.grad, 0.0)
    (in_place,) = run(f"relu_{t}", {"count": n}, x=x, y=x, low=low, high=high)
    assert in_place.tobytes() == y.tobytes()
    for same in (dy, y):
        (in_place,) = run(f"relu_gradient_{t}", {"count": n}, dy=dy, y=y, dx=same, low=low, high=high)
        assert in_place.tobytes() == dx.tobytes()


def check_silu(run: Run, t: str, n: int, seed: int) -> None:
    x, dy = draw(seed, n, t, 8.0), draw(seed + 1, n, t)
    x[::7] = 60000.0 * np.sign(x[::7])  # the exponential of either sign alone would overflow
    (y,) = run(f"silu_{t}", {"count": n}, x=x, y=empty(n, t))
    reference = exact(x, True)
    output = F.silu(reference)
    close(y, output, 16.0)
    output.backward(exact(dy))
    (dx,) = run(f"silu_gradient_{t}", {"count": n}, dy=dy, x=x, dx=empty(n, t))
    close(dx, reference.grad, 16.0, np.abs(dy.astype(np.float64)))
    (in_place,) = run(f"silu_{t}", {"count": n}, x=x, y=x)
    assert in_place.tobytes() == y.tobytes()
    for same in (dy, x):
        (in_place,) = run(f"silu_gradient_{t}", {"count": n}, dy=dy, x=x, dx=same)
        assert in_place.tobytes() == dx.tobytes()


#: Each function of one number in PyTorch, with the numbers that it is given.
UNARY: dict[Function, tuple[Callable[[torch.Tensor], torch.Tensor], dict[str, float]]] = {
    Function.TANH: (torch.tanh, {}),
    Function.SIGMOID: (torch.sigmoid, {}),
    Function.GELU: (F.gelu, {}),
    Function.GELU_TANH: (lambda x: F.gelu(x, approximate="tanh"), {}),
    Function.HARD_SWISH: (F.hardswish, {}),
    Function.HARD_SIGMOID: (F.hardsigmoid, {}),
    Function.LEAKY_RELU: (lambda x: F.leaky_relu(x, 0.25), {"slope": 0.25}),
    Function.ELU: (lambda x: F.elu(x, 0.5), {"slope": 0.5, "scale": 1.0, "rate": 1.0}),
    Function.SOFTPLUS: (lambda x: F.softplus(x, 2.0, 20.0), {"rate": 2.0, "limit": 20.0}),
    Function.ABSOLUTE: (torch.abs, {}),
    Function.SIGN: (torch.sgn, {}),
    Function.AFFINE: (lambda x: x * 0.75 + 2, {"scale": 0.75, "shift": 2.0}),
}
#: How many roundings to fp32 a value, and a slope relative to 1, may be off.
ROUNDINGS = 12.0


def check_unary(run: Run, function: Function, t: str, n: int, seed: int) -> None:
    """Value and gradient in float64, where values are tiny and huge too; in place as well."""
    (torch_function, numbers), facts = UNARY[function], FACTS[function]
    x, dy = draw(seed, n, t, 4.0), draw(seed + 1, n, t)
    x[::7] = 60000.0 * np.sign(x[::7])  # the exponential of either sign alone would overflow
    x[3::7] *= 1e-3  # where 1 - e^x would cancel
    (y,) = run(f"{function}_{t}", {"count": n}, x=x, y=empty(n, t), **numbers)
    reference = exact(x, True)
    output = torch_function(reference)
    value = facts.value(
        x.astype(np.float64), *numbers.values()
    )  # where PyTorch's 1 + erf cancels, this does not
    np.testing.assert_allclose(value, output.detach().numpy(), rtol=1e-12, atol=1e-15)
    size = np.abs(value)
    if function is Function.AFFINE:
        size = size + 4.0
    if function is Function.GELU_TANH:  # an exponential's relative error is the error of its argument
        size = size * np.minimum(1 + np.abs(x.astype(np.float64)) ** 3, 104.0)
    close(y, value, ROUNDINGS, size)
    (in_place,) = run(f"{function}_{t}", {"count": n}, x=x, y=x, **numbers)
    assert in_place.tobytes() == y.tobytes()
    if facts.slope is None:
        return
    seen = y if facts.by_output else x
    slope = facts.slope(seen.astype(np.float64), *numbers.values())
    output.backward(torch.ones_like(output))
    assert reference.grad is not None
    half = 2.0**-10 if t == "f16" else 2.0**-22  # an output is rounded
    np.testing.assert_allclose(slope, reference.grad, atol=2 * half, rtol=0)
    (dx,) = run(f"{function}_gradient_{t}", {"count": n}, dy=dy, seen=seen, dx=empty(n, t), **numbers)
    wide = dy.astype(np.float64)
    close(dx, wide * slope, ROUNDINGS, np.abs(wide))
    for same in (dy, seen):
        (in_place,) = run(f"{function}_gradient_{t}", {"count": n}, dy=dy, seen=seen, dx=same, **numbers)
        assert in_place.tobytes() == dx.tobytes()


def check_add(run: Run, t: str, n: int, seed: int) -> None:
    a, b = draw(seed, n, t), draw(seed + 1, n, t)
    (y,) = run(f"add_{t}", {"count": n}, a=a, b=b, y=empty(n, t), low=-INF, high=1.5)
    close(y, (exact(a) + exact(b)).clamp(max=1.5), 0.0)
    for same in (a, b):
        (in_place,) = run(f"add_{t}", {"count": n}, a=a, b=b, y=same, low=-INF, high=1.5)
        assert in_place.tobytes() == y.tobytes()
    (alone,) = run(f"add_{t}", {"count": n}, a=None, b=b, y=empty(n, t), low=0.0, high=INF)
    close(alone, exact(b).relu(), 0.0)


def check_broadcast(
    run: Run,
    function: Arithmetic,
    t: str,
    second: str,
    sizes: Sequence[int],
    repeated: Sequence[int],
    seed: int,
) -> None:
    """Bit by bit; b is repeated over the axes `repeated`, and a too where b is not, over the first of them."""
    lengths = {"a": list(sizes), "b": [1 if axis in repeated else size for axis, size in enumerate(sizes)]}
    if function in (Arithmetic.ADD, Arithmetic.DIVIDE) and len(repeated) < 4:
        lengths["a"] = [size if axis in repeated else 1 for axis, size in enumerate(sizes)]
    shape = {f"n{axis}": size for axis, size in enumerate(sizes)}
    for name, own in lengths.items():
        steps = [int(np.prod(own[axis + 1 :])) if own[axis] > 1 else 0 for axis in range(4)]
        shape |= {f"{name}{axis}": step for axis, step in enumerate(steps)}
    a, b = draw(seed, lengths["a"], t, 2.0), draw(seed + 1, lengths["b"], second, 2.0)
    b += np.sign(b)  # no quotient overflows
    wide = [np.broadcast_to(item.astype(np.float64), sizes) for item in (a, b)]
    given: dict[str, Any] = {"b": b}
    if function is Arithmetic.EXPAND:
        shape |= {f"a{axis}": 0 for axis in range(4)}
        given["scale"], expected = 0.25, wide[1] * 0.25
    else:
        given["a"], expected = a, VALUES[function](*wide)
    name = f"broadcast_{function}_{t}_{second}"
    (y,) = run(name, shape, **given, y=empty(sizes, t))
    close(y, expected, 1.0)
    for operand in ("a", "b"):
        if given.get(operand) is not None and given[operand].nbytes == y.nbytes and second == t:
            (in_place,) = run(name, shape, **given, y=given[operand])
            assert in_place.tobytes() == y.tobytes()


def check_reduce(run: Run, t: str, total: str, sizes: Sequence[int], seed: int, divisor: float) -> None:
    shape = dict(zip(("k0", "r0", "k1", "r1", "k2"), sizes, strict=True))
    x, before = draw(seed, sizes, t), draw(seed + 1, (sizes[0], sizes[2], sizes[4]), total)
    exact_sum, terms = x.astype(np.float64).sum(axis=(1, 3)) / divisor, sizes[1] * sizes[3]
    size = np.abs(x).sum(axis=(1, 3), dtype=np.float64) / divisor
    (y,) = run(f"reduce_{t}_{total}_False", shape, x=x, y=empty(before.shape, total), divisor=divisor)
    close(y, exact_sum, terms + 1, size)
    (y,) = run(f"reduce_{t}_{total}_True", shape, x=x, y=before, divisor=divisor)
    close(y, before.astype(np.float64) + exact_sum, terms + 2, size + np.abs(before))


def check_pieces(
    run: Run, t: str, outer: int, lengths: Sequence[int], inner: int, step: int, seed: int
) -> None:
    """Joined bit by bit; a slice of the whole, and the slice put back."""
    parts = [draw(seed + i, (outer, length, inner), t) for i, length in enumerate(lengths)]
    joined = np.concatenate(parts, axis=1)
    given = dict(zip("abcd", [*parts, None, None, None], strict=False))
    shape = {"outer": outer, **{name: 0 if item is None else item[0].size for name, item in given.items()}}
    (y,) = run(f"concatenate_{t}", shape, **given, y=empty(joined.shape, t))
    assert y.tobytes() == joined.tobytes()
    whole, first = joined.shape[1], min(1, joined.shape[1] - 1)
    last = max(first + 1, whole - seed % 3)
    cut = np.ascontiguousarray(joined[:, first:last:step])
    shape = {
        "outer": outer,
        "whole": whole,
        "first": first,
        "step": step,
        "count": cut.shape[1],
        "inner": inner,
    }
    (y,) = run(f"slice_{t}", shape, x=joined, y=empty(cut.shape, t))
    assert y.tobytes() == cut.tobytes()
    put = np.full(joined.shape, 0.5, TYPES[t])
    put[:, first:last:step] = cut
    (y,) = run(f"place_{t}", shape, x=cut, y=empty(joined.shape, t), value=0.5)
    assert y.tobytes() == put.tobytes()


def check_cast_fill(run: Run, t: str, n: int, seed: int, value: float) -> None:
    other = "f32" if t == "f16" else "f16"
    x = draw(seed, n, t, 2.0)
    (y,) = run(f"cast_{t}", {"count": n}, x=x, y=empty(n, other))
    assert y.tobytes() == x.astype(TYPES[other]).tobytes()
    (y,) = run(f"fill_{t}", {"count": n}, y=empty(n, t), value=value)
    assert y.tobytes() == np.full(n, value, TYPES[t]).tobytes()


def check_squared_sum(run: Run, t: str, n: int, seed: int, factor: float) -> None:
    g, total = draw(seed, n, t, 2.0), np.abs(draw(seed + 1, n, "f32", 2.0))
    (got,) = run(f"squared_sum_{t}", {"count": n}, g=g, sum=total.copy(), gradient_factor=factor)
    close(got, exact(total) + (exact(g) * factor) ** 2, 2.0)


def check_change_layout(run: Run, t: str, size: tuple[int, int, int, int], seed: int) -> None:
    shape = dict(zip(("batch", "height", "width", "channels"), size, strict=True))
    x = draw(seed, size, t)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    (y,) = run(f"change_layout_{t}_True", shape, x=x, y=empty(first.shape, t))
    assert y.tobytes() == first.tobytes()
    (y,) = run(f"change_layout_{t}_False", shape, x=first, y=empty(size, t))
    assert y.tobytes() == x.tobytes()


# ---------------------------------------------------------------------------------------------------- im2row
def check_im2row(run: Run, t: str, size: tuple[int, int, int, int], window: Window, seed: int) -> None:
    """Every row has the bits of its window, and zeros in the padding."""
    n, height, width, channels = size
    x = draw(seed, size, t)
    out = window.output_size(height, width)
    rows = Im2Row(window).reference(x=x.transpose(0, 3, 1, 2))["rows"]
    sizes = window.sizes((n, channels, height, width), rows.shape)
    shape = {field: sizes[field] for field in CONV2D_SHAPE.fields}
    expected = np.ascontiguousarray(rows.transpose(0, 2, 3, 1))
    (y,) = run(f"im2row_{t}", shape, x=x, y=empty((n, *out, rows.shape[1]), t))
    assert y.tobytes() == expected.tobytes()


# --------------------------------------------------------------------------------------------------- pooling
@dataclass(frozen=True)
class Pool:
    size: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    ceil: bool
    include: bool
    divisor: int

    def shape(self, out: Sequence[int]) -> dict[str, int]:
        n, h, w, c = self.size
        values = (n, h, w, c, *out, *self.kernel, *self.stride, *self.pad, int(self.include), self.divisor)
        return dict(zip(POOL_SHAPE.fields, values, strict=True))


def check_average_pool(run: Run, t: str, pool: Pool, seed: int) -> None:
    x = draw(seed, pool.size, t)
    reference = image(x, True)
    output = F.avg_pool2d(
        reference, pool.kernel, pool.stride, pool.pad, pool.ceil, pool.include, pool.divisor or None
    )
    dy = draw(seed + 1, last(output).shape, t)
    output.backward(image(dy))
    assert reference.grad is not None
    shape = pool.shape(output.shape[2:])
    terms = pool.kernel[0] * pool.kernel[1] + 1
    (y,) = run(f"average_pool_{t}", shape, x=x, y=empty(dy.shape, t))
    close(y, last(output), terms, np.abs(x).max() * terms)
    (dx,) = run(f"average_pool_gradient_{t}", shape, dy=dy, dx=empty(x.shape, t))
    close(dx, last(reference.grad), terms + 1, np.abs(dy).max() * terms)


def check_max_pool(run: Run, t: str, pool: Pool, seed: int) -> None:
    x = np.round(draw(seed, pool.size, t, 2.0))  # equal maxima are frequent
    reference = image(x, True)
    output = F.max_pool2d(reference, pool.kernel, pool.stride, pool.pad, 1, pool.ceil)
    dy = draw(seed + 1, last(output).shape, t)
    output.backward(image(dy))
    assert reference.grad is not None
    shape = pool.shape(output.shape[2:])
    y, winner = run(
        f"max_pool_{t}", shape, x=x, y=empty(dy.shape, t), winner=np.full(dy.shape, 255, np.uint8)
    )
    close(y, last(output), 0.0)
    (alone,) = run(f"max_pool_{t}", shape, x=x, y=empty(dy.shape, t), winner=None)
    assert alone.tobytes() == y.tobytes()
    (dx,) = run(f"max_pool_gradient_{t}", shape, dy=dy, winner=winner, dx=empty(x.shape, t))
    terms = pool.kernel[0] * pool.kernel[1]
    close(dx, last(reference.grad), terms, np.abs(dy).max() * terms)


def check_global_average_pool(run: Run, t: str, size: tuple[int, int, int, int], seed: int) -> None:
    n, h, w, c = size
    shape = {"batch": n, "height": h, "width": w, "channels": c}
    x, dy = draw(seed, size, t), draw(seed + 1, (n, c), t)
    (y,) = run(f"global_average_pool_{t}", shape, x=x, y=empty((n, c), t))
    close(y, exact(x).mean(dim=(1, 2)), h * w + 1, np.abs(x).max())
    (dx,) = run(f"global_average_pool_gradient_{t}", shape, dy=dy, dx=empty(size, t))
    close(dx, np.broadcast_to((exact(dy) / (h * w))[:, None, None, :], size), 1)


# --------------------------------------------------------------------------------------- batch normalisation
@dataclass(frozen=True)
class Norm:
    """Operands of a batch normalisation."""

    t: str
    pixels: int
    channels: int
    seed: int
    far: float = 0.0  # how far the mean of x is from 0

    @property
    def shape(self) -> dict[str, int]:
        return {"pixels": self.pixels, "channels": self.channels}

    def channel(self, index: int, dtype: str = "f32", offset: float = 0.0) -> Any:
        return (draw(self.seed + index, self.channels) * 0.5 + offset).astype(TYPES[dtype])

    def pixel(self, index: int, offset: float = 0.0) -> Any:
        values = draw(self.seed + index, (self.pixels, self.channels)) + self.channel(index + 10) + offset
        return values.astype(TYPES[self.t])


def torch_norm(norm: Norm, training: bool, momentum: float, gamma: Any, eps: float = 1e-5) -> dict[str, Any]:
    """x, dy, statistics, and PyTorch's outputs and gradients."""
    mean, var = norm.channel(3), np.abs(norm.channel(4)) + np.float32(0.1)
    statistics = (exact(mean), exact(var))
    x, beta = norm.pixel(0, norm.far), norm.channel(2, norm.t)
    leaves = (exact(x, True), exact(gamma, True), exact(beta, True))
    output = F.batch_norm(leaves[0], *statistics, leaves[1], leaves[2], training, momentum, eps)
    dy = norm.pixel(1)
    output.backward(exact(dy))
    return {
        "x": x, "dy": dy, "beta": beta, "mean": mean, "var": var, "y": output.clamp(min=0.0),
        "gradients": [leaf.grad for leaf in leaves], "after": statistics,
    }  # fmt: skip


def check_batch_norm_gradient(run: Run, kind: str, norm: Norm, r: dict[str, Any], *rest: Any) -> None:
    """dx, dgamma and dbeta; in place, alone, accumulated. rest: gamma, mean, variance or spread, [eps]."""
    t, c = norm.t, norm.channels
    gamma, mean, spread, *eps = rest
    name, spread_name = f"batch_norm_{kind}_gradient_{t}", "invstd" if kind == "train" else "var"
    shapes = (r["x"].shape, c, c)
    outputs = {key: empty(shape, t) for key, shape in zip(("dx", "dgamma", "dbeta"), shapes, strict=True)}
    arguments = {"dy": r["dy"], "x": r["x"], "gamma": gamma, "mean": mean, spread_name: spread}
    arguments |= dict(zip(("eps",), eps, strict=False))
    none = dict.fromkeys(outputs)
    results = run(f"{name}_False", norm.shape, **arguments, **outputs)
    inverse = np.asarray(spread) if kind == "train" else 1 / np.sqrt(spread + eps[0])
    size = np.abs(r["dy"]).sum(axis=0).astype(np.float64)
    normal = np.abs(r["x"] - mean).max(axis=0) * inverse
    sizes = [
        (np.abs(r["dy"]).max(axis=0) * 3 + size / norm.pixels * (1 + normal**2)) * np.abs(gamma) * inverse
    ]
    sizes += [size * normal, size]
    operations = norm.pixels + 20
    halves = (
        (8 * HALF, 2 * HALF, 0) if kind == "train" and t == "f16" else (0, 0, 0)
    )  # dx's three terms; x - mean
    for result, expected, limit, extra in zip(results, r["gradients"], sizes, halves, strict=True):
        close(result, expected, operations + extra, limit + 1e-3)
    (in_place,) = run(f"{name}_False", norm.shape, **arguments, **(none | {"dx": r["dy"]}))
    assert in_place.tobytes() == results[0].tobytes()
    before = [norm.channel(20, t), norm.channel(21, t)]
    sums = run(f"{name}_True", norm.shape, **arguments, dx=None, dgamma=before[0], dbeta=before[1])
    for result, start, expected, limit, extra in zip(
        sums, before, r["gradients"][1:], sizes[1:], halves[1:], strict=True
    ):
        close(result, exact(start) + expected, operations + extra, limit + np.abs(start))
    (alone,) = run(f"{name}_False", norm.shape, **arguments, **(none | {"dbeta": outputs["dbeta"]}))
    assert alone.tobytes() == results[2].tobytes()


def check_batch_norm_frozen(run: Run, norm: Norm) -> None:
    t, gamma, eps = norm.t, norm.channel(5, norm.t, 1.0), float(np.float32(1e-5))
    r = torch_norm(norm, False, 0.1, gamma, eps)
    arguments = {"x": r["x"], "gamma": gamma, "beta": r["beta"], "mean": r["mean"], "var": r["var"]}
    arguments |= {"eps": eps, "low": 0.0, "high": INF}
    (y,) = run(f"batch_norm_frozen_{t}", norm.shape, **arguments, y=empty(r["x"].shape, t))
    scale = np.abs(gamma) / np.sqrt(r["var"])
    size = (np.abs(r["x"]) + np.abs(r["mean"])) * scale + np.abs(r["beta"])
    close(y, r["y"], 6, size)
    (same,) = run(f"batch_norm_frozen_{t}", norm.shape, **arguments, y=r["x"])
    assert same.tobytes() == y.tobytes()
    gamma = norm.channel(6, "f32", 1.0)
    r = torch_norm(norm, False, 0.1, gamma, eps)
    check_batch_norm_gradient(run, "frozen", norm, r, gamma, r["mean"], r["var"], eps)


def check_batch_norm_train(run: Run, norm: Norm) -> None:
    t, c, gamma = norm.t, norm.channels, norm.channel(5, norm.t, 1.0)
    momentum, eps = float(np.float32(0.1)), float(np.float32(1e-5))
    r = torch_norm(norm, True, momentum, gamma, eps)
    arguments = {"x": r["x"], "gamma": gamma, "beta": r["beta"]}
    arguments |= {"running_mean": r["mean"], "running_var": r["var"], "momentum": momentum, "eps": eps}
    arguments |= {"mean": empty(c, "f32"), "invstd": empty(c, "f32"), "low": 0.0, "high": INF}
    results = run(f"batch_norm_train_{t}", norm.shape, **arguments, y=empty(r["x"].shape, t))
    wide = exact(r["x"])
    variance = wide.var(0, unbiased=False)
    # Errors of mean and variance reach y multiplied by how much larger the data are than their spread; fp16 takes
    # differences first and rounds them, the scale and the shift.
    inverse = 1 / np.sqrt(np.asarray(variance) + eps)
    largest = np.asarray(
        (wide.max(0).values - wide.min(0).values) if t == "f16" else wide.abs().max(0).values
    )
    ratio = 1 + largest * inverse
    operations = 2 * norm.pixels + 10 + (4 * HALF if t == "f16" else 0)
    close(results[0], r["after"][0], operations, largest + 1.0)
    close(results[1], r["after"][1], operations, largest**2 + 1.0)
    close(results[2], r["y"], operations, (np.abs(gamma) * ratio**3 + np.abs(r["beta"])))
    close(results[3], wide.mean(0), operations, largest)
    close(results[4], inverse, operations, inverse * ratio**2)
    same = run(f"batch_norm_train_{t}", norm.shape, **arguments, y=r["x"])
    assert [item.tobytes() for item in same] == [item.tobytes() for item in results]
    gamma = norm.channel(6, "f32", 1.0)
    r = torch_norm(norm, True, momentum, gamma, eps)
    check_batch_norm_gradient(run, "train", norm, r, gamma, results[3], results[4])


# ------------------------------------------------------------------------------------- losses and optimizers
def check_losses(run: Run, t: str, batch: int, classes: int, seed: int, scale: float) -> None:
    shape = {"batch": batch, "classes": classes}
    output = draw(seed, (batch, classes), t, 3.0)
    target = np.abs(draw(seed + 1, (batch, classes)))
    weight = draw(seed + 2, batch)
    for name, predicted in (("cross_entropy", "logits"), ("mean_squared_error", "prediction")):
        reference = exact(output, True)
        if name == "cross_entropy":
            losses = -(exact(target) * F.log_softmax(reference, dim=1)).sum(1)
            slope = exact(target).sum() / batch
        else:
            losses = F.mse_loss(reference, exact(target), reduction="none").mean(1)
            slope = (np.abs(output).max() + target.max()) / (batch * classes)
        loss = (losses * exact(weight)).mean()
        loss.backward()
        assert reference.grad is not None
        arguments = {predicted: output, f"d{predicted}": empty(output.shape, t), "loss": empty(1, "f32")}
        arguments |= {"target": target, "weight": weight, "loss_scale": scale}
        results = run(f"{name}_{t}", shape, **arguments)
        size = float((losses * exact(weight)).detach().abs().mean()) + float(
            np.abs(weight).max() * target.sum()
        )
        close(results[0], loss, 2 * batch * classes + 10, size)
        limit = scale * np.abs(weight).max() * float(slope)
        close(results[1], reference.grad * scale, classes + 12, limit)


def check_optimizer(run: Run, name: str, t: str, copy: bool, extra: bool, n: int, seed: int) -> None:
    """Three steps; extra: with weight decay (and momentum)."""
    optimizer = optimizer_of(name, extra)
    call = update_call(optimizer, t, copy, n)
    written = [operand.name for operand in call.kernel.operands(call.context) if operand.written]
    w = draw(seed, n, t)
    parameter = torch.nn.Parameter(exact(w))
    reference = optimizer.twin([parameter], optimizer.lr)
    arrays = {"parameter": w}
    arrays |= {state.name: np.zeros(n, TYPES[state.dtype or t]) for state in optimizer.states}
    state = {scalar.name: 0.0 for scalar in optimizer.own_scalars}
    for step in range(1, 4):
        arrays["gradient"] = draw(seed + step, n, "f16" if copy else t, 8.0)
        if copy:
            arrays["copy"] = arrays["gradient"]  # the gradient lies where the working copy goes
        parameter.grad = exact(arrays["gradient"]) / 8
        reference.step()
        for scalar in optimizer.own_scalars:
            advance(state, scalar)
        scalars = {"learning_rate": optimizer.lr, "gradient_factor": 0.125, **state}
        arguments = {key: passed(argument, arrays, scalars) for key, argument in call.arguments.items()}
        results = run(f"{name}_{t}_{'f16' if copy else 'none'}_{extra}", {"count": n}, **arguments)
        for operand, result in zip(written, results, strict=True):
            arrays[call.tensors[operand]] = result
        w = arrays["parameter"]
        if copy:
            assert arrays["copy"].tobytes() == w.astype(np.float16).tobytes() or t == "f32"
            close(arrays["copy"], parameter, step * 2.0**13 if t == "f16" else 40, np.abs(w) + 0.3)
        # In fp16 the weight and the momentum are rounded in every step.
        close(w, parameter, step * 2.0**14 if t == "f16" else 40, np.abs(w) + 0.3)


def advance(state: dict[str, float], scalar: RunTimeScalar) -> None:
    """Runs the C statement that advances a run-time scalar, which is one of Python's but for its suffixes."""
    statement = scalar.advance.format(state="training", **scalar.numbers).replace("1.0f", "1.0").rstrip(";")
    training = SimpleNamespace(**state)
    exec(statement, {"training": training})
    state.update(vars(training))


def passed(argument: Argument, arrays: dict[str, Any], scalars: dict[str, float]) -> Any:
    """What a call passes: an array for a tensor, and a number."""
    if isinstance(argument, Tensor):
        assert argument.name is not None
        return arrays[argument.name]
    return argument.value if isinstance(argument, Number) else scalars[argument.name]


# ----------------------------------------------------------------------------------------------- all of them
def sweep(run: Run) -> None:
    """One call of everything, for the tests below."""
    for t in TYPES:
        check_relu(run, t, 13, 1, 0.0, 6.0)
        check_silu(run, t, 13, 1)
        for function in UNARY:
            check_unary(run, function, t, 15, 1)
        for arithmetic in Arithmetic:
            check_broadcast(run, arithmetic, t, t, (2, 3, 2, 5), (1,), 1)
            check_broadcast(run, arithmetic, t, "f32", (1, 2, 5, 9), (2, 3), 2)
        check_pieces(run, t, 3, (2, 1, 3), 5, 2, 1)
        check_pieces(run, t, 2, (1, 2, 1, 3), 1, 1, 2)
        for sizes in ((2, 3, 2, 2, 5), (1, 1, 1, 7, 3), (3, 1, 1, 5, 1)):
            check_reduce(run, t, t, sizes, 1, 2.0)
            check_reduce(run, t, "f32", sizes, 2, 1.0)
        check_add(run, t, 13, 1)
        check_cast_fill(run, t, 13, 1, 0.5)
        check_squared_sum(run, t, 13, 1, 0.25)
        check_quantise(run, t, (5, 1, 9), 1)
        check_change_layout(run, t, (2, 3, 4, 5), 1)
        pool = Pool((2, 5, 6, 3), (3, 2), (2, 1), (1, 1), False, False, 0)
        check_average_pool(run, t, pool, 2)
        check_average_pool(run, t, replace(pool, include=True), 2)
        check_max_pool(run, t, pool, 3)
        check_im2row(run, t, (2, 6, 5, 1), Window((5, 4), (2, 1), (2, 1, 1, 2)), 9)
        check_im2row(run, t, (1, 4, 9, 3), Window((3, 3), (1, 2), (0, 1, 0, 1)), 10)
        check_global_average_pool(run, t, (2, 3, 3, 5), 4)
        check_batch_norm_frozen(run, Norm(t, 11, 5, 5))
        check_batch_norm_train(run, Norm(t, 11, 5, 5))
        check_losses(run, t, 2, 5, 6, 1.0)
        for name in OPTIMIZERS:
            check_optimizer(run, name, t, True, True, 9, 7)
            check_optimizer(run, name, t, False, False, 9, 8)
    check_sums(run, 11, 3, 1)
    for within in (False, True):
        check_weights(run, 9, 4, within, 1)
    check_singular(run)
    for seed, variant in zip((0, 1, 2, 4), NUMBERS, strict=True):  # 3 draws what overflows
        operands = Operands(FUNCTIONS, variant, Shape(2, 6, 9, 4, 3, 5, 8, 3, 3, 2, 2, 0, 0), seed)
        check_convolutions(lambda case: run(case.function.name, case.shape, **case.arguments), operands)
