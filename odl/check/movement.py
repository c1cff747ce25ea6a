"""Whether updates of the compiled size carry weights as far as in float64: rounding swallows those that are too small.

The C rounds each update as it should, and a check of single updates allows for it. Over many steps the way that the weights
go says whether what is left is training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from odl.check.bounds import DIRECTION, MOVEMENT, within
from odl.check.reference import Reference, Sample
from odl.check.report import Report, Row
from odl.errors import option
from odl.project.status import Status
from odl.run.net import Net


def with_movement(
    report: Report,
    net: Net,
    reference: Reference,
    trainable: Sequence[str],
    samples: Sequence[Sample],
    learning_rate: float,
) -> Report:
    """The report with rows for the way of all weights together, how far and where to, and a note for what strays.

    The net trains on the samples from the state that it has, and so does the reference in float64 from the same.
    """
    rate = float(np.float32(learning_rate))
    net.set_learning_rate(rate)
    start = {name: net.tensor(name) for name in net.tensors()}
    for item in samples:
        net.train_step(item.x, item.target, item.weight)
        while net.status is Status.OVERFLOW:  # skipped, with a smaller loss scale the next time
            net.train_step(item.x, item.target, item.weight)
    wanted = reference.run(start, samples, rate)
    way, distance, apart, notes = [], [], [], list(report.notes)
    for name in trainable:
        origin = start[name].astype(np.float64)
        way.append(float(np.linalg.norm(net.tensor(name) - origin)))
        distance.append(float(np.linalg.norm(wanted[name] - origin)))
        apart.append(float(np.linalg.norm(net.tensor(name) - wanted[name])))
        if distance[-1] > 0 and not within(1 - way[-1] / distance[-1], MOVEMENT):
            notes.append(
                f"{name} went {way[-1] / distance[-1]:.2f} of float64's way in {len(samples)} steps at learning rate "
                f"{rate:g}: fp16 rounds its updates away; {option('dtype', 'mixed')} keeps fp32 weights"
            )
    total = float(np.linalg.norm(distance))
    short = 1 - float(np.linalg.norm(way)) / total if total > 0 else 0.0
    short = float(np.maximum(0.0, short))  # keeps NaN; rounding moves some weights too far
    astray = float(np.linalg.norm(apart)) / total if total > 0 else 0.0
    if not within(astray, DIRECTION):
        notes.append(
            f"in {len(samples)} steps at learning rate {rate:g} the weights end {astray:.2f} of float64's way from where "
            f"it takes them: fp16 rounds too much of an update; {option('dtype', 'mixed')} keeps fp32 weights"
        )
    rows = (
        Row("every weight", "movement", short, MOVEMENT, None, within(short, MOVEMENT)),
        Row("every weight", "direction", astray, DIRECTION, None, within(astray, DIRECTION)),
    )
    return replace(report, rows=(*report.rows, *rows), notes=tuple(notes))
