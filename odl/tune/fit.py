"""Fits the cost model's weights to measurements: least squares of the relative error, no weight below zero."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from odl.kernels.call import Argument, KernelCall, Number, Runtime, Tensor
from odl.tune.cache import Timings
from odl.tune.cost import KNOWN, TERMS, UNFITTED, Counts, counts_of, kind_of, weigh

#: Which core is the busiest depends on the weights, so the fit is repeated with those that it gave.
_ROUNDS = 3
#: Where there are fewer measurements of a kind than this, one factor on the weights counted by hand is fitted.
_LEAST = 2 * len(TERMS)


def fit(timings: Timings) -> dict[str, Counts]:
    """Weights by kind of kernel, from every right measurement of the kinds that the model knows."""
    by_kind: dict[str, list[tuple[KernelCall, int, int]]] = {}
    for key, measured in timings.items():
        if json.loads(key)["template"] not in KNOWN:
            continue
        for variant, timing in measured.items():
            call, cores = call_of(key, variant)
            if timing.cycles is not None:
                by_kind.setdefault(kind_of(call), []).append((call, cores, timing.cycles))
    return {kind: _fitted(rows) if len(rows) >= _LEAST else _scaled(rows) for kind, rows in by_kind.items()}


def write(file: Path, weights: Mapping[str, Counts]) -> None:
    """Write weights to a file, as cost.json holds them."""
    rounded = {
        kind: {term: round(values[term], 3) for term in TERMS} for kind, values in sorted(weights.items())
    }
    file.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


def call_of(key: str, variant: str) -> tuple[KernelCall, int]:
    """The kernel call of a cache's entry, as far as the model looks at it, and the cores. KeyError for another kernel."""
    entry = json.loads(key)
    kernel, context = KNOWN[entry["template"]], {**entry["context"], **json.loads(variant)}
    names = (parameter.name for parameter in kernel.present(context))
    arguments = dict(zip(names, map(_argument, entry["arguments"]), strict=True))
    return KernelCall(kernel, context, entry["shape"], arguments), int(entry["cores"])


def _argument(text: str) -> Argument:
    if text in ("tensor", "null"):
        return Tensor("" if text == "tensor" else None)
    try:
        return Number(float(text))
    except ValueError:
        return Runtime(text)


def _fitted(rows: list[tuple[KernelCall, int, int]]) -> Counts:
    weights: Counts | None = None
    for _ in range(_ROUNDS):
        matrix: Any = np.array([_row(call, cores, weights) for call, cores, _ in rows])
        cycles = np.array([measured for _, _, measured in rows], dtype=float)
        solution, _ = nnls(matrix / cycles[:, None], np.ones(len(rows)))
        weights = dict(zip(TERMS, map(float, solution), strict=True))
    assert weights is not None
    return weights


def _scaled(rows: list[tuple[KernelCall, int, int]]) -> Counts:
    ratios = []
    for call, cores, measured in rows:
        counts = counts_of(call, cores, UNFITTED)
        assert counts is not None
        ratios.append(weigh(counts, UNFITTED) / measured)
    factor = sum(ratios) / sum(ratio * ratio for ratio in ratios)
    return {term: factor * weight for term, weight in UNFITTED.items()}


def _row(call: KernelCall, cores: int, weights: Counts | None) -> list[float]:
    counts = counts_of(call, cores, weights)
    assert counts is not None
    return [counts.get(term, 0.0) for term in TERMS]
