"""Replay buffers: never above their bytes, and what they keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odl.errors import InputError
from odl.learn.replay import Buffer, Eviction


def filled(capacity: int, labels: list[int], eviction: Eviction, seed: int = 0) -> Buffer:
    buffer = Buffer(capacity, (2,), 0.5, eviction, np.random.default_rng(seed))
    x = np.repeat(np.arange(len(labels), dtype=np.float32)[:, None] % 60, 2, axis=1)
    buffer.add(x, np.array(labels, np.int64))
    return buffer


@given(st.integers(1, 12), st.lists(st.integers(0, 3), max_size=60), st.sampled_from(Eviction))
def test_a_buffer_is_bounded_and_gives_back_what_came(
    capacity: int, labels: list[int], eviction: Eviction
) -> None:
    buffer = filled(capacity, labels, eviction)
    assert len(buffer) == min(capacity, len(labels)) and buffer.bytes == capacity * 3 + 4
    x, y = buffer.draw(100)
    assert len(x) == len(buffer)
    for sample, label in zip(x, y, strict=True):
        assert any(sample[0] == number % 60 and label == own for number, own in enumerate(labels))


@given(st.lists(st.integers(0, 3), min_size=40, max_size=90))
def test_a_balanced_buffer_is_balanced(labels: list[int]) -> None:
    counts = np.bincount(filled(8, labels, Eviction.BALANCED).labels, minlength=4)
    seen = np.bincount(labels, minlength=4)
    assert all(held >= min(seen[c], counts.max() - 1) for c, held in enumerate(counts))


def test_a_reservoir_keeps_every_sample_as_likely() -> None:
    kept = np.zeros(40)
    for seed in range(600):
        for sample in filled(10, [0] * 40, Eviction.RESERVOIR, seed).draw(10)[0]:
            kept[int(sample[0])] += 1
    share = kept / 600
    assert np.abs(share - 0.25).max() < 0.08


def test_no_room_is_an_error() -> None:
    with pytest.raises(InputError, match="at least 1"):
        filled(0, [], Eviction.RESERVOIR)
