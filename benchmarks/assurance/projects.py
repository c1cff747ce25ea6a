"""The projects that are looked at: the zoo in every precision on the host and on the cluster, and others with options."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import torch

import odl
from benchmarks.assurance.tools import run
from odl.models import resolve
from odl.project.manifest import read_manifest
from odl.run.library import ProjectBuild, build_plan
from odl.targets.common.toolchain import find_toolchain
from odl.zoo import MODELS

TARGETS = ("host", "cv32e40p")
PRECISIONS = ("fp32", "fp16", "mixed")
#: The cluster's L2 does not hold these networks while all their weights are trained.
_TO_FIT: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("autoencoder", "cv32e40p"): {"update": "bias"},
    ("mobilenetv1", "cv32e40p"): {"update": "last:4"},
}
#: What other options add to the C, by a word for it.
_VARIATIONS: Mapping[str, Mapping[str, Any]] = {
    "momentum, accumulating": {"optimizer": odl.SGD(lr=0.01, momentum=0.9), "accumulate": True},
    "adam, bn train": {"optimizer": odl.Adam(), "bn": "train"},
    "rmsprop, bn frozen": {"optimizer": odl.RMSprop(), "bn": "frozen"},
}


#: Options of a small network, which trains in seconds everywhere, by a word for them.
_SMALL: Mapping[str, Mapping[str, Any]] = {
    "adamw, accumulating": {"dtype": "fp16", "optimizer": odl.AdamW(), "accumulate": True},
    "rmsprop, decay, bias": {"dtype": "fp32", "optimizer": odl.RMSprop(weight_decay=0.01), "update": "bias"},
    "momentum, last layer": {"dtype": "fp16", "optimizer": odl.SGD(momentum=0.9), "update": "last:1"},
    "squared error": {"dtype": "fp32", "loss": "mse", "accumulate": True},
    "importance": {"dtype": "mixed", "learn": ("importance",)},
    "log, replay, watch, dampening": {
        "dtype": "mixed",
        "learn": (odl.Log(samples=8, states=2), odl.Replay(samples=4), "watch", "importance", "dampening"),
        "accumulate": True,
    },
    "reservoir": {"dtype": "fp16", "learn": odl.Replay(samples=4, eviction="reservoir"), "accumulate": True},
    "analytic head": {"dtype": "mixed", "learn": "head"},
}
#: The small network.
SMALL_MODEL = f"{Path(__file__).with_name('small.py')}:factory"


@dataclass(frozen=True)
class Subject:
    """A model and the options that it is compiled with; `name` is the folder of its project."""

    name: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def project(self, folder: Path) -> Path:
        """Its project in `folder`, compiled unless it is there."""
        directory = folder / self.name
        if not (directory / "manifest.json").is_file():
            torch.manual_seed(0)
            made = resolve(self.model)
            batch = 2 if self.options.get("bn") == "train" else 1
            build = odl.compile(
                made.module,
                made.example(batch),
                **{"loss": made.loss, "name": made.name, "spec": made.spec, **self.options},
            )
            build.save(directory)
        return directory


class Extent(StrEnum):
    """How many projects are looked at: all; of the zoo DS-CNN in every way and others once each; or a few."""

    ALL = "all"
    REPRESENTATIVE = "representative"
    QUICK = "quick"


@dataclass(frozen=True)
class Scope:
    """Which projects are looked at: those of one model where there is one."""

    extent: Extent = Extent.ALL
    model: str | None = None

    @property
    def quick(self) -> bool:
        """Whether it is a small sample of everything."""
        return self.extent is Extent.QUICK

    @property
    def whole(self) -> bool:
        """Whether there is no project that may need a deviation which those that are looked at do not."""
        return self.extent is Extent.ALL and self.model is None

    def subjects(self) -> Iterator[Subject]:
        """The projects; of the quick sample the autoencoder in mixed precision alone, on both targets."""
        for target in TARGETS:
            for model in MODELS:
                if self.model in (None, model):
                    yield from self._of_zoo(target, model)
            if not self.quick and self.model in (None, "dscnn"):
                for name, variation in _VARIATIONS.items():
                    options = {"target": target, "dtype": "mixed", **variation}
                    yield Subject(f"dscnn {target} mixed {name}", "dscnn", options)
            if not self.quick and self.model is None:
                for name, variation in _SMALL.items():
                    options = {"target": target, **variation}
                    yield Subject(f"small {target} {variation['dtype']} {name}", SMALL_MODEL, options)

    def _of_zoo(self, target: str, model: str) -> Iterator[Subject]:
        for dtype in PRECISIONS:
            once = {"autoencoder": "cv32e40p", "resnet8": "host"}.get(model) == target and dtype == "mixed"
            if {
                Extent.ALL: True,
                Extent.REPRESENTATIVE: once or model == "dscnn",
                Extent.QUICK: dtype == "mixed" and model in ("autoencoder", self.model),
            }[self.extent]:
                options = {"target": target, "dtype": dtype, **_TO_FIT.get((model, target), {})}
                yield Subject(f"{model} {target} {dtype}", model, options)


def listed(subjects: Iterable[Subject]) -> str:
    """Their names, those of one model and target together."""
    split = [(name.partition(" "), name) for name in (item.name for item in subjects)]
    groups = groupby(sorted(split), lambda item: (item[0][0], item[0][2].partition(" ")[0]))
    return "; ".join(
        f"{model} {target}: {', '.join(rest[2].removeprefix(target).strip() for rest, _ in found)}"
        for (model, target), found in groups
    )


@dataclass(frozen=True)
class Compilation:
    """How a project's C is compiled for its target, as a product's."""

    directory: Path
    compiler: str
    flags: tuple[str, ...]
    sources: tuple[str, ...]

    @classmethod
    def of(cls, directory: Path) -> Self:
        """As the Makefile of the project says: for its device by clang, or the exact library of this machine by gcc."""
        options = read_manifest(directory).options
        build = ProjectBuild.EXACT if options.description.is_host else ProjectBuild.DEVICE
        plan = build_plan(directory, build)
        compiler = "gcc" if options.description.is_host else find_toolchain().clang
        files = tuple(name for name in plan.sources if name.endswith(".c") and not name.endswith("weights.c"))
        return cls(directory, compiler, tuple(plan.flags), files)

    @property
    def on_host(self) -> bool:
        """Whether it is for this machine."""
        return self.compiler == "gcc"

    @property
    def preprocessor_flags(self) -> list[str]:
        """Definitions, those that the compiler makes for a RISC-V target among them, and folders of headers."""
        given = [flag for flag in self.flags if flag.startswith(("-D", "-I"))]
        made = run([self.compiler, *self.flags, "-dM", "-E", "-x", "c", os.devnull], self.directory).stdout
        return given + [f"-D{name}={value}" for name, value in re.findall(r"#define (__riscv\w*) (.+)", made)]


class Unseen:
    """Leaves out kernels that another project had with the same text and flags: most networks share them."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, ...]] = set()

    def of(self, compilation: Compilation) -> Compilation:
        """The compilation with the files that are new."""
        fresh = []
        for name in compilation.sources:
            text = (compilation.directory / name).read_text(encoding="utf-8")
            key = (name, text, *compilation.flags)
            if not name.startswith(("kernels/", "runtime/")) or key not in self._seen:
                fresh.append(name)
            self._seen.add(key)
        return replace(compilation, sources=tuple(fresh))
