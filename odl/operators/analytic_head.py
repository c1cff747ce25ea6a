"""A classifier in closed form: features in whole steps, their sums in integers, and the equations that give its weights.

Features are [1, size]; a symmetric matrix is its upper triangle, row behind row. A sample is two integers: its class, and
how often it counts, 1 or -1.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.graph import Array, Shape
from odl.kernels.signature import Kernel, Operand, Scalar, ShapeStruct, Specialisation, updated, written
from odl.kernels.tiling import Slice, Tile, Tiling, ranges
from odl.operators.base import InPlaceOperator, KernelRequest, Operator

_PARTS = "abcd"
#: The most steps of a feature either way.
MOST_STEPS = 127
#: What stands for a feature that is NaN or infinite.
NO_STEPS = -128


def triangle(size: int) -> int:
    """Elements of the upper triangle of a matrix of that many rows."""
    return size * (size + 1) // 2


@dataclass(frozen=True)
class RowTiling(Tiling):
    """Runs of rows of a triangle; every other operand is whole."""

    def limits(self, shape: Mapping[str, int]) -> tuple[int, int]:
        """Single rows."""
        return shape["rows"], 1

    def tiles(
        self, shape: Mapping[str, int], counts: Mapping[str, int], parts: tuple[int, int]
    ) -> list[Tile]:
        """Runs of rows with about as many elements each."""
        size = shape["size"]

        def begin(row: int) -> int:
            return triangle(size) - triangle(size - row)

        cuts = [0]
        for _, end in ranges(triangle(size), parts[0]):
            row = next(row for row in range(size + 1) if begin(row) >= end)
            cuts += [row] if row > cuts[-1] else []
        whole = {name: Slice(0, count) for name, count in counts.items()}
        return [
            Tile(
                {"size": size, "first": first, "rows": last - first},
                {**whole, "gram": Slice(begin(first), begin(last) - begin(first))},
            )
            for first, last in itertools.pairwise(cuts)
        ]


QUANTISE = Kernel(
    "quantise",
    ShapeStruct("odl_quantise_shape", tuple(_PARTS)),
    (
        *(Operand(name, "T", optional=name != "a") for name in _PARTS),
        written("y", "i8"),
        *(Scalar(f"factor_{name}") for name in _PARTS),
    ),
)
GRAM_UPDATE = Kernel(
    "gram_update",
    ShapeStruct("odl_triangle_shape", ("size", "first", "rows")),
    (Operand("x", "i8"), Operand("sample", "i32"), updated("gram", "i32")),
    tiling=RowTiling(),
)
STATISTICS_SHAPE = ShapeStruct("odl_statistics_shape", ("size", "classes"))
CLASS_SUM_UPDATE = Kernel(
    "class_sum_update",
    STATISTICS_SHAPE,
    (Operand("x", "i8"), Operand("sample", "i32"), updated("sums", "i32"), updated("counts", "i32")),
)
_STATISTICS = (Operand("sums", "i32"), Operand("counts", "i32"))
COVARIANCE = Kernel(
    "covariance",
    STATISTICS_SHAPE,
    (Operand("gram", "i32"), *_STATISTICS, written("a", "f32"), Scalar("shrinkage")),
)
CHOLESKY = Kernel("cholesky", ShapeStruct("odl_square_shape", ("size",)), (updated("a", "f32"),))
ANALYTIC_WEIGHTS = Kernel(
    "analytic_weights",
    STATISTICS_SHAPE,
    (Operand("u", "f32"), *_STATISTICS, written("weights", "f32"), written("bias", "f32")),
)
INTEGER_LINEAR = Kernel(
    "integer_linear",
    STATISTICS_SHAPE,
    (Operand("x", "i8"), Operand("weights", "f32"), Operand("bias", "f32"), written("y", "f32")),
)


@dataclass(frozen=True)
class Quantise(Operator):
    """Up to four tensors [1, size] one behind the other, in steps of 1 / factor; output y."""

    signature: ClassVar[Kernel] = QUANTISE
    factors: tuple[float, ...]

    @override
    def scalar(self, name: str) -> float:
        place = _PARTS.index(name.removeprefix("factor_"))
        return self.factors[place] if place < len(self.factors) else 1.0

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        if any(len(shape) != 2 or shape[0] != 1 for shape in inputs.values()):
            raise ValueError(
                f"features of one sample are quantised, got {' and '.join(map(str, inputs.values()))}"
            )
        return {"y": (1, sum(shape[1] for shape in inputs.values()))}

    @override
    def reference(self, **arrays: Array) -> dict[str, Array]:
        steps = [array * factor for array, factor in zip(arrays.values(), self.factors, strict=True)]
        limited = np.clip(np.rint(np.concatenate(steps, axis=1)), -MOST_STEPS, MOST_STEPS)
        return {"y": limited.astype(np.int8)}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        given = {name: request.value(name) for name in _PARTS}
        return {name: 0 if value is None else value.count for name, value in given.items()}


@dataclass(frozen=True)
class GramUpdate(InPlaceOperator):
    """Add a sample's products of features to their sums, or take them out (written in place)."""

    signature: ClassVar[Kernel] = GRAM_UPDATE
    operand_names: ClassVar[Mapping[str, str]] = {"x": "features"}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        size = request.present("features").count
        return {"size": size, "first": 0, "rows": size}


@dataclass(frozen=True)
class ClassSumUpdate(InPlaceOperator):
    """Add a sample's features to those of its class, or take them out; count it (written in place)."""

    signature: ClassVar[Kernel] = CLASS_SUM_UPDATE
    operand_names: ClassVar[Mapping[str, str]] = {"x": "features"}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        return _statistics(request)


def _statistics(request: KernelRequest) -> Mapping[str, int]:
    classes, size = request.present("sums").shape
    return {"classes": classes, "size": size}


@dataclass(frozen=True)
class Covariance(Operator):
    """The features' covariance, `within` classes or of all samples, plus a share of its mean variance on the diagonal.

    Inputs gram, sums [classes, size], counts [classes]; output a, in squared steps.
    """

    signature: ClassVar[Kernel] = COVARIANCE
    shrinkage: float
    within: bool

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        size = inputs["sums"][1]
        if inputs["gram"] != (triangle(size),):
            raise ValueError(
                f"sums of {size} features go with {triangle(size)} products, got {inputs['gram']}"
            )
        return {"a": inputs["gram"]}

    @override
    def specialisation(self, request: KernelRequest) -> Specialisation:
        return {"within": self.within}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        return _statistics(request)

    @override
    def reference(self, *, gram: Array, sums: Array, counts: Array) -> dict[str, Array]:
        size, n = sums.shape[1], counts.sum()
        matrix = np.zeros((size, size))
        matrix[np.triu_indices(size)] = gram
        total = sums.sum(axis=0, dtype=float)
        seen = counts > 0
        means = sums[seen] / counts[seen, None]
        centred = means.T @ sums[seen] if self.within else np.outer(total, total) / n
        m = (matrix - centred) / n
        m += self.shrinkage * np.trace(m) / size * np.eye(size)
        return {"a": m[np.triu_indices(size)]}


@dataclass(frozen=True)
class Cholesky(InPlaceOperator):
    """A symmetric positive definite matrix becomes its upper Cholesky factor (written in place)."""

    signature: ClassVar[Kernel] = CHOLESKY

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        count = request.present("a").count
        return {"size": next(size for size in range(1, count + 1) if triangle(size) >= count)}


@dataclass(frozen=True)
class AnalyticWeights(Operator):
    """Weights [classes, size] and bias [classes] from the covariance's factor u, sums [classes, size] and counts [classes].

    `within`: of linear discriminant analysis; else of ridge regression.
    """

    signature: ClassVar[Kernel] = ANALYTIC_WEIGHTS
    within: bool

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"weights": inputs["sums"], "bias": inputs["counts"]}

    @override
    def specialisation(self, request: KernelRequest) -> Specialisation:
        return {"within": self.within}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        return _statistics(request)

    @override
    def reference(self, *, u: Array, sums: Array, counts: Array) -> dict[str, Array]:
        size, n = sums.shape[1], counts.sum()
        factor = np.zeros((size, size))
        factor[np.triu_indices(size)] = u
        matrix = factor.T @ factor
        mean = sums.sum(axis=0, dtype=float) / n
        if not self.within:
            weights = np.linalg.solve(matrix, ((sums - counts[:, None] * mean) / n).T).T
            return {"weights": weights, "bias": counts / n - weights @ mean}
        seen = counts > 0
        means = sums / np.maximum(counts, 1)[:, None]
        weights = np.linalg.solve(matrix, means.T).T
        bias = np.where(seen, -0.5 * (weights * means).sum(axis=1), -np.finfo(np.float32).max)
        return {"weights": weights, "bias": bias}


@dataclass(frozen=True)
class IntegerLinear(Operator):
    """Scores y [1, classes] = features wᵀ + bias of features in steps."""

    signature: ClassVar[Kernel] = INTEGER_LINEAR
    operand_names: ClassVar[Mapping[str, str]] = {"x": "features"}

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        if inputs["weights"] != (*inputs["bias"], inputs["features"][1]):
            raise ValueError(f"weights {inputs['weights']} do not fit features {inputs['features']}")
        return {"y": (1, inputs["weights"][0])}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        classes, size = request.present("weights").shape
        return {"classes": classes, "size": size}

    @override
    def reference(self, *, features: Array, weights: Array, bias: Array) -> dict[str, Array]:
        return {"y": features.astype(weights.dtype) @ weights.T + bias}
