"""Packs rectangles with the constraint solver CP-SAT, and proves how low no packing can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from odl.plan.rectangles import Rectangle, height_of

_SEED = 1


def pack_exactly(
    rectangles: Sequence[Rectangle], hint: Mapping[Rectangle, int], floor: int, solver_time: float
) -> tuple[dict[Rectangle, int], int]:
    """CP-SAT from the greedy packing on, down to `floor` at most; also the height it proved nothing is below.

    Two rectangles may not overlap in the plane of steps and units (`AddNoOverlap2D`); the steps are fixed.
    """
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    ceiling = height_of(hint)
    height = model.new_int_var(floor, ceiling, "height")
    places, in_time, in_memory = {}, [], []
    for item in rectangles:
        if item.size == 0:
            continue
        place = model.new_int_var(0, ceiling - item.size, item.name)
        model.add(place + item.size <= height)
        model.add_hint(place, hint[item])
        in_time.append(model.new_fixed_size_interval_var(item.first, item.lifetime, f"{item.name} steps"))
        in_memory.append(model.new_fixed_size_interval_var(place, item.size, f"{item.name} units"))
        places[item] = place
    model.add_no_overlap_2d(in_time, in_memory)
    model.add_hint(height, ceiling)
    model.minimize(height)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = _SEED
    solver.parameters.max_deterministic_time = solver_time
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return dict(hint), floor
    found = _settle({item: solver.value(places[item]) if item in places else 0 for item in rectangles})
    bound = round(solver.best_objective_bound)
    return (found if height_of(found) < ceiling else dict(hint)), bound


def _settle(offsets: Mapping[Rectangle, int]) -> dict[Rectangle, int]:
    """Move every rectangle down as far as it goes, lowest first: equal solutions become equal addresses."""
    ordered = sorted(offsets, key=lambda item: (offsets[item], item.first, item.name))
    settled: dict[Rectangle, int] = {}
    for item in ordered:
        settled[item] = height_of({other: at for other, at in settled.items() if item.meets(other)})
    return settled
