"""Generated projects: the expected texts, and the same bytes from every process.

What sees a change of what odl writes:

* `golden/project` is the whole project of one linear layer in mixed precision on the host: every file that is written and
  has at most 150 lines, net.c and the manifest in parts. The convolutions' kernels stand in `files.txt` with a digest.
* `golden/files` has the digest of every file of three more projects: batch norm in training mode, Adam in fp32, tiles on
  the cluster. Any changed byte of any of their files fails here, kernels of 1,800 lines included.
* `golden/interface`, `update`, `batch_norm`, `cluster`, `kernel` and `makefile` show what other options
  change, one idea a file.
* Weights and copied files have no digest: `test_the_weights_are_the_modules`, `test_copies_are_the_tree_s_files`.
* What a kernel computes is tested in tests/kernels and, on devices, in tests/targets; a text alone says nothing of it.

`benchmarks/compare_revisions.py REVISION` compares whole projects of the zoo, on every target in every precision, with
those of another revision. It says which files a change reaches; these tests say what the change looks like.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from odl.codegen.project import render_project
from tests.codegen.golden_texts import MOST_LINES, SOURCES, TEXTS, build, is_copied, project
from tests.networks import tiny_build

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", TEXTS)
def test_expected_text(golden, name):
    text = TEXTS[name]()
    assert text.count("\n") <= MOST_LINES and text.endswith("\n"), name
    golden(name, text)


def test_every_golden_file_is_an_expected_text():
    assert {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*") if path.is_file()} == set(TEXTS)


def test_sections_are_the_whole_network_program():
    assert (
        "".join(text() for name, text in TEXTS.items() if name.startswith("project/net.c/"))
        == (project("linear")["net.c"])
    )


@pytest.mark.parametrize("name", ["linear", "linear cluster", "linear gvsoc", "linear vectors"])
def test_copies_are_the_tree_s_files(name):
    """ISA headers and runtimes, which the lists of files call copied."""
    for path, text in filter(lambda item: is_copied(item[0]) and "/" in item[0], project(name).items()):
        folder, _, below = path.partition("/")
        sources = [ROOT / "kernels/isa"] if folder == "isa" else sorted((ROOT / "targets").rglob("runtime"))
        sources += [ROOT / "targets/freestanding"] if folder == "runtime" else []
        licence, _, own = text.partition("\n")
        assert "Apache-2.0" in licence
        assert own in {(source / below).read_text() for source in sources if (source / below).is_file()}, path


@pytest.mark.parametrize("name", [name for name in SOURCES if "target" not in SOURCES[name].options])
def test_lines_are_clean(name):
    for path, text in project(name).items():
        for number, line in enumerate(text.splitlines(), 1):
            place = f"{path}:{number}: {line}"
            assert line == line.rstrip(), place
            assert "\t" not in line or path == "Makefile", place
            one_word = " " not in line.strip()  # a path
            assert len(line) <= 110 or one_word or path in ("Makefile", "manifest.json"), place
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
    bodies = {body for _, body in found}
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
    """Every word of net_weights.c, put back together, is a parameter or statistic at its stated place."""
    files = project("fp32")
    words = [int(word, 16) for word in re.findall(r"0x([0-9a-f]{8})u", files["net_weights.c"])]
    image = np.array(words, dtype="<u4").tobytes()
    table = re.findall(r"\{(\d+)u, (\d+)u, (\d+)u, 0x\w+u\}, +/\* (\S+) \*/", files["net.c"])
    state = build("fp32").module.state_dict()
    assert {name for *_, name in table} == set(state)
    for _, size, source, name in table:
        stored = np.frombuffer(image, "<f4", int(size) // 4, int(source))
        wanted = state[name].numpy()
        if wanted.ndim == 4:
            wanted = wanted.transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(stored, wanted.ravel())
