"""Builds a program for a PULP-like cluster: C and assembly files in, ELF out, with the runtime linked in."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from odl.errors import InputError
from odl.targets.pulp.toolchain import Toolchain, find_toolchain

TargetName = Literal["cv32e40p", "gvsoc"]

_HERE = Path(__file__).parent
RUNTIME = _HERE / "runtime"
FREESTANDING = _HERE.parent / "freestanding"
INCLUDE = FREESTANDING / "include"
#: Folders and files of them that make up each target's runtime. Only gvsoc exchanges data by semihosting.
_RUNTIMES: Mapping[TargetName, Mapping[str, tuple[str, ...]]] = {
    "cv32e40p": {"pulp/runtime": ("*",)},
    "gvsoc": {
        "pulp/runtime": ("*",),
        "gvsoc/runtime": ("*",),
        "qemu/runtime": ("semihosting.h", "semihosting.S"),
    },
}

# One instruction set, two sets of vendor extensions: clang knows CORE-V's, and none of Xpulp's.
_ARCHITECTURE: Mapping[TargetName, str] = {
    "cv32e40p": "rv32imc_zfinx_zhinx_xcvmem_xcvalu_xcvsimd_xcvmac",
    "gvsoc": "rv32imc_zfinx_zhinx",
}
_CODE_OPTIONS = (
    "-ffreestanding",
    "-nostdlib",
    "-fno-common",
    "-ffunction-sections",
    "-fdata-sections",
    "-mno-relax",
)


@dataclass(frozen=True)
class MemoryLayout:
    """What the linker script must know of the machine. Sizes in bytes."""

    cores: int = 8
    """Workers: those that run the programs of `odl_parallel`."""
    controller: bool = False
    """One more core runs `main`; without it core 0 does. Not on gvsoc."""
    l1_bytes: int = 128 * 1024
    l2_bytes: int = 1536 * 1024
    stack_bytes: int = 1024
    """Per core, in L1."""

    def linker_script(self) -> str:
        """The script that places code and data. Raises InputError where the stacks alone do not fit."""
        if self.stack_bytes % 16 or self.stack_bytes < 256:
            raise InputError(f"stacks of {self.stack_bytes} bytes; use a multiple of 16 from 256")
        stacks = self.cores + self.controller
        if stacks * self.stack_bytes > self.l1_bytes:
            raise InputError(
                f"{stacks} stacks of {self.stack_bytes} bytes do not fit an L1 of {self.l1_bytes} bytes"
            )
        environment = Environment(
            loader=FileSystemLoader(_HERE), undefined=StrictUndefined, keep_trailing_newline=True
        )
        return environment.get_template("link.ld.j2").render(
            cores=self.cores,
            stacks=stacks,
            controller=int(self.controller),
            l1_bytes=self.l1_bytes,
            l2_bytes=self.l2_bytes,
            stack_bytes=self.stack_bytes,
        )


def compile_options(target: TargetName, layout: MemoryLayout) -> list[str]:
    """clang's options for a file of this target; complete, so that a Makefile can carry them.

    Raises InputError for a controller on a target that has none.
    """
    if layout.controller and target != "cv32e40p":
        raise InputError(f"target {target} has no controller core; its core 0 orchestrates")
    return [
        "--target=riscv32-unknown-elf",
        f"-march={_ARCHITECTURE[target]}",
        "-mabi=ilp32",
        *_CODE_OPTIONS,
        f"-DODL_TARGET_{target.upper()}",
        f"-DODL_CORES={layout.cores}",
        f"-DODL_CONTROLLER={int(layout.controller)}",
    ]


def runtime_files(target: TargetName) -> list[Path]:
    """Headers and sources of a target's runtime, without what stands in for a C library."""
    return [
        path
        for folder, patterns in _RUNTIMES[target].items()
        for pattern in patterns
        for path in sorted((_HERE.parent / folder).glob(pattern))
        if path.suffix in (".h", ".c", ".S")
    ]


def link_options() -> list[str]:
    """lld's options beside the linker script."""
    return ["--gc-sections", "--no-relax"]


def build(
    sources: Iterable[Path],
    output: Path,
    layout: MemoryLayout | None = None,
    *,
    target: TargetName = "cv32e40p",
    include: Sequence[Path] = (),
    defines: Mapping[str, str | int] | None = None,
    options: Sequence[str] = ("-O3",),
) -> Path:
    """Compile `sources` (.c, .S), link them with the runtime and write the ELF to `output`, which is returned.

    Raises InputError with the first message of the compiler or linker, MissingToolError without clang or lld.
    """
    toolchain = find_toolchain()
    layout = layout or MemoryLayout()
    runtime = runtime_files(target)
    flags = [*compile_options(target, layout), *options, f"-I{INCLUDE}"]
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
        _link(toolchain, [target for _, target in jobs], script, output)
    return output


def _compile(toolchain: Toolchain, flags: Sequence[str], source: Path, target: Path) -> None:
    done = subprocess.run(
        [toolchain.clang, *flags, "-c", str(source), "-o", str(target)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise InputError(f"{source.name} does not compile: {_first_error(done.stderr)}")


def _link(toolchain: Toolchain, objects: Sequence[Path], script: Path, output: Path) -> None:
    command = [toolchain.lld, "-T", str(script), *link_options(), *map(str, objects), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return
    message = _first_error(done.stderr)
    overflow = re.search(r"will not fit in region '(\w+)': overflowed by (\d+) bytes", done.stderr)
    if overflow:
        message = f"it is {overflow.group(2)} bytes too large for {overflow.group(1)}"
    raise InputError(f"the program does not link: {message}")


def _first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line]
    return (lines or text.strip().splitlines() or ["no message"])[0]
