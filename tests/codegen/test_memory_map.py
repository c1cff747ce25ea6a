"""`<prefix>_memory.h`: each section goes where its macro says, and takes just the bytes that are stated."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from odl.codegen.format import WIDTH
from odl.run.library import ProjectBuild, build_plan
from tests.codegen.golden_texts import SOURCES, build, project
from tests.networks import written


def names(header: str) -> list[str]:
    return re.findall(r"#ifndef NET_SECTION_(\w+)\n", header)


def objects(directory: Path, flags: list[str]) -> list[str]:
    """The network's objects, every section in one of its own."""
    plan = build_plan(directory, ProjectBuild.EXACT)
    made = []
    for source in plan.sources:
        made.append(str(directory / f"{Path(source).stem}.o"))
        command = ["gcc", *plan.flags, *flags, "-c", source, "-o", made[-1]]
        subprocess.run(command, cwd=directory, check=True)
    return made


def linked(directory: Path, script: str, files: list[str]) -> subprocess.CompletedProcess[str]:
    """Link by a script that the C preprocessor has read."""
    (directory / "link.ld.in").write_text(script)
    command = ["gcc", "-E", "-P", "-x", "c", f"-I{directory}", "link.ld.in", "-o", "link.ld"]
    subprocess.run(command, cwd=directory, check=True)
    return subprocess.run(
        ["ld", "-r", "-T", "link.ld", *files, "-o", "all.o"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["linear", "tiles", "fp32", "linear accumulate", "linear squared error"])
def test_sections_take_the_bytes_that_are_stated(name: str, tmp_path: Path) -> None:
    directory = written(build(name), tmp_path / "net")
    sections = names((directory / "net_memory.h").read_text())
    assert {"ARENA", "STATE", "CALL", "WEIGHTS", "SHAPES"} <= set(sections)
    assert ("L1" in sections) == (name == "tiles")
    flags = [f'-DNET_SECTION_{item}=__attribute__((section(".{item.lower()}")))' for item in sections]
    files = objects(directory, flags)
    placed = "".join(f"  .{item.lower()} : {{ *(.{item.lower()}) }}\n" for item in sections)
    checks = "".join(
        f'ASSERT(SIZEOF(.{item.lower()}) == NET_SECTION_{item}_BYTES, "{item}")\n' for item in sections
    )
    script = f'#include "net_memory.h"\nSECTIONS {{\n{placed}}}\n{checks}'
    done = linked(directory, script, files)
    assert done.returncode == 0, done.stderr
    listing = subprocess.run(
        ["objdump", "-h", str(directory / "all.o")], capture_output=True, text=True, check=True
    ).stdout
    found = {
        title: int(size, 16) for title, size in re.findall(r"^ +\d+ \.(\w+) +([0-9a-f]{8}) ", listing, re.M)
    }
    assert all(found[item.lower()] > 0 for item in sections)
    assert not found.get("data") and not found.get(
        "bss"
    )  # every variable that is written is in a section of the map
    wrong = script.replace("NET_SECTION_STATE_BYTES", "NET_SECTION_STATE_BYTES + 4")
    assert "STATE" in linked(directory, wrong, files).stderr


@pytest.mark.parametrize("name", SOURCES)
def test_the_map_names_every_section_with_its_bytes(name: str) -> None:
    header = project(name)["net_memory.h"]
    table = header.partition(" *   section ")[2].partition(" *\n")[0]
    for section in names(header):
        macro = "STATE_BUFFER_BYTES" if section == "BUFFER" else rf"SECTION_{section}_BYTES"
        size = re.findall(rf"#define NET_{macro} (\d+)\n", header)[-1]
        assert re.search(rf"^ \*   {section} .* {int(size):,} ", table, re.M), section
    assert all(len(line) <= WIDTH for line in header.splitlines())


def test_initialised_tensors_and_arena_are_one_size_with_the_manifest(tmp_path: Path) -> None:
    net = build("tiles").load()
    header = project("tiles")["net_memory.h"]
    memory = net.manifest["memory"]
    assert f"NET_SECTION_ARENA_BYTES {memory['l2']['peak_bytes']}\n" in header
    assert f"NET_SECTION_L1_BYTES {memory['l1']['peak_bytes']}\n" in header
