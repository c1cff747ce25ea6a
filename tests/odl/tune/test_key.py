"""Keys: equal exactly where the same would be measured."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odl.graph.ir import DType
from odl.operators.base import KernelCall, Number, Tensor, Variant
from odl.targets.cv32e40p import Cluster, InstructionCache
from odl.tune import texts
from odl.tune.key import case_key, variant_key
from odl.tune.texts import cluster_digest, kernel_digest

calls = st.builds(
    KernelCall,
    template=st.sampled_from(["conv2d_forward", "conv2d_weight_gradient", "depthwise_forward"]),
    context=st.fixed_dictionaries(
        {
            "T": st.sampled_from(DType),
            "chunk": st.sampled_from([0, 64]),
            "tile_pixels": st.sampled_from([1, 2, 4]),
        }
    ),
    shape_type=st.just("odl_conv2d_shape"),
    shape=st.fixed_dictionaries({"in_c": st.integers(1, 3), "out_c": st.integers(1, 3)}),
    arguments=st.tuples(
        st.sampled_from([Tensor(None), Tensor("a"), Tensor("b")]),
        st.builds(Number, st.sampled_from([0.0, 6.0])),
    ),
    variants=st.just((Variant({"tile_pixels": 4}), Variant({"tile_pixels": 2}))),
)


def relevant(call: KernelCall, cores: int) -> tuple[object, ...]:
    """What a measurement depends on, in words of its own: the tile is what is varied, names of tensors mean nothing."""
    context = {name: str(value) for name, value in call.context.items() if name != "tile_pixels"}
    present = [a.name is not None if isinstance(a, Tensor) else a for a in call.arguments]
    return call.template, context, dict(call.shape), present, cores


@given(calls, calls, st.sampled_from([1, 8]), st.sampled_from([1, 8]))
def test_keys_are_equal_exactly_where_inputs_are(
    first: KernelCall, second: KernelCall, cores: int, other_cores: int
) -> None:
    same = relevant(first, cores) == relevant(second, other_cores)
    keys = case_key(first, Cluster(cores=cores)), case_key(second, Cluster(cores=other_cores))
    assert (keys[0] == keys[1]) == same


@given(calls)
def test_a_key_is_canonical_and_names_what_was_measured(call: KernelCall) -> None:
    text = case_key(call, Cluster())
    assert texts.canonical(json.loads(text)) == text
    assert json.loads(text)["shape"] == dict(call.shape)
    turned = dataclasses.replace(call, shape=dict(reversed(call.shape.items())))
    assert case_key(turned, Cluster()) == text


@pytest.mark.parametrize(
    "other",
    [
        Cluster(fpu_latency=0),
        Cluster(fpus=4),
        Cluster(l1_banks=32),
        Cluster(icache=None),
        Cluster(icache=InstructionCache(shared_bytes=8192)),
        Cluster(l2_latency=16),
    ],
)
def test_every_field_of_the_cluster_counts(other: Cluster) -> None:
    assert cluster_digest(other) != cluster_digest(Cluster())


def test_a_change_of_any_text_of_a_kernel_gives_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    read = texts._kernel_file
    seen: list[str] = []

    def spy(name: str) -> str:
        seen.append(name)
        return read(name)

    monkeypatch.setattr(texts, "_kernel_file", spy)
    before = kernel_digest.__wrapped__(("conv2d_forward",))
    used = set(seen)
    assert {"conv2d_forward.c.j2", "convolution_tile.j2", "isa/odl_isa.h", "isa/xcv.h", "isa/share.h"} <= used
    assert not used & {"isa/rvv.h", "isa/zfh.h", "isa/host_exact.h", "isa/host_fast.h", "sgd.c.j2"}
    for changed in sorted(used):
        monkeypatch.setattr(texts, "_kernel_file", lambda name, at=changed: read(name) + "x" * (name == at))
        assert kernel_digest.__wrapped__(("conv2d_forward",)) != before, changed
    monkeypatch.setattr(texts, "_kernel_file", lambda name: read(name) + "x" * (name == "isa/rvv.h"))
    assert kernel_digest.__wrapped__(("conv2d_forward",)) == before


def test_a_comment_gives_no_other_key(monkeypatch: pytest.MonkeyPatch) -> None:
    read = texts._kernel_file
    before = kernel_digest.__wrapped__(("conv2d_forward",))
    words = "\n\n  /* of C,\n * two lines */\n{# of Jinja\n   #}\n"
    monkeypatch.setattr(texts, "_kernel_file", lambda name: words + read(name))
    assert kernel_digest.__wrapped__(("conv2d_forward",)) == before
    monkeypatch.setattr(texts, "_kernel_file", lambda name: "/* a */ b /* c */" + read(name))
    assert kernel_digest.__wrapped__(("conv2d_forward",)) != before


def test_variants_that_differ_have_different_names() -> None:
    variants = [
        Variant({"tile_pixels": 4, "tile_channels": 2}),
        Variant({"tile_pixels": 2, "tile_channels": 4}),
        Variant({"tile_pixels": 4, "tile_columns": 2}),
    ]
    assert len({variant_key(item) for item in variants}) == 3
    assert variant_key(variants[0]) == variant_key(Variant({"tile_channels": 2, "tile_pixels": 4}))
