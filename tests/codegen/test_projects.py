"""Generated projects build alone by their Makefile, warning-free, and run clean; no heap, no stdio."""

import ctypes
import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import odl
from odl import zoo
from odl.run import library
from tests.networks import INPUT, tiny_build, written

CLANG = next((name for name in ("clang-22", "clang") if shutil.which(name)), None)
MORE_WARNINGS = "-Wshadow -Wdouble-promotion -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla"
SANITIZERS = "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
COMPILERS = [
    "gcc",
    pytest.param(CLANG, marks=pytest.mark.skipif(CLANG is None, reason="no clang"), id="clang"),
]


@cache
def zoo_build(name: str, dtype: str) -> odl.Build:
    model = zoo.get(name)
    torch.manual_seed(0)
    return odl.compile(
        model.factory(), torch.zeros(1, *model.input_shape), loss=model.loss, dtype=dtype, name=name
    )


def make(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["make", *arguments], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not done.stderr, done.stderr
    return done.stdout


def losses(output: str) -> list[float]:
    return [float(text) for text in re.findall(r"^step \d+: loss (\S+)$", output, re.MULTILINE)]


def run(directory: Path) -> list[float]:
    done = subprocess.run(["./example"], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not done.stderr, done.stderr
    found = losses(done.stdout)
    assert len(found) == 10 and found[-1] < found[0]
    return found


@pytest.mark.parametrize("name", list(zoo.MODELS))
def test_zoo_projects_build_by_their_makefile(name, tmp_path):
    """With gcc all of it; with clang one network in full, of the others only the diagnostics."""
    directory = written(zoo_build(name, "mixed"), tmp_path / "net")
    make(directory, f"CFLAGS=-O0 {MORE_WARNINGS}", "example")
    if name == "autoencoder":
        run(directory)
    if CLANG is not None:
        (directory / "example").unlink()
        whole = name == "autoencoder"
        make(
            directory,
            f"CC={CLANG}{'' if whole else ' -fsyntax-only -Wno-unused-command-line-argument'}",
            f"CFLAGS=-O0 {MORE_WARNINGS}",
            "example",
        )
        assert (directory / "example").exists() == whole


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "mixed") for name in zoo.MODELS), ("autoencoder", "fp32")]
)
def test_zoo_projects_train_under_sanitizers(name, dtype, tmp_path):
    """The objects come through odl's cache, so that networks share their kernels."""
    directory = written(zoo_build(name, dtype), tmp_path / "net")
    plan = library.build_plan(directory, library.ProjectBuild.EXACT)
    compiler = ["gcc", *plan.flags, "-fPIC", *SANITIZERS.split(), *MORE_WARNINGS.split()]
    with ThreadPoolExecutor(2) as pool:
        objects = pool.map(
            lambda source: library._object(directory, source, compiler, "gcc"), ["example.c", *plan.sources]
        )
    link = ["gcc", *SANITIZERS.split(), *map(str, objects), "-lm", "-o", "example"]
    subprocess.run(link, cwd=directory, check=True)
    run(directory)


LEARNING = (odl.Importance(), odl.Dampening(), odl.Log(samples=8, states=3), odl.Replay(samples=3, mix=2))


@pytest.mark.parametrize("target", ["host", "cv32e40p"])
def test_firmware_that_learns_and_forgets_runs_under_sanitizers(target, tmp_path):
    """Every primitive at once; its example trains, saves, loads, forgets and prints the digest, in gcc and clang alike."""
    build = tiny_build(learn=LEARNING, accumulate=True, optimizer=odl.Adam(), target=target, prefix="net")
    directory = written(build, tmp_path / "net")
    printed = []
    for compiler in [f"gcc {SANITIZERS}", *([CLANG] if CLANG else [])]:
        make(directory, f"CC={compiler}", f"CFLAGS=-O1 {MORE_WARNINGS}", "-B", "examples/learner")
        done = subprocess.run(["./examples/learner"], cwd=directory, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]
        printed.append(done.stdout)
    assert re.search(r"^forgetting takes 5 steps\n[0-9a-f]{64}$", printed[0], re.MULTILINE), printed[0]
    assert len(set(printed)) == 1


#: Two floats are passed in half of a register; whatever lies in the other half is nobody's.
POISONED = {
    "times.c": """
#include "lanes.h"
odl_wide_f16 times(odl_wide_f16 a, odl_wide_f16 b);
odl_wide_f16 times(odl_wide_f16 a, odl_wide_f16 b) { return odl_wide_times_f16(a, b); }
""",
    "poisoned.c": """
#include <immintrin.h>
#include <stdio.h>
#include "odl_isa.h"
__m128 times(__m128 a, __m128 b);
int main(void) {
    volatile __m128 full = _mm_set_ps(3e38f, 3e38f, 1.0f, 1.0f);
    odl_overflow_clear();
    const __m128 product = times(full, full);
    printf("%g %d\\n", (double)_mm_cvtss_f32(product), odl_overflow_seen());
}
""",
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="register passing of x86-64")
@pytest.mark.parametrize("slp", [False, True], ids=["as built", "with SLP"])
def test_host_build_computes_no_more_lanes_than_there_are(slp, tmp_path):
    """The flags of an operation on what an earlier one left in a register would skip a step that did not overflow."""
    directory = written(tiny_build(dtype="fp16"), tmp_path / "net")
    flags = library.build_plan(directory, library.ProjectBuild.EXACT).flags
    for name, text in POISONED.items():
        (directory / name).write_text(text)
    more = ["-ftree-slp-vectorize"] if slp else []
    subprocess.run(
        ["gcc", *flags, *more, *POISONED, "-lm", "-o", "poisoned"],
        cwd=directory,
        check=True,
    )
    done = subprocess.run(["./poisoned"], cwd=directory, capture_output=True, text=True, check=True)
    if slp:
        assert done.stdout.startswith("1 ")  # gcc before 14 sees an overflow: what the flag is for
    else:
        assert done.stdout == "1 0\n"


@pytest.mark.skipif(CLANG is None, reason="clang is not installed")
def test_clang_builds_a_network_of_the_same_bits(tmp_path):
    """Warning-free too; a step that clang's optimiser made look overflowed would be skipped and show here."""
    build = tiny_build(dtype="mixed", bn="train")
    net = build.load()
    directory = written(build, tmp_path / "net")
    make(directory, f"CC={CLANG}", f"CFLAGS=-O1 {MORE_WARNINGS}", "net_exact.so")
    other = ctypes.CDLL(str(directory / "net_exact.so"))
    other.net_init()
    found = ctypes.c_float()
    pointer = ctypes.POINTER(ctypes.c_float)
    random = np.random.default_rng(0)
    for step in range(3):
        x = random.standard_normal(net.input.shape, dtype=np.float32)
        target = np.eye(3, dtype=np.float32)[[step]]
        loss = net.train_step(x, target)
        flat = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        done = other.net_train_step(
            flat.ctypes.data_as(pointer), target.ctypes.data_as(pointer), None, ctypes.byref(found)
        )
        assert (done, found.value) == (0, loss)
    state = ctypes.create_string_buffer(net.manifest["state_bytes"])
    assert other.net_save(state, len(state)) == 0
    assert net.skipped_steps == 0
    assert bytes(state) == net.save()


@pytest.mark.parametrize("update", ["bias", "last:1", "4.weight"])
@pytest.mark.parametrize("dtype", ["mixed", "fp16"])
def test_partial_updates_leave_nothing_unused(update, dtype, tmp_path):
    """A program without nodes, or a kernel that nobody calls, would be a warning or a stray file."""
    directory = written(tiny_build(update=update, dtype=dtype), tmp_path / "net")
    source = (directory / "net.c").read_text()
    for path in (directory / "kernels").iterdir():
        assert f" {path.stem}(" in source, path.name
    for function in re.findall(r"^(?:static )?\w[\w *]*?(\w+)\(.*\) \{", source, re.MULTILINE):
        interface = (directory / "net.h").read_text()
        assert len(re.findall(rf"\b{function}\b", source)) > 1 or f" {function}(" in interface, function
    for shape in re.findall(r"struct \w+ (\w+_shape_\d+) =", source):
        assert f"&{shape}," in source
    compile_only = f"gcc -std=c11 -Wall -Wextra -Wconversion -Werror {MORE_WARNINGS} -march=native -c net.c"
    subprocess.run(
        [
            *compile_only.split(),
            "-DODL_ISA_HOST_EXACT",
            "-DODL_LANES_F16=2",
            "-Iisa",
            "-Iruntime",
            "-I.",
            "-Wunused",
        ],
        cwd=directory,
        check=True,
    )


def test_interface_is_all_that_network_objects_share(tmp_path):
    """No heap, no stdio: the only foreign symbols are memory copies, mathematics and floating-point flags."""
    directory = written(tiny_build(dtype="mixed", bn="train"), tmp_path / "net")
    make(directory, "libraries", "CFLAGS=-O0")
    names = subprocess.run(
        ["nm", "-D", "--undefined-only", "net_exact.so"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    undefined = {line.split()[-1].split("@")[0] for line in names.stdout.splitlines()}
    allowed = {
        "memcpy", "memset", "memmove", "expf", "logf", "sqrtf", "fmaf", "fma", "exp", "log",
        "feclearexcept", "fetestexcept", "feraiseexcept",
        "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__cxa_finalize", "__gmon_start__",
        "__stack_chk_fail",
    }  # fmt: skip
    assert undefined <= allowed
    source = "".join(
        path.read_text()
        for path in directory.rglob("*.[ch]")
        if "example" not in str(path.relative_to(directory))
    )
    assert not re.search(r"\b(malloc|calloc|realloc|free|alloca|printf|puts|FILE)\b *\(", source)
    assert "stdio.h" not in source and "stdlib.h" not in source


class Awkward(nn.Module):
    """Submodules with the names that generated C uses itself, and one that would close a comment."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = nn.Conv2d(3, 4, 3)
        self.state = nn.Conv2d(4, 4, 1)
        self.core = nn.BatchNorm2d(4)
        self.odl_cast = nn.Linear(4 * 3 * 2, 5)
        self.main = nn.ModuleDict({"a*/b": nn.Linear(5, 4), "/*": nn.Linear(4, 3)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.core(self.state(self.scratch(x)))).flatten(1)
        return self.main["/*"](self.main["a*/b"](self.odl_cast(x)))


def test_names_of_modules_never_break_the_c(tmp_path):
    torch.manual_seed(0)
    build = odl.compile(Awkward(), torch.zeros(1, *INPUT), bn="frozen", name="a */ net\nof mine")
    directory = written(build, tmp_path / "net")
    make(directory, f"CFLAGS=-O0 {MORE_WARNINGS}", "example")
    run(directory)


def test_make_clean_removes_what_make_made(tmp_path):
    directory = written(tiny_build(update="4.weight"), tmp_path / "net")
    before = sorted(str(path) for path in directory.rglob("*"))
    make(directory, "CFLAGS=-O0", "run")
    make(directory, "clean")
    assert sorted(str(path) for path in directory.rglob("*")) == before


def test_two_blocks_of_one_tensor_are_two_pointers(tmp_path):
    """A tile of a residual reads its input with the halo of the window, and without it where it is added."""

    class Residual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Conv2d(15, 15, 3, padding=1)

        def forward(self, x):
            return x + self.inner(x)

    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(5, 15, 1), torch.nn.SiLU(), Residual(), torch.nn.AdaptiveAvgPool2d(1)]
    module = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(15, 4))
    build = odl.compile(module, torch.zeros(1, 5, 12, 6), target="cv32e40p", l1=4096, dtype="mixed")
    report = build.verify(build="exact", steps=2)
    assert report.ok, [row for row in report.rows if not row.ok]
