"""Proves the stack of a project: compiles it as its Makefile does, and adds frames up along the call graph."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from odl.errors import CheckFailedError, OdlError
from odl.project.manifest import Manifest, StackEntry, read_manifest
from odl.run.library import BuildPlan, ProjectBuild, build_plan
from odl.stack.assembly import Unit, read_unit
from odl.stack.call_graph import CallGraph
from odl.stack.pointer_types import FLAGS, PointerTypes, read_types
from odl.targets import HOST
from odl.targets.common.toolchain import find_toolchain

#: Where every core of a device's runtime begins, on a stack of its own; only core 0 goes on to `main`.
_CORE_ENTRY, _MAIN = "odl_run_core", "main"


@dataclass(frozen=True)
class _Compiler:
    """What compiles a project's C, and how: as a product's build says."""

    command: str
    build: ProjectBuild
    plan: BuildPlan

    @property
    def version(self) -> str:
        return _run([self.command, "--version"], Path.cwd()).splitlines()[0]

    def unit(self, directory: Path, source: str) -> Unit:
        """The functions of one source file."""
        with tempfile.TemporaryDirectory(prefix="odl-stack-") as folder:
            assembly, usage = Path(folder) / "unit.s", Path(folder) / "unit.su"
            kind = ["-E"] if source.endswith(".S") else ["-S", "-fstack-usage"]
            _run([self.command, *self.plan.flags, *kind, source, "-o", str(assembly)], directory)
            text = assembly.read_text(encoding="utf-8")
            frames = usage.read_text(encoding="utf-8") if usage.is_file() else ""  # no function, no file
            types = self._types(directory, source, self.plan.flags)
            return read_unit(source, text, None if source.endswith(".S") else frames, types)

    def _types(self, directory: Path, source: str, flags: list[str]) -> PointerTypes | None:
        """Types of what is called through pointers, which only clang tells."""
        if source.endswith(".S") or self.build is not ProjectBuild.DEVICE:
            return None
        return read_types(_run([self.command, *flags, *FLAGS, source, "-o", "-"], directory))


def prove(directory: Path) -> StackEntry:
    """Most bytes of stack that each core of the project in `directory` can need, and each function of its interface.

    Of a project with a program for its device: that program, by the device's compiler. Of any other: the exact library of
    this machine, by gcc. Raises InputError for what is no project, MissingToolError without the compiler, and
    CheckFailedError for recursion, for a frame without a bound, and where a core has less stack than it may need.
    """
    manifest = read_manifest(directory)
    compiler = _compiler(directory, manifest)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        units = tuple(pool.map(partial(compiler.unit, directory), compiler.plan.sources))
    graph = CallGraph(units)
    options = manifest.options
    on_device = compiler.build is ProjectBuild.DEVICE
    workers = graph.bound(_CORE_ENTRY, without=(_MAIN,)) if on_device else 0
    cores = (graph.bound(_CORE_ENTRY), *[workers] * (options.core_count - 1)) if on_device else ()
    functions = [
        function.name
        for unit in units
        if "/" not in unit.file
        for function in unit.functions.values()
        if function.exported and function.name != _MAIN
    ]
    entry = StackEntry(
        str(compiler.build),
        compiler.version,
        cores,
        options.description.stack_bytes if on_device else None,
        {name: graph.bound(name) for name in sorted(functions)},
        tuple(sorted(graph.outside)),
        tuple(sorted(graph.through_pointers)),
    )
    _check(directory, entry)
    return entry


def record(directory: Path) -> StackEntry:
    """Prove the project's stack, and write the result into its manifest.json."""
    entry = prove(directory)
    manifest = dataclasses.replace(read_manifest(directory), stack=entry)
    fresh = directory / "manifest.json.new"
    fresh.write_text(json.dumps(manifest.document(), indent=1) + "\n", encoding="utf-8", newline="\n")
    os.replace(fresh, directory / "manifest.json")
    return entry


def _compiler(directory: Path, manifest: Manifest) -> _Compiler:
    options = manifest.options
    if not options.description.is_host and options.runtime != "none":
        return _Compiler(
            find_toolchain().clang, ProjectBuild.DEVICE, build_plan(directory, ProjectBuild.DEVICE)
        )
    for finding in HOST.findings():
        finding.require()
    return _Compiler("gcc", ProjectBuild.EXACT, build_plan(directory, ProjectBuild.EXACT))


def _check(directory: Path, entry: StackEntry) -> None:
    """CheckFailedError where the bound leaves something out, or a core's stack is smaller."""
    if entry.cores and entry.outside:
        raise CheckFailedError(f"{directory}: no bound, as the program lacks {', '.join(entry.outside)}")
    needs = {"a core": max(entry.cores, default=0), **entry.entry_points}
    name, most = max(needs.items(), key=lambda item: item[1])
    if entry.reserved is not None and most > entry.reserved:
        raise CheckFailedError(
            f"{directory}: {name} may need {most:,} bytes of stack and has {entry.reserved:,}"
        )


def _run(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise OdlError(f"compiling in {directory} failed: {reason}")
    return done.stdout
