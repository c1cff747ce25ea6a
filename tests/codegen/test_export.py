"""`--runtime none`: the network's C and what it needs of a port, built against a minimal one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import odl
from odl.errors import InputError
from odl.run.device import DeviceNet
from odl.run.load import load_net

PORT = Path(__file__).parent / "port"
#: Everything that a port can be asked for; the header names what this network does ask for.
CONTRACT = {
    "odl_core_id",
    "odl_core_count",
    "odl_parallel",
    "odl_barrier",
    "odl_dma_to_l1",
    "odl_dma_to_l2",
    "odl_dma_to_l1_2d",
    "odl_dma_to_l2_2d",
    "odl_dma_wait",
    "odl_cycles",
    "odl_mark",
}
LIBRARY = {"memcpy", "memset", "sqrtf", "fmaf", "feclearexcept", "fetestexcept", "feraiseexcept"}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2), nn.Flatten(), nn.Linear(54, 4)
    )


def exported(directory: Path, target: str) -> Path:
    tight = {"l1": 1536} if target == "cv32e40p" else {}
    build = odl.compile(
        network(), torch.zeros(1, 3, 8, 8), target=target, runtime="none", prefix="net", **tight
    )  # type: ignore[arg-type]
    return build.save(directory / "net")


def made(directory: Path, *flags: str, debug: str = "") -> Path:
    """The library, by the project's own Makefile."""
    command = ["make", "-j2", "libnet.a", "CC=gcc", f"CFLAGS=-O0 {' '.join(flags)}", f"DEBUG={debug}"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:]
    return directory / "libnet.a"


def symbols(library: Path, kind: str) -> set[str]:
    listing = subprocess.run(["nm", str(library)], capture_output=True, text=True, check=True).stdout
    return set(re.findall(rf"^[0-9a-f ]*{kind} (\w+)$", listing, re.MULTILINE))


def run_port(directory: Path, *flags: str, debug: str = "") -> tuple[list[str], int]:
    library = made(directory, "-ftrapping-math", *flags, debug=debug)
    program = directory / "build" / "port"
    sources = [str(PORT / "main.c"), str(PORT / "threads.c"), str(library)]
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    places = [f"-I{directory}", f"-I{directory / 'runtime'}"]
    subprocess.run(["gcc", *warnings, *places, *sources, "-o", str(program), "-lpthread", "-lm"], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split(), int(done.stderr)


def wanted(directory: Path) -> list[str]:
    """The same by the exact host library."""
    net = load_net(directory, "exact")
    numbers = []
    i = np.arange(net.input.count)
    for step in range(3):
        flat = (((i * 37 + step * 11) % 64) / 32 - 1).astype(np.float32)
        x = flat.reshape(1, 8, 8, 3).transpose(0, 3, 1, 2)
        numbers.append(np.float32(net.train_step(x, 1)))
    numbers += list(net.infer(x)[0])
    return [f"{np.float32(number).view(np.uint32):08x}" for number in numbers]


@pytest.mark.parametrize("target", ["host", "cv32e40p", "qemu"])
def test_an_export_builds_against_a_minimal_port_and_computes_the_same(target: str, tmp_path: Path) -> None:
    directory = exported(tmp_path, target)
    lanes = ("-DODL_LANES_F16=8", "-DODL_LANES_F32=4") if target == "qemu" else ()
    numbers, marks = run_port(directory, *lanes)
    assert numbers == wanted(directory)
    assert marks == 0


@pytest.mark.parametrize("target", ["host", "cv32e40p"])
def test_the_header_names_just_what_is_needed(target: str, tmp_path: Path) -> None:
    directory = exported(tmp_path, target)
    header = (directory / "runtime" / "odl_runtime.h").read_text()
    named = set(re.findall(r"^(?:void|uint32_t|odl_dma_handle) (odl_\w+)\(", header, re.MULTILINE))
    library = made(directory, debug="MARKS")
    needed = symbols(library, "U") - symbols(library, "T") - LIBRARY
    own = {name for name in needed if name.startswith(("net_", "_GLOBAL_"))}
    assert needed - own <= named <= CONTRACT
    assert ("odl_dma_wait" in named) == (target == "cv32e40p")
    assert "odl_mark" in needed


def test_marks_are_made_where_they_are_asked_for(tmp_path: Path) -> None:
    directory = exported(tmp_path, "cv32e40p")
    _, marks = run_port(directory, debug="MARKS")
    nodes = {item["name"]: len(item["nodes"]) for item in load_net(directory).manifest["programs"]}
    assert marks >= 3 * (nodes["step"] + nodes["apply"]) + nodes["infer"]


def test_an_export_has_no_runtime_and_no_device(tmp_path: Path) -> None:
    directory = exported(tmp_path, "cv32e40p")
    files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert {path for path in files if path.startswith("runtime/")} == {"runtime/odl_runtime.h"}
    assert "device.c" not in files
    assert "net.elf" not in (directory / "Makefile").read_text()
    assert not load_net(directory).on_device  # its C is checked on this machine
    with pytest.raises(InputError, match="it runs where your port runs"):
        DeviceNet(directory)
    with pytest.raises(InputError, match="compiled for a runtime of yours"):
        load_net(directory, "device")


def test_a_runtime_is_own_or_none() -> None:
    with pytest.raises(InputError, match='runtime="freertos": must be one of own, none'):
        odl.compile(network(), torch.zeros(1, 3, 8, 8), runtime="freertos")
