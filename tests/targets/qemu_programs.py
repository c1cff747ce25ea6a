"""Builds C programs of the tests for QEMU."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from odl.targets.common.toolchain import find_toolchain
from odl.targets.qemu.target import TARGET
from odl.targets.target import FREESTANDING

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = (
    "-std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-strict-aliasing -Wall -Wextra -Wconversion -Werror"
)


def build(
    sources: Sequence[Path],
    output: Path,
    isa: str,
    harts: int = 1,
    defines: Mapping[str, object] | None = None,
    include: Sequence[Path] = (),
    portable: str | None = None,
) -> Path:
    """An ELF with the runtime linked in; `portable`: the architecture where it is to be the portable dialect."""
    toolchain, target = find_toolchain(), TARGET.with_isa(isa)
    runtime = target.runtime_files()
    flags = " ".join([OPTIONS, *target.compile_options(harts), f"-D{target.instruction_set.dialect}"]).split()
    if portable is not None:
        flags = [flag for flag in flags if not flag.startswith(("-DODL_ISA_", "-march="))]
        flags.append(f"-march={portable}")
    folders = dict.fromkeys(path.parent for path in runtime)
    flags += [
        f"-I{folder}" for folder in (ROOT / "kernels" / "isa", *folders, FREESTANDING / "include", *include)
    ]
    flags += [f"-D{name}={value}" for name, value in (defines or {}).items()]
    files = [*(path for path in runtime if path.suffix != ".h"), FREESTANDING / "string.c"]
    objects = []
    for i, source in enumerate((*files, *sources)):
        objects.append(str(output.with_name(f"{output.stem}-{i}.o")))
        subprocess.run([toolchain.clang, *flags, "-c", str(source), "-o", objects[-1]], check=True)
    script = output.with_suffix(".ld")
    script.write_text(target.linker_script(harts))
    link = [toolchain.lld, "-T", str(script), *target.link_options()]
    subprocess.run([*link, *objects, "-o", str(output)], check=True, timeout=60)
    return output
