"""Two networks in one program of a device: trained in turn, each computes what it computes alone."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import odl
from odl.errors import MissingToolError
from odl.run.library import ProjectBuild, build_plan
from odl.targets import find
from odl.targets.common.toolchain import find_toolchain
from odl.targets.target import DeviceTarget

STEPS = 5
INPUT = {"kws": (1, 2, 6, 6), "machine": (2, 24)}
PLACES: list[dict[str, Any]] = [
    {"target": "cv32e40p", "cores": 4},
    {"target": "cv32e40p", "cores": 2, "l1": 40 * 1024},
    {"target": "qemu", "isa": "zvfh"},
    {"target": "qemu", "isa": "zfh", "cores": 2},
]

#: What each network does in a turn: `kws` trains after it has inferred, `machine` sums two gradients and applies them.
_TURNS = {
    "kws": """
    failed |= (uint32_t)kws_infer(x, kws_outputs[step]);
    failed |= (uint32_t)kws_train_step(x, target, NULL, &kws_losses[step]);
""",
    "machine": """
    failed |= (uint32_t)machine_accumulate(x, target, NULL, &machine_losses[step]);
    failed |= (uint32_t)machine_infer(x, machine_outputs[step]);
    failed |= (uint32_t)machine_accumulate(x, target, NULL, &machine_losses[step]);
    failed |= (uint32_t)machine_apply();
""",
}
_NETWORK = """
float {prefix}_losses[{steps}], {prefix}_outputs[{steps}][{PREFIX}_OUTPUT_SIZE];
uint8_t {prefix}_saved[{PREFIX}_STATE_BYTES];

static void {prefix}_turn(uint32_t step) {{
    static float x[{PREFIX}_INPUT_SIZE], target[{PREFIX}_TARGET_SIZE];
    for (uint32_t i = 0; i < {PREFIX}_INPUT_SIZE; i++) {{
        x[i] = (float)((i * 37 + step * 11) % 64) / 32.0f - 1.0f;
    }}
    for (uint32_t i = 0; i < {PREFIX}_TARGET_SIZE; i++) {{
        target[i] = i % ({PREFIX}_TARGET_SIZE / {PREFIX}_BATCH) == step % 3 ? 1.0f : 0.0f;
    }}
{turn}}}
"""
_MAIN = """
{includes}
#include <stddef.h>

static uint32_t failed;
{networks}
int main(void) {{
{starts}
    for (uint32_t step = 0; step < {steps}; step++) {{
{turns}
    }}
    return (int)(failed | {saves});
}}
"""


def built(prefix: str, **options: Any) -> odl.Build:
    torch.manual_seed(3)
    example = torch.zeros(*INPUT[prefix])
    if prefix == "kws":
        model = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4))
        return odl.compile(model, example, prefix=prefix, dtype="mixed", optimizer=odl.Adam(0.01), **options)
    model = nn.Sequential(nn.Linear(24, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
    chosen = {"dtype": "fp16", "bn": "train", "accumulate": True, "optimizer": odl.SGD(0.1, momentum=0.9)}
    return odl.compile(model, example, prefix=prefix, **chosen, **options)


@dataclass(frozen=True)
class Place:
    """A target, its number of cores, and a folder with the projects `kws` and `machine` for it."""

    target: DeviceTarget
    cores: int
    folder: Path
    shared: bool
    """Whether both networks have one L1."""

    def program(self, prefixes: Sequence[str], *options: str) -> Path:
        """A program of the networks, on the runtime of the first; `options`: what else the second is compiled with."""
        source = self.folder / prefixes[0] / f"turns_{'_'.join(prefixes)}.c"
        source.write_text(_source(prefixes))
        others = [f"-I{self.folder / name}" for name in prefixes[1:]]
        objects = [_compiled(source.parent, source.name, *others)]
        for number, name in enumerate(prefixes):
            for path in build_plan(self.folder / name, ProjectBuild.DEVICE).sources:
                if path != "device.c" and (number == 0 or not path.startswith("runtime/")):
                    objects.append(_compiled(self.folder / name, path, *(options if number else ())))
        program = source.with_suffix(".elf")
        plan = build_plan(source.parent, ProjectBuild.DEVICE)
        link = [find_toolchain().lld, *plan.link, *objects, "-o", str(program)]
        subprocess.run(link, cwd=source.parent, check=True, capture_output=True, text=True)
        return program

    def results(self, prefixes: Sequence[str], *options: str) -> dict[str, bytes]:
        """Losses, outputs and saved training states by the names of their variables."""
        names = [f"{prefix}_{what}" for prefix in prefixes for what in ("losses", "outputs", "saved")]
        program = self.program(prefixes, *options)
        return dict(self.target.session(self.cores).run(program, {}, names).dumps)

    def sharing(self) -> list[str]:
        """Options that give the second network the L1 of the first."""
        return ["-include", "kws.h", "-DMACHINE_SHARED_L1=kws_l1", f"-I{self.folder / 'kws'}"]


def _source(prefixes: Sequence[str]) -> str:
    networks = "".join(
        _NETWORK.format(prefix=name, PREFIX=name.upper(), steps=STEPS, turn=_TURNS[name]) for name in prefixes
    )
    return _MAIN.format(
        includes="\n".join(f'#include "{name}.h"' for name in prefixes),
        networks=networks,
        starts="\n".join(f"    {name}_init();" for name in prefixes),
        turns="\n".join(f"        {name}_turn(step);" for name in prefixes),
        saves=" | ".join(f"(uint32_t){name}_save({name}_saved, sizeof {name}_saved)" for name in prefixes),
        steps=STEPS,
    )


@cache
def _compiled(directory: Path, source: str, *options: str) -> str:
    """The object of one file, compiled as its project's Makefile says."""
    plan = build_plan(directory, ProjectBuild.DEVICE)
    name = str(directory / f"{Path(source).name}.{_compiled.cache_info().misses}.o")
    command = [find_toolchain().clang, *plan.flags, *options, "-c", source, "-o", name]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True)
    return name


@pytest.fixture(scope="module", params=PLACES, ids=lambda place: "-".join(map(str, place.values())))
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    options = dict(request.param)
    target = find(options["target"]).with_isa(options.get("isa"))
    assert isinstance(target, DeviceTarget)
    cores = options.get("cores", 1)
    try:
        find_toolchain()
        target.session(cores)
    except MissingToolError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("two")
    for prefix in INPUT:
        built(prefix, **options).save(folder / prefix)
    return Place(target, cores, folder, target.clustered and "l1" not in options)


def test_two_networks_train_in_turn_and_each_as_if_alone(place: Place) -> None:
    together = place.results(list(INPUT), *(place.sharing() if place.shared else ()))
    alone = {name: value for prefix in INPUT for name, value in place.results([prefix]).items()}
    assert together == alone
    for prefix in INPUT:
        losses = struct.unpack(f"<{STEPS}f", together[f"{prefix}_losses"])
        assert np.isfinite(losses).all() and len(set(losses)) == STEPS
        assert any(together[f"{prefix}_saved"])


def test_an_l1_that_is_too_small_for_both_is_refused(place: Place) -> None:
    """By the linker where each has one of its own, by the compiler where one takes the other's."""
    if not place.shared:
        pytest.skip("the networks share no L1 here")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        place.program(list(INPUT))
    assert "will not fit in region 'L1'" in caught.value.stderr
    too_small = ("-include", "stdint.h", "-include", "small.h", "-DMACHINE_SHARED_L1=small")
    (place.folder / "machine" / "small.h").write_text("extern uint8_t small[64];\n")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        place.program(list(INPUT), *too_small)
    assert "MACHINE_SHARED_L1 is too small" in caught.value.stderr
