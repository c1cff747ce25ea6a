"""Features, their statistics and the heads solved from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from odl.errors import InputError
from odl.learn.features import MOST_SAMPLES, Quantiser, Statistics, blocks, pooled
from odl.learn.methods.head import NCM, SLDA, Ridge
from odl.zoo import get
from tests.odl.learn.tiny import folded, stripes


def test_blocks_are_the_parts_whose_outputs_are_maps() -> None:
    assert blocks(get("dscnn").factory(), (1, 49, 10))[-4:] == tuple(f"blocks.{i}" for i in range(4))
    assert blocks(get("resnet8").factory(), (3, 32, 32))[-3:] == ("stack1", "stack2", "stack3")


def test_features_are_averages_of_the_blocks_outputs() -> None:
    module, data = folded(), stripes(70, 0)
    layers = blocks(module, (1, 8, 8))[-2:]
    found = pooled(module, layers, data.x)
    with torch.no_grad():
        last = module[:6](torch.tensor(data.x)).mean(dim=(2, 3)).numpy()  # type: ignore[index]
    assert found.shape == (70, 16)
    np.testing.assert_allclose(found[:, 8:], last, atol=1e-5)


def test_codes_reach_the_ends_and_go_no_further() -> None:
    features = np.float32([[0.0, 2.0], [0.0, -1.0]])
    quantise = Quantiser.fit(features)
    assert quantise(features).tolist() == [[0, 127], [0, -64]]
    assert quantise(10 * features).tolist() == [[0, 127], [0, -127]]


@given(st.integers(0, 2**32 - 1))
def test_a_sample_taken_out_leaves_no_bit(seed: int) -> None:
    generator = np.random.default_rng(seed)
    codes = generator.integers(-127, 128, (30, 5)).astype(np.int8)
    labels = generator.integers(0, 3, 30)
    gone = generator.permutation(30)[: generator.integers(1, 30)]
    kept = np.setdiff1d(np.arange(30), gone)
    never, forgot = Statistics(3, 5), Statistics(3, 5)
    never.add(codes[kept], labels[kept])
    forgot.add(codes, labels)
    forgot.remove(codes[gone], labels[gone])
    for name in ("counts", "sums", "gram"):
        assert getattr(never, name).tobytes() == getattr(forgot, name).tobytes()
    wide = codes[kept].astype(np.int64)
    assert np.array_equal(forgot.gram, wide.T @ wide)


def test_statistics_refuse_what_would_overflow_or_was_never_there() -> None:
    statistics = Statistics(2, 3)
    codes = np.full((1, 3), -127, np.int8)
    statistics.add(codes, np.array([0]))
    with pytest.raises(InputError, match="fewer samples"):
        statistics.remove(codes, np.array([1]))
    statistics.counts[0] = MOST_SAMPLES
    with pytest.raises(InputError, match="at most"):
        statistics.add(codes, np.array([0]))
    assert Statistics(12, 256).bytes == 12 * 4 + 12 * 256 * 4 + 131_584


def test_heads_find_the_classifier_of_float64() -> None:
    generator = np.random.default_rng(0)
    means = generator.normal(size=(3, 6)) * 60
    labels = generator.integers(0, 3, 400)
    codes = np.clip(np.rint(means[labels] + generator.normal(size=(400, 6)) * 12), -127, 127).astype(np.int8)
    statistics = Statistics(3, 6)
    statistics.add(codes, labels)
    wide = codes.astype(np.float64)
    centres = np.stack([wide[labels == c].mean(axis=0) for c in range(3)])
    within = wide - centres[labels]
    weights, bias = SLDA(shrinkage=1e-9).solve(statistics)
    np.testing.assert_allclose(weights, centres @ np.linalg.inv(within.T @ within / 400), rtol=1e-4)
    for head in (NCM(), SLDA(), Ridge()):
        weights, bias = head.solve(statistics)
        assert ((wide @ weights.T + bias).argmax(axis=1) == labels).mean() > 0.97
    weights, bias = Ridge(penalty=1e-12).solve(statistics)
    design = np.concatenate([wide, np.ones((400, 1))], axis=1)
    wanted = np.linalg.lstsq(design, np.eye(3)[labels], rcond=None)[0]
    np.testing.assert_allclose(weights, wanted[:-1].T, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(bias, wanted[-1], rtol=1e-4, atol=1e-6)
