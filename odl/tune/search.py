"""The search: which variants of which cases are still to be measured, and measuring them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from odl.kernels.call import Variant
from odl.tune import cache
from odl.tune.case import Case, make_job
from odl.tune.cost import counts_of, predict
from odl.tune.job import Job, Measured
from odl.tune.key import canonical, variant_key
from odl.tune.measure import measure
from odl.tune.workers import Pool, work

#: A variant that takes this many times what the best one takes, as the model says, is not measured.
HOPELESS = 1.3
#: A kernel that takes this many times what the model says is stopped.
_PATIENCE, _LEAST_PATIENCE, _UNKNOWN = 20, 1_000_000, 100_000_000


def candidates(case: Case, everything: bool = False) -> list[Variant]:
    """The variants of a case that are worth measuring, the first one always.

    Left out are those whose tiles come out as another's, and those that the cost model takes for hopeless; with
    `everything` none.
    """
    variants = list(case.call.variants)
    cores = case.cluster.cores
    predicted = [predict(case.call.with_variant(variant), cores) for variant in variants]
    if everything or any(cycles is None for cycles in predicted):
        return variants
    best = min(cycles for cycles in predicted if cycles is not None)
    kept: list[Variant] = []
    seen: set[str] = set()
    for variant, cycles in zip(variants, predicted, strict=True):
        assert cycles is not None
        counts = counts_of(case.call.with_variant(variant), cores)
        work_done = canonical(dict(counts or {}))
        if variant is variants[0] or (cycles <= HOPELESS * best and work_done not in seen):
            kept.append(variant)
        seen.add(work_done)
    return kept


def open_jobs(cases: Sequence[Case], known: cache.Timings, everything: bool = False) -> list[Job]:
    """A job for every case with candidates that nobody has measured; the longest first."""
    jobs: list[tuple[float, Job]] = []
    for case in cases:
        timings = known.get(case.key, {})
        missing = [item for item in candidates(case, everything) if variant_key(item) not in timings]
        if missing:
            longest = max(_limit(case, variant) for variant in missing)
            jobs.append((longest * len(missing), make_job(case, missing, longest)))
    return [job for _, job in sorted(jobs, key=lambda item: -item[0])]


def _limit(case: Case, variant: Variant) -> int:
    """Cycles after which a variant is taken not to end."""
    cycles = predict(case.call.with_variant(variant), case.cluster.cores)
    return _UNKNOWN if cycles is None else _LEAST_PATIENCE + int(_PATIENCE * cycles)


def search(
    jobs: Sequence[Job],
    file: Path,
    pool: Pool,
    progress: Callable[[Measured], None] = lambda _: None,
    measuring: Callable[[Job], Measured] = measure,
) -> None:
    """Measure every job; each result is in the file as soon as it is there."""

    def done(_: Job, found: Measured) -> None:
        cache.store(file, [found])
        progress(found)

    work(jobs, measuring, pool, done)
