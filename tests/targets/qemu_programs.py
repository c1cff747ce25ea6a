"""Builds C programs of the tests for QEMU."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from odl.targets.pulp.toolchain import find_toolchain
from odl.targets.qemu.build import DIALECTS, RUNTIME, compile_options, link_options

ROOT = Path(__file__).resolve().parents[2]
FREESTANDING = ROOT / "targets" / "freestanding"
OPTIONS = (
    "-std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-strict-aliasing -Wall -Wextra -Wconversion -Werror"
)


def build(
    sources: Sequence[Path],
    output: Path,
    isa: str,
    harts: int = 1,
    defines: Mapping[str, object] | None = None,
) -> Path:
    """An ELF with the runtime linked in."""
    toolchain = find_toolchain()
    flags = " ".join([OPTIONS, *compile_options(isa, harts), f"-D{DIALECTS[isa]}"]).split()
    flags += [f"-I{folder}" for folder in (ROOT / "kernels" / "isa", RUNTIME, FREESTANDING / "include")]
    flags += [f"-D{name}={value}" for name, value in (defines or {}).items()]
    runtime = [*sorted(RUNTIME.glob("*.c")), *sorted(RUNTIME.glob("*.S")), FREESTANDING / "string.c"]
    objects = []
    for i, source in enumerate((*runtime, *sources)):
        objects.append(str(output.with_name(f"{output.stem}-{i}.o")))
        subprocess.run([toolchain.clang, *flags, "-c", str(source), "-o", objects[-1]], check=True)
    script = str(RUNTIME / "link.ld")
    subprocess.run(
        [toolchain.lld, "-T", script, *link_options(), *objects, "-o", str(output)], check=True, timeout=60
    )
    return output
