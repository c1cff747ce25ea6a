"""Kernels besides convolutions: normalisation, activations, pooling, layout, losses, optimizers, casts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from odl.operators.broadcast import Arithmetic
from odl.operators.unary import Function
from odl.operators.window import Window
from odl.optimizers import OPTIMIZERS
from tests.kernels.cases import TYPES
from tests.kernels.head_checks import check_quantise, check_sums, check_weights
from tests.kernels.kernel_checks import (
    UNARY,
    Norm,
    Pool,
    check_add,
    check_average_pool,
    check_batch_norm_frozen,
    check_batch_norm_train,
    check_broadcast,
    check_cast_fill,
    check_change_layout,
    check_global_average_pool,
    check_im2row,
    check_losses,
    check_max_pool,
    check_optimizer,
    check_pieces,
    check_reduce,
    check_relu,
    check_silu,
    check_squared_sum,
    check_unary,
)
from tests.kernels.kernel_library import INF, Arrays, Runner, empty

types, seeds = st.sampled_from(list(TYPES)), st.integers(0, 2**32 - 1)
few = settings(max_examples=12)


# ----------------------------------------------------------------------------------------------- elementwise
@few
@given(
    t=types, n=st.integers(1, 70), seed=seeds, limits=st.sampled_from([(0.0, INF), (0.0, 6.0), (-1.0, 1.0)])
)
def test_relu(run: Runner, t: str, n: int, seed: int, limits: tuple[float, float]) -> None:
    check_relu(run, t, n, seed, *limits)


@few
@given(t=types, n=st.integers(1, 70), seed=seeds)
def test_silu(run: Runner, t: str, n: int, seed: int) -> None:
    check_silu(run, t, n, seed)


@pytest.mark.parametrize("function", UNARY)
@few
@given(t=types, n=st.integers(1, 70), seed=seeds)
def test_unary(run: Runner, function: Function, t: str, n: int, seed: int) -> None:
    check_unary(run, function, t, n, seed)


@pytest.mark.parametrize("function", UNARY)
@pytest.mark.parametrize("t", TYPES)
def test_unary_of_nan_and_infinity(run: Runner, function: Function, t: str) -> None:
    """What PyTorch gives, and NaN wherever it does."""
    torch_function, numbers = UNARY[function]
    x = np.array([np.nan, INF, -INF, 0.0, -0.0], TYPES[t])
    (y,) = run(f"{function}_{t}", {"count": 5}, overflow=None, x=x, y=empty(5, t), **numbers)
    np.testing.assert_array_equal(
        y, torch_function(torch.tensor(x.astype(np.float64))).numpy().astype(TYPES[t])
    )


@pytest.mark.parametrize("function", [f for f in UNARY if f not in (Function.ABSOLUTE, Function.SIGN)])
def test_unary_of_every_half(run: Runner, function: Function) -> None:
    """fp16 results are at most one unit in the last place from float64's, rounded; nearly all are equal."""
    torch_function, numbers = UNARY[function]
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)]
    (y,) = run(f"{function}_f16", {"count": x.size}, overflow=None, x=x, y=empty(x.size, "f16"), **numbers)
    with np.errstate(over="ignore"):
        wanted = torch_function(torch.tensor(x.astype(np.float64))).numpy().astype(np.float16)
    off = np.abs(ordered(y) - ordered(wanted))
    assert off.max() <= 1
    assert (off == 0).mean() > 0.999


def ordered(halves: np.ndarray) -> np.ndarray:
    """Numbers such that neighbours among fp16 numbers differ by 1."""
    bits = halves.view(np.uint16).astype(np.int32)
    return np.where(bits & 0x8000, 0x8000 - bits, bits)


@few
@given(t=types, n=st.integers(1, 70), seed=seeds)
def test_add(run: Runner, t: str, n: int, seed: int) -> None:
    check_add(run, t, n, seed)


@few
@given(t=types, n=st.integers(1, 70), seed=seeds, value=st.floats(-1e4, 1e4, width=32))
def test_cast_fill(run: Runner, t: str, n: int, seed: int, value: float) -> None:
    check_cast_fill(run, t, n, seed, value)


@few
@given(t=types, n=st.integers(1, 70), seed=seeds, factor=st.sampled_from([1.0, 1 / 128, 1 / 1024]))
def test_squared_sum(run: Runner, t: str, n: int, seed: int, factor: float) -> None:
    check_squared_sum(run, t, n, seed, factor)


@pytest.mark.parametrize("function", Arithmetic)
@few
@given(
    t=types,
    wide=st.booleans(),
    sizes=st.tuples(*[st.integers(1, 4)] * 3, st.integers(1, 19)),
    repeated=st.sets(st.integers(0, 3)),
    seed=seeds,
)
def test_broadcast(
    run: Runner,
    function: Arithmetic,
    t: str,
    wide: bool,
    sizes: tuple[int, int, int, int],
    repeated: set[int],
    seed: int,
) -> None:
    check_broadcast(run, function, t, "f32" if wide else t, sizes, sorted(repeated), seed)


@few
@given(
    t=types,
    wide=st.booleans(),
    sizes=st.tuples(*[st.integers(1, 4)] * 4, st.integers(1, 19)),
    seed=seeds,
    divisor=st.sampled_from([1.0, 3.0]),
)
def test_reduce(run: Runner, t: str, wide: bool, sizes: tuple[int, ...], seed: int, divisor: float) -> None:
    check_reduce(run, t, "f32" if wide else t, sizes, seed, divisor)


@pytest.mark.parametrize("t", TYPES)
def test_a_long_reduction(run: Runner, t: str) -> None:
    """More pixels than are summed at a time, and a rest."""
    check_reduce(run, t, t, (2, 1, 2, 131, 5), 0, 1.0)


@pytest.mark.parametrize("t", TYPES)
@pytest.mark.parametrize("moved", ["a", "b", "ab"])
def test_broadcast_of_moved_tensors(run: Runner, t: str, moved: str) -> None:
    """Operands whose last axis is not the last one in memory."""
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((5, 7)).astype(TYPES[t]) for _ in range(2))
    shape = {"n0": 1, "n1": 1, "n2": 5, "n3": 7}
    for name in "ab":
        steps = (1, 5) if name in moved else (7, 1)
        shape |= {f"{name}0": 0, f"{name}1": 0, f"{name}2": steps[0], f"{name}3": steps[1]}
    given = {
        name: np.ascontiguousarray(item.T) if name in moved else item for name, item in (("a", a), ("b", b))
    }
    (y,) = run(f"broadcast_add_{t}_{t}", shape, **given, y=empty((5, 7), t))
    assert y.tobytes() == (a.astype(np.float32) + b.astype(np.float32)).astype(TYPES[t]).tobytes()


@few
@given(
    t=types,
    outer=st.integers(1, 4),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    inner=st.integers(1, 9),
    step=st.integers(1, 3),
    seed=seeds,
)
def test_pieces(
    run: Runner, t: str, outer: int, lengths: list[int], inner: int, step: int, seed: int
) -> None:
    check_pieces(run, t, outer, lengths, inner, step, seed)


sizes = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 7), st.integers(1, 9))


@few
@given(t=types, size=sizes, seed=seeds)
def test_change_layout(run: Runner, t: str, size: tuple[int, int, int, int], seed: int) -> None:
    check_change_layout(run, t, size, seed)


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, int, int, int], Window]:
    kernel = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    padding = draw(st.tuples(*[st.integers(0, 7)] * 4))
    top, left, bottom, right = padding
    height = draw(st.integers(max(1, kernel[0] - top - bottom), 9))
    width = draw(st.integers(max(1, kernel[1] - left - right), 9))
    size = (draw(st.integers(1, 2)), height, width, draw(st.integers(1, 9)))
    return size, Window(kernel, draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), padding)


@settings(max_examples=40)
@given(t=types, case=windows(), seed=seeds)
def test_im2row(run: Runner, t: str, case: tuple[tuple[int, int, int, int], Window], seed: int) -> None:
    check_im2row(run, t, *case, seed)


# --------------------------------------------------------------------------------------------------- pooling
@st.composite
def pools(draw: st.DrawFn) -> Pool:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pad = (draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2)))
    height = draw(st.integers(max(1, kernel[0] - 2 * pad[0]), 8))
    width = draw(st.integers(max(1, kernel[1] - 2 * pad[1]), 7))
    size = (draw(st.integers(1, 2)), height, width, draw(st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return Pool(
        size, kernel, stride, pad, draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([0, 0, 5]))
    )


@settings(max_examples=40)
@given(t=types, pool=pools(), seed=seeds)
def test_pools(run: Runner, t: str, pool: Pool, seed: int) -> None:
    check_average_pool(run, t, pool, seed)
    check_max_pool(run, t, pool, seed)


def test_nan_and_minus_infinity_in_max_pool(run: Runner) -> None:
    x = np.array([1, np.nan, 3, -np.inf, -np.inf, -np.inf], np.float16).reshape(1, 1, 6, 1)
    pool = Pool((1, 1, 6, 1), (1, 3), (1, 3), (0, 0), False, True, 0)
    y, winner = run(
        "max_pool_f16",
        pool.shape((1, 2)),
        x=x,
        y=empty(2, "f16"),
        winner=np.full(2, 9, np.uint8),
        overflow=None,
    )
    assert np.isnan(y[0]) and y[1] == -np.inf
    assert winner.tolist() == [1, 0]


@few
@given(t=types, size=sizes, seed=seeds)
def test_global_average_pool(run: Runner, t: str, size: tuple[int, int, int, int], seed: int) -> None:
    check_global_average_pool(run, t, size, seed)


# --------------------------------------------------------------------------------------- batch normalisation
norms = st.builds(
    Norm, types, st.integers(2, 40), st.integers(1, 9), seeds, st.sampled_from([0.0, 0.0, 30.0])
)


@few
@given(norm=norms)
def test_batch_norm_frozen(run: Runner, norm: Norm) -> None:
    check_batch_norm_frozen(run, norm)


@few
@given(norm=norms)
def test_batch_norm_train(run: Runner, norm: Norm) -> None:
    check_batch_norm_train(run, norm)


@pytest.mark.parametrize("t", TYPES)
@pytest.mark.parametrize("channels", [1, 3, 9, 17, 20, 37])
def test_cores_beyond_the_last_vector_of_channels(run: Runner, t: str, channels: int) -> None:
    """Cores share the pixels of a vector where there are fewer vectors; some of them have none."""
    eight = Runner(run.libraries, [[0], [7, 2, 5, 0, 3, 6, 1, 4], [4, 2, 0, 3, 1]])
    check_batch_norm_frozen(eight, Norm(t, 11, channels, 0))
    check_batch_norm_train(eight, Norm(t, 11, channels, 0))


@pytest.mark.parametrize("t", TYPES)
def test_a_channel_of_one_number_has_no_negative_variance(run: Runner, t: str) -> None:
    """Whatever its mean is rounded to: the variance is never below zero, nor its root NaN."""
    random = np.random.default_rng(0)
    for pixels in range(2, 40):
        numbers = random.uniform(-9, 9, 8).astype(TYPES[t])
        eps = float(np.float32(1e-5))
        given = {
            "x": np.tile(numbers, (pixels, 1)),
            "gamma": np.ones(8, TYPES[t]),
            "beta": np.zeros(8, TYPES[t]),
        }
        given |= {"running_mean": np.zeros(8, np.float32), "running_var": np.zeros(8, np.float32)}
        given |= {"mean": empty(8, "f32"), "invstd": empty(8, "f32"), "y": empty((pixels, 8), t)}
        _, variance, _, mean, inverse = run(
            f"batch_norm_train_{t}",
            {"pixels": pixels, "channels": 8},
            **given,
            momentum=1.0,
            eps=eps,
            low=-INF,
            high=INF,
        )
        assert (variance >= 0).all() and (variance <= 1e-10).all()
        np.testing.assert_allclose(mean, numbers.astype(np.float32), rtol=1e-6)
        assert np.isfinite(inverse).all() and (inverse > 0).all()


# ---------------------------------------------------------------------------------------------------- losses
@few
@given(
    t=types,
    batch=st.integers(1, 4),
    classes=st.integers(1, 13),
    seed=seeds,
    scale=st.sampled_from([1.0, 256.0]),
)
def test_losses(run: Runner, t: str, batch: int, classes: int, seed: int, scale: float) -> None:
    check_losses(run, t, batch, classes, seed, scale)


def cross_entropy(run: Runner, logits: list[float], overflow: bool | None) -> Arrays:
    """Loss and gradient of one sample whose class is 1."""
    shape, target = {"batch": 1, "classes": 3}, np.array([[0, 1, 0]], np.float32)
    arguments = {"logits": np.array([logits], np.float16), "target": target, "weight": np.ones(1, np.float32)}
    arguments |= {"loss": empty(1, "f32"), "dlogits": empty((1, 3), "f16"), "loss_scale": 1.0}
    return run("cross_entropy_f16", shape, overflow=overflow, **arguments)


def test_cross_entropy_of_far_logits(run: Runner) -> None:
    """No overflow, no flag, and the loss of a hopeless sample."""
    loss, gradient = cross_entropy(run, [6e4, -6e4, 0.0], False)
    assert loss[0] == np.float32(np.float16(6e4)) * 2
    assert gradient.tolist() == [[1.0, -1.0, 0.0]]


@pytest.mark.parametrize(("bad", "overflow"), [(np.nan, None), (INF, True)])
def test_bad_logits_are_seen(run: Runner, bad: float, overflow: bool | None) -> None:
    """A NaN makes loss and gradient NaN; so does infinity, which also leaves a flag for loss scaling."""
    for position in range(3):
        logits = [0.0, 0.0, 1.0]
        logits[position] = bad
        loss, gradient = cross_entropy(run, logits, overflow)
        assert np.isnan(loss).all()
        assert np.isnan(gradient).all()


def test_flags_tell_overflow(run: Runner) -> None:
    """An fp16 sum beyond the range is infinite and leaves a flag."""
    big = np.full(3, 6e4, np.float16)
    arguments = {"a": big, "b": big, "y": empty(3, "f16"), "low": -INF, "high": INF}
    (y,) = run("add_f16", {"count": 3}, overflow=True, **arguments)
    assert np.isposinf(y).all()
    wide = np.full(3, 6e4, np.float32)
    (y,) = run("add_f32", {"count": 3}, a=wide, b=wide, y=empty(3, "f32"), low=-INF, high=INF)
    assert np.isfinite(y).all()


# ------------------------------------------------------------------------------------------------ optimizers
@few
@given(t=types, copy=st.booleans(), extra=st.booleans(), n=st.integers(1, 40), seed=seeds)
@example(t="f32", copy=True, extra=True, n=1, seed=0)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(run: Runner, name: str, t: str, copy: bool, extra: bool, n: int, seed: int) -> None:
    check_optimizer(run, name, t, copy, extra, n, seed)


# --------------------------------------------------------------------------------------------- analytic head
@few
@given(t=types, sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4), seed=seeds)
def test_quantise(run: Runner, t: str, sizes: list[int], seed: int) -> None:
    check_quantise(run, t, tuple(sizes), seed)


@few
@given(size=st.integers(1, 40), classes=st.integers(1, 5), seed=seeds)
def test_sums_of_integers(run: Runner, size: int, classes: int, seed: int) -> None:
    check_sums(run, size, classes, seed)


@few
@given(size=st.integers(1, 40), classes=st.integers(2, 5), within=st.booleans(), seed=seeds)
def test_analytic_weights(run: Runner, size: int, classes: int, within: bool, seed: int) -> None:
    check_weights(run, size, classes, within, seed)
