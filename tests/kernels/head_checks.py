"""What the kernels of the analytic head must compute: integers exactly, equations by what is left of them in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from odl.operators.analytic_head import AnalyticWeights, Covariance, Quantise
from tests.kernels.cases import TYPES
from tests.kernels.kernel_library import Run, close, draw, empty

#: fp32's unit roundoff.
UNIT = 2.0**-24


def steps(seed: int, *shape: int) -> Any:
    """Features in steps, all of them possible."""
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def check_quantise(run: Run, t: str, sizes: tuple[int, ...], seed: int) -> None:
    """Steps of several operands one behind the other; NaN and infinity are told from numbers."""
    factors = [3.0 * (place + 1) for place in range(4)]
    arrays = [draw(seed + place, size, t, 20.0) for place, size in enumerate(sizes)]
    given = {name: None for name in "bcd"} | dict(zip("abcd", arrays, strict=False))
    shape = {name: 0 for name in "abcd"} | dict(zip("abcd", sizes, strict=False))
    scalars = {f"factor_{name}": factor for name, factor in zip("abcd", factors, strict=True)}
    exact = {name: array[None].astype(np.float64) for name, array in zip("abcd", arrays, strict=False)}
    expected = Quantise(tuple(factors[: len(sizes)])).reference(**exact)["y"][0]
    y = np.full(sum(sizes), 99, np.int8)
    (got,) = run(f"quantise_{t}", shape, **given, y=y, **scalars)
    near = np.concatenate([array.astype(np.float64) * f for array, f in zip(arrays, factors, strict=False)])
    between = np.abs(near - np.floor(near) - 0.5) < 1e-3  # rounding the product may have made it a tie
    assert ((got == expected) | between & (np.abs(got.astype(int) - expected) <= 1)).all()
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 0.5, 1.5, -2.5, 300.0, -300.0], TYPES[t])
    none = {"b": None, "c": None, "d": None}
    (got,) = run(
        f"quantise_{t}", {"a": 9, "b": 0, "c": 0, "d": 0}, a=special, **none, y=np.zeros(9, np.int8),
        **dict.fromkeys(scalars, 1.0),
    )  # fmt: skip
    assert got.tolist() == [-128, -128, -128, 0, 0, 2, -2, 127, -127]


def check_sums(run: Run, size: int, classes: int, seed: int) -> None:
    """Adding samples gives the sums of integers; taking some out in another order, the very bits of the rest."""
    x = steps(seed, 6, size)
    labels = np.random.default_rng(seed).integers(0, classes, 6)
    gram = np.zeros(size * (size + 1) // 2, np.int32)
    sums, counts = np.zeros((classes, size), np.int32), np.zeros(classes, np.int32)
    for place, times in ((0, 1), (1, 1), (2, 1), (3, 1), (1, -1), (4, 1), (0, -1), (5, 1)):
        sample = np.array([labels[place], times, 7, 7, 7, 7], np.int32)
        rows = [(0, size)] if place % 2 else [(0, size // 3), (size // 3, size - size // 3)]
        begins = np.cumsum([0, *range(size, 0, -1)])
        for first, count in rows:
            part = gram[begins[first] : begins[first + count]].copy()
            if not count:
                continue
            shape = {"size": size, "first": first, "rows": count}
            (part,) = run("gram_update", shape, x=x[place], sample=sample, gram=part)
            gram[begins[first] : begins[first + count]] = part
        sums, counts = run(
            "class_sum_update", {"size": size, "classes": classes}, x=x[place], sample=sample, sums=sums, counts=counts
        )  # fmt: skip
    kept = x[2:].astype(np.int64)
    assert np.array_equal(gram, (kept.T @ kept)[np.triu_indices(size)])
    for c in range(classes):
        assert np.array_equal(sums[c], kept[labels[2:] == c].sum(axis=0))
        assert counts[c] == (labels[2:] == c).sum()


def check_weights(run: Run, size: int, classes: int, within: bool, seed: int) -> None:
    """Covariance, its factor and the weights, each by its own equation in float64; the last class has no sample."""
    samples = 3 * size + 8
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes - 1, samples)
    x = np.clip(np.rint(random.standard_normal((samples, size)) * 20 + 12 * labels[:, None]), -127, 127)
    upper = np.triu_indices(size)
    gram = (x.T @ x)[upper].astype(np.int32)
    sums = np.stack([x[labels == c].sum(axis=0) for c in range(classes)]).astype(np.int32)
    counts = np.bincount(labels, minlength=classes).astype(np.int32)
    shape = {"size": size, "classes": classes}
    statistics = {"sums": sums, "counts": counts}
    a = empty(len(gram), "f32")
    (a,) = run(f"covariance_{within}", shape, gram=gram, **statistics, a=a, shrinkage=0.01)
    expected = Covariance(0.01, within).reference(gram=gram, **statistics)["a"]
    largest = np.abs(gram).max() / samples
    close(a, expected, 4.0 * classes + 8, np.full(len(a), largest))
    (u,) = run("cholesky", {"size": size}, a=a.copy())
    factor, matrix = np.zeros((size, size)), np.zeros((size, size))
    factor[upper], matrix[upper] = u, a
    product = factor.T @ factor
    bound = 4 * (size + 4) * UNIT * np.sqrt(np.outer(product.diagonal(), product.diagonal()))
    assert (np.abs(product - matrix)[upper] <= bound[upper]).all(), "the factor's square is not the matrix"
    weights, bias = run(
        f"analytic_weights_{within}", shape, u=u, **statistics, weights=empty((classes, size), "f32"),
        bias=empty(classes, "f32"),
    )  # fmt: skip
    wanted = AnalyticWeights(within).reference(u=u, **statistics)
    error = np.linalg.norm(weights - wanted["weights"], axis=1)
    means = sums.sum(axis=0) / samples if not within else sums / np.maximum(counts, 1)[:, None]
    limit = 8 * (size + 4) * UNIT * np.linalg.cond(product)
    centred = 4 * np.sqrt(size) * UNIT * np.abs(means).max() / np.linalg.eigvalsh(product)[0]
    bound = limit * np.linalg.norm(wanted["weights"], axis=1).max() + centred
    assert (error <= bound).all(), f"weights are off by {error}, bound {bound}"
    allowed = limit * (1 + np.abs(wanted["weights"] * means).sum(axis=1)) + bound * np.linalg.norm(means)
    assert (np.abs(bias - wanted["bias"]) <= allowed).all()
    features = steps(seed, size)
    (y,) = run("integer_linear", shape, x=features, weights=weights, bias=bias, y=empty(classes, "f32"))
    seen = counts > 0
    scores = features @ weights.T.astype(np.float64) + bias
    close(
        y[seen],
        scores[seen],
        size + 1,
        (np.abs(weights) @ np.abs(features.astype(float)) + np.abs(bias))[seen],
    )
    assert y.argmax() < classes - 1, "a class of no samples wins"


def check_singular(run: Run) -> None:
    """A matrix that is not positive definite raises a flag."""
    for a in ([1.0, 2.0, 1.0], [0.0, 0.0, 1.0], [np.nan, 0.0, 1.0]):
        run("cholesky", {"size": 2}, overflow=not np.isnan(a[0]) or None, a=np.array(a, np.float32))
