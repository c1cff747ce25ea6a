"""The result of `odl.compile`: a network that can be written, loaded, inspected and checked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from odl.check.verify import Report, verify
from odl.codegen.project import write_project
from odl.compiler import Compiled, compile_network
from odl.options import SGD, Optimizer, Options, parse_precision
from odl.passes.precision import Precision
from odl.plan.report import memory_manifest
from odl.run.library import HostBuild
from odl.run.net import Net

_SGD = SGD()


@dataclass
class Build:
    """A compiled network. `directory` is where its C project lies; a temporary one until `save` is called."""

    compiled: Compiled
    directory: Path | None = None
    _temporary: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @property
    def module(self) -> nn.Module:
        """The PyTorch module that the network computes, with batch norm folded where that was asked for."""
        return self.compiled.module

    @property
    def memory(self) -> Mapping[str, Any]:
        """Bytes per memory and per purpose, as in manifest.json."""
        plan = self.compiled.network.schedule.memory
        return memory_manifest({plan.memory: plan})

    def save(self, directory: str | Path) -> Path:
        """Write the C project."""
        path = Path(directory)
        write_project(self.compiled.network, path)
        self.directory = path
        return path

    def load(self, build: HostBuild | str = HostBuild.EXACT) -> Net:
        """The network with the compiled weights; each call gives one with memory of its own."""
        if self.directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="odl-")
            self.save(Path(self._temporary.name) / "net")
        assert self.directory is not None
        return Net(self.directory, build)

    def verify(
        self, *, build: HostBuild | str = HostBuild.EXACT, steps: int = 3, accumulated: int = 8, seed: int = 0
    ) -> Report:
        """Check every gradient, updated tensor and statistic against float64 PyTorch (see odl.check.verify)."""
        options = self.compiled.network.options
        return verify(
            self.load(build),
            self.module,
            options.optimizer,
            self.compiled.trainable,
            steps=steps,
            accumulated=accumulated,
            seed=seed,
        )


def compile(
    model: nn.Module,
    example_input: torch.Tensor,
    *,
    loss: str = "cross_entropy",
    optimizer: Optimizer = _SGD,
    target: str = "host",
    dtype: str | Precision = Precision.MIXED,
    cores: int = 1,
    memory: int | None = None,
    update: str = "full",
    bn: str = "fold",
    accumulate: bool = False,
    loss_scale: float | None = None,
    name: str | None = None,
    spec: str | None = None,
) -> Build:
    """Compile the training step of a PyTorch module to C.

    Shapes: example_input [N, …]; N is the batch of every call. The options are those of `odl compile`;
    `spec` is what `odl verify DIR` can make the model from again (a zoo name or file.py:factory).
    Raises InputError naming what is not supported and where.
    """
    options = Options(
        target, parse_precision(dtype), cores, memory, update, bn, optimizer, loss, accumulate, loss_scale
    )
    return Build(compile_network(model, example_input, name or type(model).__name__, options, spec))


__all__ = ["Build", "compile"]
