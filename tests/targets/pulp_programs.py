"""Builds C programs of the tests and benchmarks for a PULP-like cluster."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from odl.errors import InputError
from odl.targets import find
from odl.targets.common.toolchain import Toolchain, find_toolchain, first_error
from odl.targets.pulp.cluster import ClusterTarget, MemoryLayout
from odl.targets.target import FREESTANDING


def build(
    sources: Iterable[Path],
    output: Path,
    layout: MemoryLayout | None = None,
    *,
    target: str = "cv32e40p",
    include: Sequence[Path] = (),
    defines: Mapping[str, str | int] | None = None,
    options: Sequence[str] = ("-O3",),
) -> Path:
    """Compile `sources` (.c, .S), link them with the runtime and write the ELF to `output`, which is returned.

    Raises InputError with the first message of the compiler or linker, MissingToolError without clang or lld.
    """
    toolchain = find_toolchain()
    layout = layout or MemoryLayout()
    machine = find(target)
    assert isinstance(machine, ClusterTarget)
    runtime = machine.runtime_files()
    flags = [*machine.options_for(layout), *options, f"-I{FREESTANDING / 'include'}"]
    flags += [f"-I{folder}" for folder in (*dict.fromkeys(path.parent for path in runtime), *include)]
    flags += [f"-D{name}={value}" for name, value in (defines or {}).items()]
    with tempfile.TemporaryDirectory(prefix="odl-build-") as folder:
        scratch = Path(folder)
        files = [
            *(path for path in runtime if path.suffix != ".h"),
            FREESTANDING / "string.c",
            *sources,
        ]
        jobs = [(file, scratch / f"{i}-{file.stem}.o") for i, file in enumerate(files)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda job: _compile(toolchain, flags, *job), jobs))
        script = scratch / "link.ld"
        script.write_text(layout.linker_script(), encoding="utf-8")
        _link([toolchain.lld, *machine.link_options()], [target for _, target in jobs], script, output)
    return output


def _compile(toolchain: Toolchain, flags: Sequence[str], source: Path, target: Path) -> None:
    done = subprocess.run(
        [toolchain.clang, *flags, "-c", str(source), "-o", str(target)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise InputError(f"{source.name} does not compile: {first_error(done.stderr)}")


def _link(linker: Sequence[str], objects: Sequence[Path], script: Path, output: Path) -> None:
    command = [*linker, "-T", str(script), *map(str, objects), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return
    message = first_error(done.stderr)
    overflow = re.search(r"will not fit in region '(\w+)': overflowed by (\d+) bytes", done.stderr)
    if overflow:
        message = f"it is {overflow.group(2)} bytes too large for {overflow.group(1)}"
    raise InputError(f"the program does not link: {message}")
