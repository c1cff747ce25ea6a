"""Compiles a job for the cluster and for the host; objects are cached by content, since shapes share their kernels."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from odl.errors import OdlError
from odl.targets.common import flags
from odl.targets.common.build_cache import build_once, digest
from odl.targets.common.toolchain import find_toolchain, first_error
from odl.targets.cv32e40p.target import TARGET
from odl.targets.pulp.cluster import RUNTIME, MemoryLayout
from odl.targets.target import FREESTANDING
from odl.tune.job import Job
from odl.tune.key import ISA

_DIALECT = f"-D{TARGET.instruction_set.dialect}"
_DEVICE = (*flags.STANDARD, *flags.OPTIMISED, *flags.WARNINGS, *flags.DEVICE, _DIALECT)
_HOST = (*flags.STANDARD, *flags.WARNINGS, *flags.HOST, *flags.EXACT, "-DODL_LANES_F16=2", "-DCASE_ON_HOST")


class VariantError(OdlError):
    """Variants that do not compile, link or run to their end."""


@dataclass(frozen=True)
class Compiler:
    """A compiler with its flags, and the folders that it looks for headers in."""

    command: str
    flags: tuple[str, ...]
    include: tuple[Path, ...]


def device_compiler(job: Job) -> Compiler:
    """How kernels are compiled for the cluster. MissingToolError without clang or lld."""
    options = (*_DEVICE, *TARGET.options_for(_layout(job, job.cluster.l2_bytes)))
    return Compiler(find_toolchain().clang, options, (ISA, RUNTIME, FREESTANDING / "include"))


def device_program(job: Job, chosen: Sequence[int], folder: Path, l2_bytes: int) -> Path:
    """The program that runs the chosen variants on a cluster with `l2_bytes` of L2; VariantError names what is wrong."""
    compiler = device_compiler(job)
    objects = [compiled_kernel(job, job.functions[index], compiler, folder) for index in chosen]
    for source in [*sorted(RUNTIME.glob("*.[cS]")), FREESTANDING / "string.c"]:
        objects.append(
            _cached(compiler, source.read_text(encoding="utf-8"), source.suffix, {}, source.parent)
        )
    objects.append(_main(job, chosen, compiler, folder, folder / "device.o"))
    script, program = folder / "link.ld", folder / "device.elf"
    script.write_text(_layout(job, l2_bytes).linker_script(), encoding="utf-8")
    lld = find_toolchain().lld
    _run([lld, "-T", str(script), *TARGET.link_options(), *map(str, objects), "-o", str(program)])
    return program


def host_program(job: Job, chosen: Sequence[int], folder: Path) -> Path:
    """The same for this machine, whose arithmetic is the device's, bit for bit."""
    host = Path(str(resources.files("odl.targets") / "host" / "runtime"))
    compiler = Compiler("gcc", _HOST, (ISA, host))
    objects = [compiled_kernel(job, job.functions[index], compiler, folder) for index in chosen]
    objects.append(_main(job, chosen, compiler, folder, folder / "host.o"))
    program = folder / "host"
    _run(["gcc", *map(str, objects), "-o", str(program), "-lm"])
    return program


def _layout(job: Job, l2_bytes: int) -> MemoryLayout:
    return MemoryLayout(job.cluster.cores, False, job.cluster.l1_bytes, l2_bytes)


def _main(job: Job, chosen: Sequence[int], compiler: Compiler, folder: Path, target: Path) -> Path:
    left_out = [f"-DCASE_WITHOUT_{index}" for index in range(len(job.functions)) if index not in chosen]
    compiler = replace(compiler, flags=(*compiler.flags, *left_out))
    return _compile(compiler, folder / "program.c", target, folder)


def compiled_kernel(job: Job, name: str, compiler: Compiler, folder: Path) -> Path:
    """The object of one kernel, from the cache if the same was compiled before."""
    headers = {"case_kernels.h": _own_part(job.header, name), "isa": job.headers}
    return _cached(compiler, job.kernels[name], ".c", headers, folder)


def _own_part(header: str, kernel: str) -> str:
    """What case_kernels.h says to a kernel: everything but the prototypes of others."""
    lines = header.split(";\n")
    return "".join(line for line in lines if "void case_" not in line or f"void {kernel}(" in line)


def _cached(compiler: Compiler, text: str, suffix: str, headers: Mapping[str, str], folder: Path) -> Path:
    version = _run([compiler.command, "--version"]).splitlines()[0]
    parts = [text, *headers.values(), *compiler.flags, version, _machine()]
    if not headers:  # a source of the runtime, with headers of its own
        parts += [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.h"))]

    def build(place: Path) -> None:
        source = place / f"source{suffix}"
        source.write_text(text, encoding="utf-8")
        _compile(compiler, source, place / "object.o", folder)

    return build_once("objects", digest(parts), build) / "object.o"


def _compile(compiler: Compiler, source: Path, target: Path, folder: Path) -> Path:
    include = [f"-I{path}" for path in (folder, *compiler.include)]
    _run([compiler.command, *compiler.flags, *include, "-c", str(source), "-o", str(target)])
    return target


def _machine() -> str:
    """What -march=native depends on."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    return next((line for line in text.splitlines() if line.startswith("flags")), "")


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise VariantError(first_error(done.stderr))
    return done.stdout
