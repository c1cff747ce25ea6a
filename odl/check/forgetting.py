"""Whether a network with a log forgets as its log promises: to the bits of one that never learned the sample."""

from __future__ import annotations

from dataclasses import replace

from odl.check.reference import Sample
from odl.check.report import Report, Row
from odl.errors import InputError
from odl.learners.log import Log
from odl.run.net import Net

#: Samples that are learned, and which of them is forgotten: one before which the log has to go back.
_LEARNED, _FORGOTTEN = 4, 2


def with_forgetting(report: Report, net: Net, initial: bytes, sample: Sample) -> Report:
    """The report with a row for all training state after one of some samples was forgotten, where there is a log.

    Learns from the state `initial`, in which the log is empty, and ends in it. Classes are told apart by the samples' ids.
    """
    log = net.project.options.learner(Log)
    count = 0 if log is None else min(_LEARNED, log.samples)
    if count == 0:
        return report
    states = []
    for ids in (range(count), [index for index in range(count) if index != _FORGOTTEN % count]):
        net.load(initial)
        for index in ids:
            net.learn(sample.x * (index + 1) / count, index % net.output.shape[1], id=index)
        if len(ids) == count:
            try:
                net.forget([_FORGOTTEN % count])
            except InputError:
                break
        states.append(net.save())
    net.load(initial)
    equal = len(states) == 2 and states[0] == states[1]
    row = Row("training state", "forgetting", 0.0 if equal else 1.0, 0.0, equal, equal)
    return replace(report, rows=(*report.rows, row))
