"""The result of `odl.compile`: a network that can be written, loaded, inspected and checked."""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import nn

from odl.check.report import Report
from odl.check.verify import verify
from odl.codegen.project import write_project
from odl.compiler import Compiled, compile_network
from odl.errors import CompileWarning, in_python
from odl.models import check_weights
from odl.options import Options
from odl.project.manifest import MemoryEntry
from odl.run.arrays import finite, to_array
from odl.run.library import ProjectBuild
from odl.run.load import load_net
from odl.run.net import Net


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
        return {
            name: dataclasses.asdict(MemoryEntry.of(plan))
            for name, plan in self.compiled.network.schedule.memories.items()
        }

    @property
    def unused(self) -> Mapping[str, torch.Tensor]:
        """The module's tensors that its forward pass never reads; the C project has no bytes for them."""
        used = {value.name for value, _ in self.compiled.network.schedule.persistent}
        return {
            name: tensor
            for name, tensor in self.module.state_dict().items()
            if name not in used and name.rpartition(".")[2] != "num_batches_tracked"
        }

    def save(self, directory: str | Path) -> Path:
        """Write the C project."""
        path = Path(directory)
        write_project(self.compiled.network, path)
        self.directory = path
        return path

    def load(self, build: str | None = None, *, vlen: int | None = None) -> Net:
        """The network with the compiled weights; each call gives one with memory of its own.

        `build`: None for the target, on the host its exact build; "exact" or "fast" for the host, whatever the target.
        `vlen`: bits of the device's vector registers, instead of the default.
        """
        if self.directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="odl-")
            self.save(Path(self._temporary.name) / "net")
        assert self.directory is not None
        net = load_net(self.directory, build, vlen=vlen, unused=self.unused)
        net.keep(self._temporary)
        return net

    def verify(
        self,
        *,
        build: str | None = None,
        vlen: int | None = None,
        steps: int = 3,
        accumulated: int = 8,
        seed: int = 0,
    ) -> Report:
        """Check every gradient, updated tensor and statistic against float64 PyTorch (see odl.check.verify).

        On a device every bit is compared with the host's exact build too.
        """
        options = self.compiled.network.options
        net = self.load(build, vlen=vlen)
        return verify(
            net,
            self.module,
            options.optimizer,
            self.compiled.trainable,
            steps=steps,
            accumulated=accumulated,
            seed=seed,
            twin=self.load(ProjectBuild.EXACT) if net.on_device else None,
        )


def compile(
    model: nn.Module,
    example_input: torch.Tensor,
    *,
    name: str | None = None,
    spec: str | None = None,
    calibration: ArrayLike | torch.Tensor | None = None,
    **options: Any,
) -> Build:
    """Compile the training step of a PyTorch module to C.

    Shapes: example_input [N, …]; N is the batch of every call. `spec` is what `odl verify DIR` can make the model from
    again (a zoo name or file.py:factory). `calibration`: inputs [M, …] that the analytic head's features are scaled for
    (`odl.AnalyticHead`). `options` are the fields of `odl.Options`. Raises InputError naming what is
    not supported and where, and for a name that is no option. A CompileWarning says what fp16 is likely to lose.
    """
    chosen = Options.of(options)
    if isinstance(model, nn.Module):
        check_weights(model)
    data = None if calibration is None else finite(to_array(calibration, "calibration"), "calibration")
    compiled = compile_network(
        model, example_input, name or type(model).__name__, chosen, spec, calibration=data
    )
    for warning in compiled.warnings:
        warnings.warn(in_python(warning), CompileWarning, stacklevel=2)
    return Build(compiled)


def _signature(function: Callable[..., Build]) -> inspect.Signature:
    """The function's signature with every field of `Options` in place of all of them together, for help and editors."""
    own = [
        item for item in inspect.signature(function).parameters.values() if item.kind is not item.VAR_KEYWORD
    ]
    options = inspect.signature(Options).parameters.values()
    return inspect.Signature([*own, *(item.replace(kind=item.KEYWORD_ONLY) for item in options)])


compile.__signature__ = _signature(compile)  # type: ignore[attr-defined]

__all__ = ["Build", "compile"]
