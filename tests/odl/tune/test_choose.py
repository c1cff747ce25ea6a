"""What a compilation chooses: measured before predicted before the first; never what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import odl
from odl.compiler import compile_network
from odl.kernels.call import KernelCall, Number, Tensor, Variant
from odl.operators.optimizer import FILL
from odl.options import Options
from odl.precision import Precision
from odl.targets.cv32e40p.description import Cluster
from odl.tune import cache
from odl.tune.case import collect_cases
from odl.tune.choose import choose, kernel_chooser
from odl.tune.cost import fastest
from odl.tune.job import Measured, Timing
from odl.tune.key import variant_key
from tests.networks import INPUT, samples, tiny, tiny_build
from tests.odl.tune.cases import tiny_cases

CASE = next(case for case in tiny_cases() if case.call.kernel.template == "conv2d_forward")
TWO = Variant({"tile_pixels": 2, "tile_channels": 2})


def timings(wrong: tuple[Variant, ...] = (), **cycles: int) -> dict[str, Timing]:
    """By variant: `_2x4=100` is two pixels by four channels in 100 cycles."""
    found = {}
    for name, value in cycles.items():
        pixels, channels = map(int, name.removeprefix("_").split("x"))
        key = variant_key(Variant({"tile_pixels": pixels, "tile_channels": channels}))
        found[key] = Timing(key, value)
    return found | {variant_key(item): Timing(variant_key(item), None, "wrong") for item in wrong}


def chosen(known: dict[str, Timing]) -> tuple[int, int, str]:
    choice = choose(CASE.call, 2, known)
    return choice.variant.context["tile_pixels"], choice.variant.context["tile_channels"], choice.source


def test_the_fastest_measured_variant_is_chosen() -> None:
    assert chosen(timings(_4x4=100, _2x2=90, _1x1=95)) == (2, 2, "measured")


def test_the_first_stays_where_the_gain_is_too_small_for_another_kernel() -> None:
    assert chosen(timings(_4x4=1000, _2x2=991)) == (4, 4, "measured")
    assert chosen(timings(_4x4=1000, _2x2=990)) == (2, 2, "measured")


def test_a_wrong_variant_is_never_chosen() -> None:
    first = CASE.call.variants[0]
    assert chosen(timings((TWO,), _4x4=100, _1x1=95)) == (1, 1, "measured")
    assert chosen(timings((first,), _1x1=95)) == (1, 1, "measured")
    best = fastest(CASE.call, 2)
    assert best is not None
    everything_else = tuple(item for item in CASE.call.variants if item != TWO and item != first)
    assert choose(CASE.call, 2, timings(everything_else)).variant in (first, TWO)


def test_without_measurements_the_model_or_the_first_decides() -> None:
    assert choose(CASE.call, 2, {}).source == "predicted"
    variants = (Variant({"tile": 1}), Variant({"tile": 2}))
    arguments = {"y": Tensor("y"), "value": Number(0.0)}
    unknown = KernelCall(FILL, {"T": "f16", "tile": 1}, {}, arguments, variants)
    assert choose(unknown, 2, {}).variant is unknown.variants[0]
    assert choose(unknown, 2, {}).source == "first"


def test_a_variant_that_is_no_more_is_ignored() -> None:
    gone = Variant({"tile_pixels": 8, "tile_channels": 8})
    known = timings(_4x4=100) | {variant_key(gone): Timing(variant_key(gone), 1)}
    assert chosen(known) == (4, 4, "measured")


def test_the_host_has_no_choice_and_the_variable_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel_chooser(Options(target="host")) is None
    assert kernel_chooser(Options(target="cv32e40p")) is not None
    monkeypatch.setenv(cache.VARIABLE, "none")
    assert kernel_chooser(Options(target="cv32e40p")) is None


def store_choice(file: Path, pixels: int, channels: int, change: Callable[[str], str] = str) -> None:
    """Entries in the cache that make this tile the fastest for every forward convolution of the tiny network."""
    for case in tiny_cases("fp16", 8):
        if case.call.kernel.template == "conv2d_forward":
            known = timings(**{"_4x4": 100, f"_{pixels}x{channels}": 50})
            cache.store(file, [Measured(change(case.key), tuple(known.values()))])


def compiled_kernels(folder: Path) -> set[str]:
    build = odl.compile(tiny(), torch.zeros(1, *INPUT), target="cv32e40p", dtype="fp16", name="tiny")
    directory = build.save(folder)
    return {path.stem for path in (directory / "kernels").glob("tiny_conv2d_forward_*.c")}


def forward_tiles(directory: Path) -> set[str]:
    texts = [path.read_text() for path in (directory / "kernels").glob("tiny_conv2d_forward_*.c")]
    return {
        f"{p}x{c}" for p in (1, 2, 4) for c in (1, 2, 4) if any(f"tiles_{p}x{c}(" in text for text in texts)
    }


@pytest.fixture
def tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "tuning.json"
    monkeypatch.setenv(cache.VARIABLE, str(file))
    return file


def test_a_compilation_takes_what_the_cache_says_and_bits_stay(tuning: Path, tmp_path: Path) -> None:
    store_choice(tuning, 4, 4)
    compiled_kernels(tmp_path / "first")
    tuning.unlink()
    store_choice(tuning, 2, 2)
    compiled_kernels(tmp_path / "second")
    assert "4x4" in forward_tiles(tmp_path / "first")
    assert forward_tiles(tmp_path / "second") == {"2x2", "2x1", "1x2", "1x1"}
    first, second = (odl.run.load.load_net(tmp_path / name, "exact") for name in ("first", "second"))
    x, y = samples(4)
    for sample, label in zip(x, y, strict=True):
        assert first.train_step(sample[None], label[None]) == second.train_step(sample[None], label[None])
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_stale_entry_is_ignored(tuning: Path, tmp_path: Path) -> None:
    compiled_kernels(tmp_path / "before")
    kernel = next(case for case in tiny_cases("fp16", 8) if case.call.kernel.template == "conv2d_forward").key
    digest = kernel.partition('"kernel":"')[2][:16]
    store_choice(tuning, 1, 4, lambda key: key.replace(digest, "0" * 16))
    compiled_kernels(tmp_path / "stale")
    assert forward_tiles(tmp_path / "stale") == forward_tiles(tmp_path / "before")
    store_choice(tuning, 1, 4)
    compiled_kernels(tmp_path / "fresh")
    assert forward_tiles(tmp_path / "fresh") == {"1x4", "1x1"}


def test_cases_do_not_depend_on_what_was_chosen() -> None:
    """Keys are made from calls as the operators state them."""
    options = Options(target="cv32e40p", dtype=Precision.FP16)
    example = torch.zeros(1, *INPUT)

    def last(call: KernelCall) -> KernelCall:
        return call.with_variant(call.variants[-1]) if call.variants else call

    network = compile_network(tiny(), example, "tiny", options, choose=last).network
    assert [case.key for case in collect_cases(network.schedule, Cluster())] == [
        case.key for case in tiny_cases("fp16", 8)
    ]
    assert tiny_build(target="cv32e40p", dtype="fp16", prefix=None).compiled.network.options == options
