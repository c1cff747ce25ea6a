"""Chooses a kernel's variant when a network is compiled: the fastest that was measured, else what the cost model says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from odl.kernels.call import KernelCall, Variant
from odl.options import Options
from odl.targets.cv32e40p.description import Cluster
from odl.tune.cache import VARIABLE, known_timings
from odl.tune.cost import fastest, predict
from odl.tune.job import Timing
from odl.tune.key import case_key, variant_key

#: The first variant stays where another is not faster by this share: every kernel more is code in L2 and in the
#: instruction cache. For what the model says the share is larger, as it errs by some percent.
WORTH_MEASURED, WORTH_PREDICTED = 0.01, 0.05


@dataclass(frozen=True)
class Choice:
    """A variant, and whether it was measured, predicted, or is just the first."""

    variant: Variant
    source: Literal["measured", "predicted", "first"]


def kernel_chooser(options: Options) -> Callable[[KernelCall], KernelCall] | None:
    """Gives a call the variant chosen for it; None where none is chosen. InputError where the tuning cache is damaged."""
    if not options.description.tuned or os.environ.get(VARIABLE) == "none":
        return None
    cluster, timings = Cluster(cores=options.core_count), known_timings()
    choices: dict[str, Choice] = {}

    def chosen(call: KernelCall) -> KernelCall:
        if len(call.variants) < 2:
            return call
        key = case_key(call, cluster)
        if key not in choices:
            choices[key] = choose(call, cluster.cores, timings.get(key, {}))
        return call.with_variant(choices[key].variant)

    return chosen


def choose(call: KernelCall, cores: int, timings: Mapping[str, Timing]) -> Choice:
    """The variant for a call, given what was measured of it."""
    measured = measured_choice(call.variants, timings)
    if measured is not None:
        return Choice(measured, "measured")
    first = call.variants[0]
    wrong = {timing.variant for timing in timings.values() if timing.problem is not None}
    allowed = [variant for variant in call.variants if variant_key(variant) not in wrong]
    best = fastest(call, cores)
    if best is None or best not in allowed:
        return Choice(allowed[0] if allowed else first, "first")
    there, here = predict(call.with_variant(best), cores), predict(call.with_variant(first), cores)
    assert there is not None and here is not None
    worthwhile = there <= (1 - WORTH_PREDICTED) * here or first not in allowed
    return Choice(best if worthwhile else first, "predicted")


def measured_choice(variants: Sequence[Variant], timings: Mapping[str, Timing]) -> Variant | None:
    """The fastest of the variants that were measured and right; the first one where no other is faster by enough.

    None unless the first variant has been measured: what is faster than it cannot be known before.
    """
    first, right = variant_key(variants[0]), right_cycles(variants, timings)
    if first not in timings or not right:
        return None
    best = min(right, key=lambda name: right[name])
    if first in right and right[best] > (1 - WORTH_MEASURED) * right[first]:
        return variants[0]
    return next(variant for variant in variants if variant_key(variant) == best)


def right_cycles(variants: Sequence[Variant], timings: Mapping[str, Timing]) -> dict[str, int]:
    """Measured cycles of the variants that are right, by name, in the variants' order."""
    known = [timings[name] for name in map(variant_key, variants) if name in timings]
    return {timing.variant: timing.cycles for timing in known if timing.cycles is not None}
