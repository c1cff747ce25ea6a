"""Builds the simulator: four verilated models and the C++ cluster around them, each cached under its own hash.

With GCC the models are compiled twice: a short training run in between tells the compiler which branches are taken,
which makes the simulation a third faster. Training programs are in training/; they need no cross compiler.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from odl.errors import MissingToolError
from odl.targets.common.build_cache import build_once, cache_folder, digest
from odl.targets.common.toolchain import first_error
from odl.targets.cv32e40p import rtl_copy
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.find_tools import (
    Compiler,
    Rtl,
    Verilator,
    find_compiler,
    find_rtl,
    find_verilator,
)

_HERE = Path(__file__).parent
_OWN_RTL = _HERE / "rtl"
_SOURCES = _HERE / "sim"
_TRAINING = _HERE / "training"

_VERILATOR_OPTIONS = (
    *("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert", "--no-timing"),
    # The RTL's style is not ours to judge; what matters is that it is the RTL.
    *("-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-MULTIDRIVEN", "-Wno-BLKANDNBLK", "-Wno-UNOPTFLAT"),
)
_COMPILE = ("-std=c++20", "-pthread")
# -O3 is no faster: what counts is how much of the code fits the first-level cache.
_OPTIMISE = ("-O2",)
_LEARN = ("-fprofile-generate", "-fprofile-update=single")
_USE = ("-fprofile-use", "-fprofile-partial-training", "-Wno-missing-profile")
_RUNTIME_SOURCES = ("verilated.cpp", "verilated_threads.cpp")


@dataclass(frozen=True)
class _Model:
    """A module of rtl/ that is verilated, with fixed parameters, to the C++ class `V` + name."""

    name: str
    module: str
    latency_parameter: str | None = None
    """How its parameter for the FPU latency is called, if it has one."""
    parameters: tuple[str, ...] = ()
    training: str | None = None
    """Program that exercises the model before it is compiled for good."""

    def arguments(self, fpu_latency: int) -> list[str]:
        latency = [f"-G{self.latency_parameter}={fpu_latency}"] if self.latency_parameter else []
        return ["--top-module", self.module, "--prefix", f"V{self.name}", *latency, *self.parameters]


_MODELS = (
    _Model("odl_core", "odl_core", "FPU_LATENCY", training="train_core.cpp"),
    _Model("odl_fpu_addmul", "odl_fpu", "LATENCY", ("-GADDMUL=1",), training="train_fpu.cpp"),
    _Model("odl_fpu_other", "odl_fpu", "LATENCY", ("-GADDMUL=0",)),
    _Model("odl_fp_divider", "odl_fp_divider"),
)


@dataclass(frozen=True)
class _Tools:
    rtl: Rtl
    verilator: Verilator
    compiler: Compiler

    def versions(self) -> list[str]:
        return [self.rtl.version, self.verilator.version, self.compiler.version]


def _run(command: Sequence[str], what: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise MissingToolError(f"building the simulator failed at {what}: {first_error(done.stderr)}")


#: Source, object, options.
_Job = tuple[Path, Path, list[str]]


def _compile_all(compiler: Compiler, jobs: list[_Job]) -> None:
    """Compile every job, as many at a time as the machine has processors."""

    def compile_one(job: _Job) -> None:
        source, target, options = job
        _run([compiler.command, *_COMPILE, *options, "-c", str(source), "-o", str(target)], source.name)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(compile_one, jobs))


def _runtime_options(verilator: Verilator) -> list[str]:
    include = verilator.root / "include"
    # -w: generated code and Verilator's runtime are not ours to keep free of warnings
    return ["-w", f"-I{include}", f"-I{include / 'vltstd'}", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TRACE=0"]


def _build_model(model: _Model, fpu_latency: int, tools: _Tools, folder: Path) -> None:
    arguments = rtl_copy.copy_rtl(tools.rtl.folder, _OWN_RTL, folder / "rtl", fpu_latency)
    generated = folder / "generated"
    command = [*tools.verilator.command, *_VERILATOR_OPTIONS, *model.arguments(fpu_latency)]
    _run(
        [*command, "--Mdir", str(generated), *arguments],
        f"Verilator, {model.name}",
        tools.verilator.environment(),
    )
    options = [*_runtime_options(tools.verilator), f"-I{generated}", f"-DODL_FPU_LATENCY={fpu_latency}"]
    sources = sorted(generated.glob("*.cpp"), key=lambda path: -path.stat().st_size)

    def jobs(runs_once: bool, *more: str) -> list[_Job]:
        """What Verilator calls slow runs once, at the start."""
        chosen = [source for source in sources if ("Slow" in source.name) is runs_once]
        return [(source, source.with_suffix(".o"), [*options, *more]) for source in chosen]

    slow = jobs(True, "-O0")
    if model.training is None or not tools.compiler.is_gcc:
        _compile_all(tools.compiler, [*jobs(False, *_OPTIMISE), *slow])
        return
    _compile_all(tools.compiler, [*jobs(False, *_OPTIMISE, *_LEARN), *slow])
    objects = [source.with_suffix(".o") for source in sources]
    _train(_TRAINING / model.training, objects, options, tools, folder / "training")
    _compile_all(tools.compiler, jobs(False, *_OPTIMISE, *_USE))


def _train(program: Path, objects: list[Path], options: list[str], tools: _Tools, folder: Path) -> None:
    """Link a training program with instrumented objects and run it; the profile appears beside each object."""
    folder.mkdir()
    runtime = [tools.verilator.root / "include" / name for name in _RUNTIME_SOURCES]
    jobs = [(source, folder / f"{source.stem}.o", [*options, "-O1"]) for source in (program, *runtime)]
    _compile_all(tools.compiler, jobs)
    executable = folder / "train"
    files = [str(file) for file in (*(job[1] for job in jobs), *objects)]
    _run(
        [tools.compiler.command, *_COMPILE, *_LEARN, *files, "-o", str(executable)], f"linking {program.name}"
    )
    _run([str(executable)], f"the training run {program.name}")


def _text_of(files: Sequence[Path]) -> list[str]:
    return [text for file in sorted(files) for text in (file.name, file.read_text(encoding="utf-8"))]


def _model(model: _Model, fpu_latency: int, tools: _Tools) -> Path:
    latency = fpu_latency if model.latency_parameter else 0
    recipe = [*_VERILATOR_OPTIONS, *_COMPILE, *_OPTIMISE, *_LEARN, *_USE, *model.arguments(latency)]
    sources = [Path(rtl_copy.__file__), *_OWN_RTL.glob("*.sv"), *_TRAINING.glob("*.cpp")]
    key = digest([*tools.versions(), *recipe, *_text_of(sources)])
    return build_once(model.name, key, lambda folder: _build_model(model, latency, tools, folder))


def _build_cluster(models: list[Path], fpu_latency: int, tools: _Tools, folder: Path) -> None:
    options = [f"-DODL_FPU_LATENCY={fpu_latency}", *_OPTIMISE, *_runtime_options(tools.verilator)]
    options += [f"-I{model / 'generated'}" for model in models]
    jobs = [(source, folder / f"{source.stem}.o", options) for source in sorted(_SOURCES.glob("*.cpp"))]
    runtime = tools.verilator.root / "include"
    jobs += [(runtime / name, folder / f"{Path(name).stem}.o", options) for name in _RUNTIME_SOURCES]
    _compile_all(tools.compiler, jobs)
    objects = [str(target) for _, target, _ in jobs]
    objects += [str(file) for model in models for file in sorted((model / "generated").glob("*.o"))]
    _run([tools.compiler.command, *_COMPILE, *objects, "-o", str(folder / "simulator")], "linking")


def build_simulator(cluster: Cluster) -> Path:
    """The simulator program for this cluster; built (about two minutes) if it is not in the cache.

    Only the FPU latency is built in; everything else of the description is given to the program when it starts.
    Raises MissingToolError where the RTL package, Verilator or a C++ compiler is missing.
    """
    tools = _Tools(find_rtl(), find_verilator(cache_folder() / "verilator"), find_compiler())
    models = [_model(model, cluster.fpu_latency, tools) for model in _MODELS]
    sources = [*_SOURCES.glob("*.cpp"), *_SOURCES.glob("*.h")]
    key = digest(
        [
            *(model.name for model in models),
            *tools.versions(),
            *_COMPILE,
            *_OPTIMISE,
            *_text_of(sources),
        ]
    )
    folder = build_once(
        "cluster", key, lambda folder: _build_cluster(models, cluster.fpu_latency, tools, folder)
    )
    return folder / "simulator"
