"""Any number of networks in one program, written in C++: each computes what it computes alone."""

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
from odl.prefix import STANDARD_HEADERS, checked_prefix, prefix_of

#: Networks of one program by their prefixes: different types, options and optimizers, and two that are equal.
NETWORKS = {
    "kws": (lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), {"dtype": "fp32"}),
    "gesture": (
        lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)),
        {"dtype": "mixed", "optimizer": odl.Adam(0.01)},
    ),
    "Vibration2": (
        lambda: nn.Sequential(nn.Linear(8, 4)),
        {"dtype": "fp16", "optimizer": odl.SGD(0.1, momentum=0.9)},
    ),
    "again": (lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), {"dtype": "fp32"}),
}
STEPS = 5
_MAIN = """
#include <cstdio>
#include <cstring>
{includes}

static float x[8], target[4], output[4];

static void print(float number) {{
    unsigned bits;
    std::memcpy(&bits, &number, sizeof bits);
    std::printf("%08x\\n", bits);
}}

int main() {{
{starts}
    float loss = 0.0f;
    for (int step = 0; step < {steps}; step++) {{
        for (int i = 0; i < 8; i++) {{
            x[i] = static_cast<float>((i * 37 + step * 11) % 64) / 32.0f - 1.0f;
        }}
        std::memset(target, 0, sizeof target);
        target[step % 4] = 1.0f;
{turns}
    }}
    return 0;
}}
"""


def build(prefix: str) -> odl.Build:
    torch.manual_seed(3)
    factory, options = NETWORKS[prefix]
    return odl.compile(factory(), torch.zeros(1, 8), prefix=prefix, **options)


def compiled(directory: Path, prefix: str) -> list[str]:
    """The network's objects, by the flags of its own Makefile."""
    printed = subprocess.run(
        ["make", "-s", "print-exact"], cwd=directory, capture_output=True, text=True, check=True
    )
    flags, sources = (line.split() for line in printed.stdout.splitlines()[:2])
    objects = []
    for source in sources:
        name = directory / f"{Path(source).stem}.o"
        subprocess.run(["gcc", *flags, "-c", source, "-o", str(name)], cwd=directory, check=True)
        objects.append(str(name))
    return objects


def alone(prefix: str) -> list[float]:
    """Output and loss of every step, by the network's own library."""
    net = build(prefix).load()
    numbers: list[float] = []
    for step in range(STEPS):
        x = (((np.arange(8) * 37 + step * 11) % 64) / 32 - 1).astype(np.float32)[None]
        numbers += [*net.infer(x)[0], net.train_step(x, step % 4)]
    return numbers


def test_four_networks_train_in_turn_in_one_program(tmp_path: Path) -> None:
    objects: list[str] = []
    for prefix in NETWORKS:
        objects += compiled(build(prefix).save(tmp_path / prefix), prefix)
    (tmp_path / "main.cpp").write_text(
        _MAIN.format(
            includes="\n".join(f'#include "{prefix}.h"' for prefix in NETWORKS),
            starts="\n".join(f"    {prefix}_init();" for prefix in NETWORKS),
            turns="\n".join(
                f"        {prefix}_infer(x, output);\n        for (float number : output) {{ print(number); }}\n"
                f"        if ({prefix}_train_step(x, target, nullptr, &loss) != {prefix.upper()}_OK) {{ return 1; }}\n"
                f"        print(loss);"
                for prefix in NETWORKS
            ),
            steps=STEPS,
        )
    )
    include = [f"-I{tmp_path / prefix}" for prefix in NETWORKS]
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    program = str(tmp_path / "program")
    subprocess.run(
        ["g++", *strict, *include, str(tmp_path / "main.cpp"), *objects, "-o", program, "-lm"], check=True
    )
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    turns = np.array([int(word, 16) for word in printed], dtype=np.uint32).view(np.float32)
    by_network = turns.reshape(STEPS, len(NETWORKS), 5)
    for number, prefix in enumerate(NETWORKS):
        np.testing.assert_array_equal(by_network[:, number].ravel(), np.float32(alone(prefix)))


def test_every_external_name_has_the_prefix(tmp_path: Path) -> None:
    directory = build("gesture").save(tmp_path / "net")
    listing = subprocess.run(
        ["nm", "--defined-only", "--extern-only", *compiled(directory, "gesture")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {line.split()[2] for line in listing.splitlines() if len(line.split()) == 3}
    assert "gesture_train_step" in names
    assert all(name.startswith("gesture_") for name in names), names
    header = (directory / "gesture.h").read_text()
    macros = set(re.findall(r"#define (\w+)", header))
    assert macros and all(name.startswith("GESTURE_") for name in macros)


@pytest.mark.parametrize(
    "folder", ["kernels/isa", "targets/host/runtime", "targets/qemu/runtime", "targets/pulp/runtime"]
)
def test_no_header_hides_one_of_the_c_library(folder: str) -> None:
    """Whoever builds a project's C with `-Iisa` gets C's <limits.h> all the same."""
    headers = {path.stem.lower() for path in (Path(odl.__file__).parents[1] / folder).glob("*.h")}
    assert headers and not headers & STANDARD_HEADERS
    assert {"limits", "math", "string", "fenv"} < STANDARD_HEADERS


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("resnet8", "resnet8"), ("Net", "net"), ("My Net-1", "my_net_1"), ("1d_cnn", "net_1d_cnn"), ("é", "net"),
     ("Math", "net_math"), ("half", "net_half"), ("__x__", "x"), ("", "net"), ("odl_mine", "net_odl_mine")],
)  # fmt: skip
def test_a_name_gives_a_prefix(name: str, prefix: str) -> None:
    assert prefix_of(name) == prefix == checked_prefix(prefix)


@pytest.mark.parametrize("prefix", ["1a", "a-b", "_x", "a__b", "", "string", "Lanes", "device", "x" * 41, 3])
def test_a_prefix_that_c_or_the_project_cannot_take_is_refused(prefix: object) -> None:
    with pytest.raises(InputError, match="prefix"):
        odl.compile(nn.Linear(2, 2), torch.zeros(1, 2), prefix=prefix)
