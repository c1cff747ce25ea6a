"""The cost model: it shares out and tiles as the kernels do, and its error is reported."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odl.kernels.call import KernelCall, Number, Tensor
from odl.operators.convolution import CONV2D_FORWARD, VARIANTS
from odl.operators.optimizer import FILL
from odl.tune import geometry
from odl.tune.cache import shipped
from odl.tune.cost import TERMS, counts_of, fastest, fitted, kind_of, predict
from odl.tune.fit import call_of, fit
from odl.tune.job import Timing
from odl.tune.key import case_key, variant_key
from odl.tune.report import CaseReport, model_error, report
from tests.odl.tune.cases import tiny_cases

SHARE = """
#include "share.h"
void grid(uint32_t rows, uint32_t columns, uint32_t block, uint32_t core, uint32_t cores, uint32_t *to) {
    const struct odl_share share = odl_share_grid(rows, columns, block, core, cores);
    to[0] = share.row_begin, to[1] = share.row_end, to[2] = share.column_begin, to[3] = share.column_end;
}
"""


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("share")
    (folder / "share.c").write_text(SHARE)
    isa = Path(__file__).parents[3] / "kernels" / "isa"
    command = ["gcc", "-shared", "-fPIC", f"-I{isa}", "share.c", "-o", "share.so"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "share.so"))


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 8), st.integers(1, 16))
def test_cores_share_as_in_c(share: ctypes.CDLL, rows: int, columns: int, block: int, cores: int) -> None:
    for core in range(cores):
        to = (ctypes.c_uint32 * 4)()
        share.grid(rows, columns, block, core, cores, to)
        mine = geometry.share_grid(rows, columns, block, core, cores)
        there = (to[0], to[1], min(to[2], columns), to[3])
        assert (mine.rows.start, mine.rows.stop, mine.columns.start, mine.columns.stop) == there


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2))
def test_spans_and_taps_cover_every_position_once(size: int, kernel: int, stride: int, pad: int) -> None:
    outputs = max(1, (size + 2 * pad - kernel) // stride + 1)
    spans = list(geometry.spans(0, outputs, stride, pad, size, kernel, outputs))
    assert sum(count for count, _ in spans) == outputs
    inside = [sum(0 <= o * stride + k - pad < size for k in range(kernel)) for o in range(outputs)]
    assert [taps for count, taps in spans for _ in range(count)] == inside
    positions = list(geometry.alike(0, size, pad, kernel, stride, outputs))
    assert sum(count for count, _ in positions) == size
    met = [
        sum((x + pad - k) % stride == 0 and 0 <= (x + pad - k) // stride < outputs for k in range(kernel))
        for x in range(size)
    ]
    assert sum(count * taps for count, taps in positions) == sum(met)
    for k in range(kernel):
        valid = [o for o in range(outputs) if 0 <= o * stride + k - pad < size]
        assert geometry.valid_outputs(k, pad, size, stride, outputs) == len(valid)


def forward(pixels: int, channels: int, **shape: int) -> KernelCall:
    sizes = {"batch": 1, "in_h": 8, "in_w": 8, "in_c": 8, "out_h": 8, "out_w": 8, "out_c": 8}
    sizes |= {
        "kernel_h": 1,
        "kernel_w": 1,
        "stride_h": 1,
        "stride_w": 1,
        "pad_top": 0,
        "pad_left": 0,
        **shape,
    }
    context = {"T": "f16", "chunked": False, "tile_pixels": pixels, "tile_channels": channels}
    arguments = dict.fromkeys(("x", "w", "bias", "addend", "y"), Tensor("x"))
    limits = {"low": Number(0.0), "high": Number(6.0)}
    return KernelCall(
        CONV2D_FORWARD, context, sizes, {**arguments, **limits}, variants=VARIANTS["conv2d_forward"]
    )


def test_counts_are_those_of_a_plain_product() -> None:
    """64 pixels x 8 channels of 8 terms on one core: by hand."""
    counts = counts_of(forward(4, 4), 1)
    assert counts is not None
    steps = 16 * 2 * 4  # tiles of pixels, of channels, vectors of two terms
    assert counts["loads"] == steps * 8
    assert counts["multiplies"] == steps * 16
    assert counts["tiles"] == 32
    assert counts["results"] == 512
    assert counts["carries"] == 0


def test_work_is_shared_and_leftovers_cost() -> None:
    one, eight = predict(forward(4, 4), 1), predict(forward(4, 4), 8)
    odd = predict(forward(4, 4, out_w=7, out_c=7), 1)
    assert one is not None
    assert eight is not None
    assert odd is not None
    assert one / 8 < eight < one / 2
    assert odd / (7 * 7) > one / (8 * 8)


def test_larger_tiles_are_faster_where_they_fit() -> None:
    best = fastest(forward(4, 4, in_c=64, out_c=64, in_w=32, out_w=32), 8)
    assert best is not None
    assert best.context == {"tile_pixels": 4, "tile_channels": 4}


def test_every_template_with_variants_is_known_or_left_to_the_first() -> None:
    for case in tiny_cases():
        assert predict(case.call, 2) is not None
        assert predict(case.call, 2) == predict(call_of(case.key, variant_key(case.call.variants[0]))[0], 2)
    fill = KernelCall(FILL, {"T": "f16"}, {}, {"y": Tensor("y"), "value": Number(0.0)})
    assert predict(fill, 2) is None
    assert fastest(dataclasses.replace(fill, variants=VARIANTS["conv2d_forward"]), 2) is None


def test_a_fit_finds_the_weights_that_made_the_cycles() -> None:
    weights = {term: 2.0 + index for index, term in enumerate(TERMS)}
    timings: dict[str, dict[str, Timing]] = {}
    for dtype, cores in itertools.product(("fp16", "mixed", "fp32"), (1, 2, 4, 8)):
        for case in tiny_cases(dtype, cores):
            for variant in case.call.variants:
                counts = counts_of(case.call.with_variant(variant), cores, weights)
                assert counts is not None
                cycles = round(sum(weights[term] * counts[term] for term in TERMS) * 1000)
                name = variant_key(variant)
                timings.setdefault(case.key, {})[name] = Timing(name, cycles)
    found = fit(timings)
    assert found.keys() >= {"conv2d_forward f16", "conv2d_forward f16 chunked", "conv2d_input_gradient f32"}
    of_kind: dict[str, list[str]] = {}
    for key, measured in timings.items():
        for name in measured:
            of_kind.setdefault(kind_of(call_of(key, name)[0]), []).append(name)
    compared = 0
    for key, measured in timings.items():
        for name, timing in measured.items():
            call, cores = call_of(key, name)
            if len(of_kind[kind_of(call)]) < 2 * len(TERMS):
                continue  # too few measurements: a factor is fitted
            compared += 1
            kind = found[kind_of(call)]
            counts = counts_of(call, cores, weights)
            assert counts is not None
            assert timing.cycles is not None
            assert sum(kind[term] * counts[term] for term in TERMS) == pytest.approx(timing.cycles, rel=0.05)
    assert compared > 0


def test_the_shipped_weights_are_near_the_shipped_measurements() -> None:
    """A coarse net: on average within 15 %, in the kinds of kernels that were fitted."""
    errors = []
    for key, measured in shipped().items():
        for name, timing in measured.items():
            call, cores = call_of(key, name)
            predicted = predict(call, cores)
            if predicted is not None and timing.cycles is not None:
                errors.append(abs(predicted / timing.cycles - 1))
    assert not errors or sum(errors) / len(errors) <= 0.15
    assert all(weights.keys() == set(TERMS) for weights in fitted().values())


def test_the_models_error_is_reported() -> None:
    case = tiny_cases()[0]
    assert case.call.kernel.template == "conv2d_forward"
    names = [variant_key(variant) for variant in case.call.variants]
    pick = fastest(case.call, 2)
    assert pick is not None
    exact = {
        name: round(predict(case.call.with_variant(variant), 2) or 0)
        for name, variant in zip(names, case.call.variants, strict=True)
    }
    right = report([case], {case.key: {name: Timing(name, cycles) for name, cycles in exact.items()}})
    assert right.model_error is not None
    assert right.model_error.mean_relative_error < 0.001
    assert (right.model_error.picks_fastest, right.model_error.worst_loss) == (1, 0.0)
    slower = {**exact, variant_key(pick): 2 * exact[variant_key(pick)]}
    off = report([case], {case.key: {name: Timing(name, cycles) for name, cycles in slower.items()}})
    assert off.model_error is not None
    assert off.model_error.worst_relative_error == pytest.approx(0.5, abs=0.001)
    assert off.model_error.picks_fastest == 0
    assert off.model_error.worst_loss > 0.5
    assert report([case], {}).model_error is None
    assert model_error([]) is None


def test_gain_and_totals() -> None:
    case = tiny_cases()[0]
    names = [variant_key(variant) for variant in case.call.variants]
    known = {
        names[0]: Timing(names[0], 200),
        names[1]: Timing(names[1], 150),
        names[2]: Timing(names[2], None, "bad"),
    }
    found = report([case], {case.key: known})
    (item,) = found.cases
    assert isinstance(item, CaseReport)
    assert (item.chosen, item.cycles, item.first_cycles, item.gain) == (names[1], 150, 200, 0.25)
    assert (found.cycles, found.first_cycles) == (150 * case.calls, 200 * case.calls)
    assert [(name, text) for _, name, text in found.problems] == [(names[2], "bad")]
    alone = report([case], {case.key: {name: Timing(name, None, "bad") for name in names}})
    assert alone.cases == ()
    assert len(list(alone.problems)) == len(names)
    assert case_key(case.call, case.cluster) == case.key
