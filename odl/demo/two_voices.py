"""A device learns two voices, and forgets one of them: every bit is that of a device which never heard it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

import odl
from odl.data import Dataset, SplitName, load
from odl.demo.deployment import Progress
from odl.learn.loops import DSCNN, net_correct
from odl.learn.network import Network
from odl.run.net import Net

#: Clips of a voice that the device learns, how often, and at which rate; chosen on validation voices.
CLIPS, PASSES, RATE = 24, 3, 0.005


@dataclass(frozen=True)
class TwoVoices:
    """Accuracies in 0..1 on clips that were not learned, of both voices: before, with both, without the first.

    `same`: whether the digest after forgetting is that of a device that never heard the first voice. `steps` were computed
    to forget, `learned` to learn; `log_bytes` is what the log takes.
    """

    before: tuple[float, float]
    both: tuple[float, float]
    without: tuple[float, float]
    same: bool
    digest: bytes
    learned: int
    steps: int
    seconds: float
    log_bytes: int

    def problems(self) -> list[str]:
        """What the demonstration claims and this outcome does not show; empty when all holds."""
        found = []
        if not self.same:
            found.append("a voice is forgotten: the digest is not that of a device which never heard it")
        if not sum(self.both) > sum(self.before):
            found.append("a voice is forgotten: the device had learned nothing from the voices")
        return found


def run_two_voices(seed: int, progress: Progress, split: SplitName = "test") -> TwoVoices:
    """Learn from clips of two unseen voices in turn, then forget the first voice; a second device never hears it."""
    train = load("keywords-clean", "train", seed=seed)
    speech = load("keywords-noisy", split, seed=seed)
    module = Network.of_zoo("dscnn").trained(
        train, DSCNN, seed, lambda done, total, _: progress("pretraining on clean keywords", done, total)
    )
    build = odl.compile(
        module,
        torch.zeros(1, *speech.x.shape[1:]),
        optimizer=odl.SGD(RATE),
        learn=odl.Log(samples=2 * CLIPS * PASSES, states=8),
        name="dscnn",
    )
    net, never = build.load(), build.load()
    voices = _two_voices(speech)
    heard = [voice.take(np.arange(CLIPS)) for voice in voices]
    tests = [voice.take(np.arange(CLIPS, len(voice))) for voice in voices]
    before = _accuracies(net, tests)
    for done in range(PASSES):
        _learn(net, heard, (0, 1))
        _learn(never, heard, (1,))
        progress("learning two voices, step by step", done + 1, PASSES)
    both, learned = _accuracies(net, tests), net.log_count
    first = range(CLIPS)
    steps, start = net.forget_steps(first), time.perf_counter()
    net.forget(first)
    seconds = time.perf_counter() - start
    digest = net.digest()
    records = build.memory["ram"]["by_purpose"]["records"]
    return TwoVoices(
        before,
        both,
        _accuracies(net, tests),
        digest == never.digest(),
        digest,
        learned,
        steps,
        seconds,
        records,
    )


def _two_voices(speech: Dataset) -> list[Dataset]:
    """The clips of the two voices with the most, each in an order that mixes its words."""
    assert speech.origin is not None
    speakers, counts = np.unique(speech.origin, return_counts=True)
    chosen = speakers[np.argsort(-counts, kind="stable")[:2]]
    order = np.random.default_rng(0).permutation(len(speech))
    return [speech.take(order[speech.origin[order] == speaker]) for speaker in chosen]


def _learn(net: Net, heard: Sequence[Dataset], voices: tuple[int, ...]) -> None:
    """One pass over the clips of these voices in turn; a clip's id says whose it is."""
    for clip in range(CLIPS):
        for voice in voices:
            net.learn(heard[voice].x[clip], int(heard[voice].y[clip]), id=voice * CLIPS + clip)


def _accuracies(net: Net, tests: Sequence[Dataset]) -> tuple[float, float]:
    first, second = (float(net_correct(net, test).mean()) for test in tests)
    return first, second
