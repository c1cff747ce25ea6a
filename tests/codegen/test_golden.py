"""Generated projects: the expected texts, and the same bytes from every process."""

import hashlib
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import odl
from odl.codegen.project import render_project
from tests.networks import tiny_build

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATIONS = {
    "mixed": {"dtype": "mixed", "bn": "train"},
    "fp32": {"dtype": "fp32", "bn": "fold", "optimizer": odl.Adam(0.001)},
}


@cache
def project(name: str) -> dict[str, str]:
    return render_project(tiny_build(**CONFIGURATIONS[name]).compiled.network)


def is_golden(path: str) -> bool:
    """All but the weights, which are numbers, and what is copied as it is from kernels/isa and targets/."""
    return path != "weights.c" and not path.startswith(("isa/", "runtime/"))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_project_has_the_expected_texts(golden, name):
    files = project(name)
    golden(f"{name}/files.txt", "".join(f"{path}\n" for path in sorted(files)))
    for path in filter(is_golden, files):
        golden(f"{name}/{path}", files[path])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_lines_are_clean(name):
    for path, text in project(name).items():
        for number, line in enumerate(text.splitlines(), 1):
            place = f"{path}:{number}: {line}"
            assert line == line.rstrip(), place
            assert "\t" not in line or path == "Makefile", place
            assert len(line) <= 110 or path in ("Makefile", "manifest.json"), place
        assert text.endswith("\n") and not text.endswith("\n\n"), path
        assert "\n\n\n" not in text, path
        assert str(ROOT) not in text, path


@pytest.mark.parametrize("accumulate", [False, True])
def test_no_function_stands_there_twice(accumulate):
    """A step that overflowed refreshes the working copies; where it clears nothing else, one function does both."""
    text = render_project(tiny_build(dtype="mixed", accumulate=accumulate).compiled.network)["net.c"]
    found = re.findall(
        r"^static void (run_\w+)\(uint32_t core, uint32_t cores\) \{\n(.*?)^\}", text, re.M | re.S
    )
    names = [name for name, _ in found]
    bodies = {re.sub(r"NET_DONE\(\d+", "NET_DONE(", body) for _, body in found}
    assert len(bodies) == len(names) == len(set(names))
    assert ("run_skip" in names) == accumulate and "run_refresh" in names
    assert set(re.findall(r"odl_parallel\((run_\w+)\)", text)) == set(names)


_DIGEST = """
import hashlib, sys
from odl.codegen.project import render_project
from tests.networks import tiny_build
files = render_project(tiny_build(dtype="mixed", bn="train").compiled.network)
print(hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest())
"""


def test_another_process_with_another_hash_seed_gives_the_same_bytes(tmp_path):
    here = hashlib.sha256(repr(sorted(project("mixed").items())).encode()).hexdigest()
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _DIGEST], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == here


def test_the_weights_are_the_modules():
    """Every word of weights.c, put back together, is a parameter or statistic at its stated place."""
    files = project("fp32")
    build = tiny_build(**CONFIGURATIONS["fp32"])
    words = [int(word, 16) for word in re.findall(r"0x([0-9a-f]{8})u", files["weights.c"])]
    image = np.array(words, dtype="<u4").tobytes()
    table = re.findall(r"\{(\d+)u, (\d+)u, (\d+)u\}, +/\* (\S+) \*/", files["net.c"])
    state = build.module.state_dict()
    assert {name for *_, name in table} == set(state)
    for _, size, source, name in table:
        stored = np.frombuffer(image, "<f4", int(size) // 4, int(source))
        wanted = state[name].numpy()
        if wanted.ndim == 4:
            wanted = wanted.transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(stored, wanted.ravel())
