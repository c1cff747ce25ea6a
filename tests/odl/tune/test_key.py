"""Keys: equal exactly where the same would be measured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odl.codegen import isa_headers
from odl.codegen.kernels import RenderedKernel
from odl.graph.ir import DType
from odl.kernels.call import Argument, KernelCall, Number, Tensor, Variant
from odl.kernels.signature import Kernel, Parameter, Scalar, Specialisation
from odl.operators.convolution import CONV2D_FORWARD, DEPTHWISE_FORWARD
from odl.operators.convolution_gradients import CONV2D_WEIGHT_GRADIENT
from odl.targets.cv32e40p.description import Cluster, InstructionCache
from odl.tune import key as keys
from odl.tune.key import case_key, cluster_digest, kernel_digest, variant_key
from tests.odl.tune.cases import tiny_cases

HEADERS = isa_headers.every_header()
VARIANTS = (Variant({"tile_pixels": 4}), Variant({"tile_pixels": 2}))


def argument(parameter: Parameter) -> st.SearchStrategy[Argument]:
    if isinstance(parameter, Scalar):
        return st.builds(Number, st.sampled_from([0.0, 6.0]))
    return st.sampled_from([*[Tensor(None)] * parameter.optional, Tensor("a"), Tensor("b")])


@st.composite
def calls(draw: st.DrawFn) -> KernelCall:
    kernel = draw(st.sampled_from([CONV2D_FORWARD, CONV2D_WEIGHT_GRADIENT, DEPTHWISE_FORWARD]))
    dtype, chunk = draw(st.sampled_from([DType.F16, DType.F32])), draw(st.sampled_from([0, 64]))
    context: Specialisation = {
        **{"T": dtype, "P": dtype, "G": dtype, "accumulate": False, "chunked": chunk > 0, "chunk": chunk},
        **{"tile_pixels": draw(st.sampled_from([1, 2, 4])), "tile_channels": 4, "tile_inputs": 4},
    }
    shape = {"in_c": draw(st.integers(1, 3)), "out_c": draw(st.integers(1, 3))}
    arguments = {parameter.name: draw(argument(parameter)) for parameter in kernel.present(context)}
    return KernelCall(kernel, context, shape, arguments, VARIANTS)


def forward() -> KernelCall:
    """A forward convolution in fp16."""
    return next(case.call for case in tiny_cases() if case.call.kernel is CONV2D_FORWARD)


def relevant(call: KernelCall, cores: int) -> tuple[object, ...]:
    """What a measurement depends on, in words of its own: the tile is what is varied, names of tensors mean nothing."""
    context = {name: str(value) for name, value in call.context.items() if name != "tile_pixels"}
    present = {name: a.name is not None if isinstance(a, Tensor) else a for name, a in call.arguments.items()}
    return call.kernel.template, context, dict(call.shape), present, cores


@given(calls(), calls(), st.sampled_from([1, 8]), st.sampled_from([1, 8]))
def test_keys_are_equal_exactly_where_inputs_are(
    first: KernelCall, second: KernelCall, cores: int, other_cores: int
) -> None:
    same = relevant(first, cores) == relevant(second, other_cores)
    keys = case_key(first, Cluster(cores=cores)), case_key(second, Cluster(cores=other_cores))
    assert (keys[0] == keys[1]) == same


@given(calls())
def test_a_key_is_canonical_and_names_what_was_measured(call: KernelCall) -> None:
    text = case_key(call, Cluster())
    assert keys.canonical(json.loads(text)) == text
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


def digest(call: KernelCall) -> str:
    keys._kernel_digest.cache_clear()
    return kernel_digest(call)


@pytest.fixture
def fresh() -> Iterator[None]:
    yield
    keys._kernel_digest.cache_clear()


def change_headers(monkeypatch: pytest.MonkeyPatch, change: Callable[[str, str], str]) -> None:
    """Have every header read as `change(name, text)`."""
    changed = {name: change(name, text) for name, text in HEADERS.items()}
    monkeypatch.setattr(isa_headers, "every_header", lambda: changed)


@pytest.mark.usefixtures("fresh")
def test_a_change_of_any_text_of_a_kernel_gives_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    find, render = keys.included_headers, keys.render_kernel
    seen: list[str] = []

    def spy(sources: Iterable[str], dialect: str | None) -> dict[str, str]:
        found = find(sources, dialect)
        seen.extend(found)
        return found

    monkeypatch.setattr(keys, "included_headers", spy)
    call = forward()
    before = digest(call)
    used = set(seen)
    assert {"odl_isa.h", "xcv.h", "share.h"} <= used
    assert not used & {"rvv.h", "zfh.h", "host_exact.h", "host_fast.h"}
    for changed in sorted(used):
        change_headers(monkeypatch, lambda name, text, at=changed: text + "x" * (name == at))
        assert digest(call) != before, changed
    change_headers(monkeypatch, lambda name, text: text + "x" * (name == "rvv.h"))
    assert digest(call) == before
    change_headers(monkeypatch, lambda name, text: text)
    for changed_variant in call.variants:
        with_change = {**call.context, **changed_variant.context}

        def changed_render(
            kernel: Kernel, name: str, context: Specialisation, at: Specialisation = with_change
        ) -> RenderedKernel:
            rendered = render(kernel, name, context)
            return dataclasses.replace(rendered, text=rendered.text + "x" * (context == at))

        monkeypatch.setattr(keys, "render_kernel", changed_render)
        assert digest(call) != before, changed_variant


@pytest.mark.usefixtures("fresh")
def test_a_comment_gives_no_other_key(monkeypatch: pytest.MonkeyPatch) -> None:
    render = keys.render_kernel
    call = forward()
    before = digest(call)
    words = "\n\n  /* of C,\n * two lines */\n"
    change_headers(monkeypatch, lambda name, text: words + text)
    monkeypatch.setattr(
        keys,
        "render_kernel",
        lambda *given: dataclasses.replace(render(*given), text=words + render(*given).text),
    )
    assert digest(call) == before
    change_headers(monkeypatch, lambda name, text: "/* a */ b /* c */" + text)
    assert digest(call) != before


def test_variants_that_differ_have_different_names() -> None:
    variants = [
        Variant({"tile_pixels": 4, "tile_channels": 2}),
        Variant({"tile_pixels": 2, "tile_channels": 4}),
        Variant({"tile_pixels": 4, "tile_columns": 2}),
    ]
    assert len({variant_key(item) for item in variants}) == 3
    assert variant_key(variants[0]) == variant_key(Variant({"tile_channels": 2, "tile_pixels": 4}))
