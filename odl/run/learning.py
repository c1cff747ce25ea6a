"""What a network offers in Python for its learning primitives."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike

from odl.errors import InputError, option
from odl.graph.operator import Array
from odl.learners.log import Log
from odl.learners.watch import Watch
from odl.project.entry_point import LABEL, CType, EntryPoint, X
from odl.project.entry_points.dampening import PERCENTILE, STRENGTH
from odl.project.entry_points.learn import ID
from odl.project.entry_points.log import COUNT, IDS
from odl.project.manifest import Manifest
from odl.run.arrays import CallArrays


class LearningCalls(ABC):
    """The calls of learning primitives; each needs a network that was compiled with its primitive, else InputError."""

    project: Manifest
    _arrays: CallArrays
    _host: Any

    @abstractmethod
    def _entry_point(self, name: str) -> EntryPoint:
        """The entry point of that name; InputError says what the network would have to be compiled with."""

    @abstractmethod
    def _call(self, entry_point: EntryPoint, given: Mapping[str, Array | float]) -> object:
        """Call with arrays in memory order by their parameters' names."""

    @abstractmethod
    def _numbers(self, array: Array, kind: CType) -> Any:
        """An array as C takes it."""

    def learn(self, x: ArrayLike | torch.Tensor, y: int | ArrayLike | torch.Tensor, id: int = 0) -> float:
        """One training step with one sample of class y, which is kept: in the replay buffer, and in the log under its id.

        Needs a network compiled with learn=odl.Log(…) or odl.Replay(…). InputError where the log is full.
        """
        entry_point = self._entry_point("learn")
        given: dict[str, Array | float] = {
            X.name: self._arrays.one_batch(x),
            LABEL.name: self._arrays.labels(y),
            ID.name: _count("id", id),
        }
        return cast(float, self._call(entry_point, given))

    def forget(self, ids: Sequence[int]) -> None:
        """Undo the learning of samples: every bit is that of a network that never had them.

        InputError where one of them is not in the log, and nothing changes. `forget_steps` tells the cost before.
        """
        self._call(self._entry_point("forget"), self._listed(ids))

    def forget_steps(self, ids: Sequence[int]) -> int:
        """Training steps that `forget` would compute."""
        self._entry_point("forget")
        listed = self._listed(ids)
        in_c = self._numbers(cast(Array, listed[IDS.name]), IDS.type)
        return int(self._host.forget_steps(in_c, int(listed[COUNT.name])))

    @property
    def log_count(self) -> int:
        """Steps in the log, 0 where there is none."""
        return int(self._host.log_count()) if self.project.options.learner(Log) is not None else 0

    def drop_log(self) -> None:
        """Make room in the log: its steps before its second training state can no longer be forgotten."""
        self._entry_point("forget")
        self._host.drop_log()

    def _listed(self, ids: Sequence[int]) -> dict[str, Array | float]:
        found = np.array([_count("id", item) for item in dict.fromkeys(ids)], dtype=np.uint32)
        log = self.project.options.learner(Log)
        assert log is not None
        if len(found) > log.samples:
            raise InputError(f"{len(found)} ids are given; the log has room for {log.samples} samples")
        return {IDS.name: found, COUNT.name: len(found)}

    @property
    def running_loss(self) -> float:
        """The running mean of the loss; InputError where the network was not compiled with learn=odl.Watch()."""
        return float(self._watched("running_loss"))

    @property
    def running_entropy(self) -> float:
        """The running mean of the entropy of the outputs, in nats."""
        return float(self._watched("running_entropy"))

    def _watched(self, name: str) -> float:
        if not hasattr(self._host, name):
            raise InputError(f"{name} needs a network compiled with {option('learn', Watch.name)}")
        found: float = getattr(self._host, name)()
        return found

    def keep_importance(self) -> None:
        """Make the mean importance so far the reference of `dampen`; the sums start anew."""
        self._call(self._entry_point("keep_importance"), {})

    def dampen(self, percentile: float = 99.0, strength: float = 1.0) -> int:
        """Selective synaptic dampening by the importance since `keep_importance`; how many weights became smaller.

        InputError where either importance is of no sample, or a setting beyond its range.
        """
        given = {PERCENTILE.name: float(percentile), STRENGTH.name: float(strength)}
        return cast(int, self._call(self._entry_point("dampen"), given))

    def digest(self) -> bytes:
        """SHA-256 of all training state: two networks have the same where every bit of it is the same."""
        return cast(bytes, self._call(self._entry_point("digest"), {}))


def _count(name: str, number: int) -> int:
    try:
        found = operator.index(number)
    except TypeError:
        found = -1
    if not 0 <= found < 2**32:
        raise InputError(f"{name}={number!r}: must be a whole number from 0 to 4294967295")
    return found
