"""Generated projects as CMake packages: docs/firmware.md as it stands, the options, and what they refuse."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.networks import tiny_build, written

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "firmware.md"
CLANG = next((name for name in ("clang-22", "clang") if shutil.which(name)), None)
#: A code block, and the file that the line before it names.
_BLOCK = re.compile(r"(?:^`([\w./-]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake: apt-get install cmake")


def run(command: list[str], directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def programs(folder: Path) -> Path:
    """A folder with odl as this tree has it, and a clang of that name."""
    folder.mkdir()
    odl = folder / "odl"
    odl.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom odl.cli import main\nmain()\n"
    )
    odl.chmod(0o755)
    if CLANG is not None:
        (folder / "clang").symlink_to(str(shutil.which(CLANG)))
    return folder


@pytest.mark.skipif(CLANG is None, reason="no clang, which the page builds for a microcontroller with")
def test_the_page_is_all_that_a_project_needs(tmp_path):
    """Files are written and commands run in the page's order, in an empty folder."""
    path = f"{programs(tmp_path / 'programs')}{os.pathsep}{os.environ['PATH']}"
    folder = tmp_path / "firmware"
    folder.mkdir()
    blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert [language for _, language, _ in blocks].count("sh") >= 5
    printed = ""
    for name, language, text in blocks:
        if language == "sh":
            done = run(["bash", "-euo", "pipefail", "-c", text], folder, PATH=path)
            assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
            assert "warning" not in (done.stdout + done.stderr).lower()
            printed += done.stdout
        else:
            assert name, f"a block of {language} that no line before names"
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
    rows = [[float(number) for number in row] for row in re.findall(r"(?m)^(\d\.\d+) (\d+\.\d+)$", printed)]
    assert len(rows) == 3 and all(later < first for later, first in zip(rows[-1], rows[0], strict=True))
    assert (folder / "build-m55" / "libsound.a").is_file()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tiny_build(dtype="mixed", bn="train", prefix="kws", runtime="none")
    return written(build, tmp_path_factory.mktemp("cmake") / "kws")


#: The examples in C and in C++ on one build of the network.
CONSUMER = """
cmake_minimum_required(VERSION 3.16)
project(consumer LANGUAGES C CXX)
add_subdirectory(kws)
add_executable(consumer_c kws/examples/firmware.c runtime.c)
add_executable(consumer_cpp kws/examples/firmware.cpp runtime.cpp)
target_link_libraries(consumer_c PRIVATE odl::kws)
target_link_libraries(consumer_cpp PRIVATE odl::kws)
"""
RUNTIME = """#include "odl_runtime.h"
void odl_parallel(void (*program)(uint32_t core, uint32_t cores)) { program(0, 1); }
void odl_barrier(void) {}
"""


def consumer(network: Path, directory: Path, *options: str) -> list[str]:
    """The losses that both examples print as part of a project of CMake, unoptimised where `options` do not say more."""
    (directory / "kws").symlink_to(network)
    (directory / "CMakeLists.txt").write_text(CONSUMER)
    user = "-DKWS_RUNTIME=host" not in options
    for end in ("c", "cpp"):
        (directory / f"runtime.{end}").write_text(RUNTIME if user else "")
    flags = [f"-DCMAKE_{language}_FLAGS=-Wall -Wextra -Wconversion -Werror" for language in ("C", "CXX")]
    done = run(["cmake", "-S", ".", "-B", "build", "-DCMAKE_BUILD_TYPE=Debug", *flags, *options], directory)
    assert done.returncode == 0, done.stderr[-3000:]
    done = run(["cmake", "--build", "build", "--parallel", "2"], directory)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    in_c, in_cpp = (run([f"./build/consumer_{end}"], directory) for end in ("c", "cpp"))
    assert in_c.returncode == in_cpp.returncode == 0, in_c.stdout + in_cpp.stdout
    losses = re.findall(r"(?m)^step \d+: loss (\S+)$", in_c.stdout)
    assert len(losses) == 10
    assert re.findall(r"(?m)^step \d+: loss (\S+)$", in_cpp.stdout) == losses
    return losses


def made(network: Path, target: str, *options: str) -> list[str]:
    done = run(["make", "-j2", target, *options], network)
    assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]
    done = run([str(network / target)], network)
    assert done.returncode == 0, done.stdout
    return re.findall(r"(?m)^step \d+: loss (\S+)$", done.stdout)


def test_the_examples_agree_in_c_and_in_cpp_by_make_and_by_cmake(network, tmp_path):
    losses = made(network, "examples/firmware", "CFLAGS=-O0")
    assert made(network, "examples/firmware_cpp", "CFLAGS=-O0") == losses
    assert consumer(network, tmp_path) == losses
    assert run(["make", "clean"], network).returncode == 0


@pytest.mark.parametrize(
    "options",
    [
        (
            "-DKWS_RUNTIME=host",
            "-DKWS_ISA=fast",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DCMAKE_C_FLAGS=-march=native",
        ),
        ("-DKWS_LANES=8",),
    ],
    ids=["fast", "eight lanes"],
)
def test_options_choose_what_they_say(network, options, tmp_path):
    losses = [float(text) for text in consumer(network, tmp_path, *options)]
    assert losses[-1] < losses[0]


def test_fast_math_does_not_reach_the_network(network, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "fast").mkdir()
    wanted = consumer(network, tmp_path / "plain", "-DKWS_RUNTIME=host")
    options = ("-DKWS_RUNTIME=host", "-DCMAKE_BUILD_TYPE=", "-DCMAKE_C_FLAGS=-Ofast -march=native")
    assert consumer(network, tmp_path / "fast", *options) == wanted


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("KWS_ISA=quick", "KWS_ISA=quick: must be one of exact, fast, XCV, XPULP, ZFH, RVV"),
        ("KWS_LANES=3", "KWS_LANES=3: must be 2 or 8"),
        ("KWS_RUNTIME=linux", "KWS_RUNTIME=linux: must be host or user"),
    ],
)
def test_what_cannot_be_is_refused(network, option, message, tmp_path):
    done = run(["cmake", "-S", str(network), "-B", str(tmp_path), f"-D{option}"], tmp_path)
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())


def test_nothing_that_ships_forces_a_processor_or_errors(network):
    text = (network / "CMakeLists.txt").read_text()
    assert "march" not in text and "Werror" not in text
    assert re.findall(r".*Werror.*", (network / "Makefile").read_text()) == [
        "WARNINGS = -Wall -Wextra -Wconversion $(if $(WERROR),-Werror)"
    ]
