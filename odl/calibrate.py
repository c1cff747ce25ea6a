"""How large the averages of layers' outputs become that the analytic head takes its features from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from odl.errors import InputError, option
from odl.graph.ir import Graph, Role, Value
from odl.graph.operator import Array
from odl.learners.analytic_head import AnalyticHead
from odl.options import Options
from odl.project.taps import tapped, upto

#: Without calibration data: random inputs, and how much larger than on these the averages of real ones may be.
_INPUTS, _MARGIN = 8, 2.0


def with_limits(
    options: Options, infer: Graph, tensors: Mapping[str, Array], calibration: Array | None
) -> tuple[Options, tuple[str, ...]]:
    """The options with a limit for each layer of the analytic head, where none was given; and what to say of them.

    `tensors`: parameters and statistics. `calibration`: inputs [M, …]; normal random numbers stand for them where there are
    none. InputError for a shape that is not the input's, and where a number of limits is not that of the layers.
    """
    head = options.learner(AnalyticHead)
    if head is None:
        if calibration is not None:
            raise InputError(f"calibration data is for {option('learn', AnalyticHead.name)}")
        return options, ()
    taps = tapped(infer, head.layers)
    if head.limits:
        if len(head.limits) != len(taps):
            raise InputError(
                f"{head.option('limits')} has {len(head.limits)} numbers; the analytic head has {len(taps)} layers"
            )
        return options, ()
    given = next(value for value in infer.values.values() if value.role is Role.INPUT)
    estimated: tuple[str, ...] = ()
    margin = 1.0
    if calibration is None:
        calibration = np.random.default_rng(0).standard_normal((_INPUTS, *given.shape[1:]), np.float32)
        margin = _MARGIN
        estimated = (
            "the analytic head's features are scaled for random inputs: give calibration data, or limits, for real ones",
        )
    if calibration.shape[1:] != given.shape[1:] or not len(calibration):
        raise InputError(
            f"calibration data has shape {calibration.shape}, expected (N, {', '.join(map(str, given.shape[1:]))})"
        )
    largest = _largest(upto(infer, taps), given, taps, tensors, np.asarray(calibration, np.float32))
    for value, limit in zip(taps, largest, strict=True):
        if not 0 < limit < np.inf:
            raise InputError(
                f"layer output '{value.name}' averages to {limit:g} over all calibration data; it has no features"
            )
    limits = tuple(float(np.float32(margin * limit)) for limit in largest)
    learners = tuple(replace(head, limits=limits) if item is head else item for item in options.learn)
    return replace(options, learn=learners), estimated


def read_calibration(path: Path) -> Array:
    """The array x of an NPZ file; InputError where there is none."""
    try:
        with np.load(path) as found:
            return np.asarray(found["x"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no NPZ file with an array x: {error}") from error


def averages(graph: Graph, taps: Sequence[Value], given: Mapping[str, Array]) -> list[Array]:
    """The averages [N, channels] of some of a graph's values, computed by the operators' references.

    `given`: the graph's input, parameters and statistics, in whose type it computes.
    """
    arrays = dict(given)
    for node in graph.nodes:
        made = node.operator.reference(**{name: arrays[value] for name, value in node.inputs.items()})
        arrays.update({value: made[name] for name, value in node.outputs.items()})
    return [arrays[value.name].reshape(*value.shape[:2], -1).mean(axis=2) for value in taps]


def _largest(
    graph: Graph, given: Value, taps: Sequence[Value], tensors: Mapping[str, Array], inputs: Array
) -> list[float]:
    """The largest average of each tapped value over its channels and all inputs, in float32."""
    largest = [0.0] * len(taps)
    for sample in inputs:
        found = averages(graph, taps, {**tensors, given.name: np.broadcast_to(sample, given.shape)})
        largest = [max(old, float(np.abs(new).max())) for old, new in zip(largest, found, strict=True)]
    return largest
