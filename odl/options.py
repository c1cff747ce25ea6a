"""What a compilation depends on besides the model: one frozen value, the same for Python and the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from odl.errors import InputError
from odl.optimizers.base import Optimizer
from odl.optimizers.sgd import SGD
from odl.precision import Precision
from odl.targets.description import TARGETS, TargetDescription

BATCH_NORM_MODES = ("fold", "frozen", "train")
LOSSES = ("cross_entropy", "mse")
#: Who supplies barrier, transfers and sections: the target's own runtime, or whoever takes the C along.
RUNTIMES = ("own", "none")
DEFAULT_OPTIMIZER: Optimizer = SGD()


@dataclass(frozen=True)
class Options:
    """All options of `odl compile`; the names are the command line's.

    loss_scale: initial scale of the gradients; None is 1 in fp32, a constant 128 in fp16, and in mixed precision
    1024, which then grows and shrinks by itself. memory, l1, l2: bytes that tensors may take in the one memory of the
    host, or in the two of a cluster; None for no limit, or for what the target has. cores: None for the target's. isa:
    one of the target's instruction sets, None for its first. runtime: "none" leaves out the target's own runtime and
    writes down what a port must supply in its place.
    """

    target: str = "host"
    dtype: Precision = Precision.MIXED
    cores: int | None = None
    memory: int | None = None
    l1: int | None = None
    l2: int | None = None
    update: str = "full"
    bn: str = "fold"
    optimizer: Optimizer = DEFAULT_OPTIMIZER
    loss: str = "cross_entropy"
    accumulate: bool = False
    loss_scale: float | None = None
    isa: str | None = None
    runtime: str = "own"

    def __post_init__(self) -> None:
        """Check every field; InputError names the option, the value and what is possible."""
        _one_of("--target", self.target, tuple(TARGETS))
        _one_of("--runtime", self.runtime, RUNTIMES)
        self._check_isa()
        _one_of("--bn", self.bn, BATCH_NORM_MODES)
        _one_of("--loss", self.loss, LOSSES)
        most = self.description.most_cores
        if not 1 <= self.core_count <= most:
            raise InputError(f"--cores {self.cores}: must be between 1 and {most}")
        self._check_memories()
        if self.loss_scale is not None and not 1.0 <= self.loss_scale <= 65536.0:
            raise InputError(f"--loss-scale {self.loss_scale}: must be between 1 and 65536")

    def _check_isa(self) -> None:
        choice = tuple(isa.name for isa in TARGETS[self.target].isas)
        if self.isa is not None and not choice:
            raise InputError(
                f"--isa {self.isa}: target {self.target} has one instruction set; leave --isa out"
            )
        if self.isa is not None:
            _one_of("--isa", self.isa, choice)

    def _check_memories(self) -> None:
        for option, size in (("--memory", self.memory), ("--l1", self.l1), ("--l2", self.l2)):
            if size is not None and size <= 0:
                raise InputError(f"{option} {size}: must be a positive number of bytes")
        if self.description.clustered and self.memory is not None:
            raise InputError(f"--memory is the host's; target {self.target} has two memories: --l1, --l2")
        if not self.description.clustered and (self.l1 is not None or self.l2 is not None):
            raise InputError(f"target {self.target} has one memory: use --memory instead of --l1 and --l2")

    @property
    def description(self) -> TargetDescription:
        """The target's description, with the instruction set that was chosen."""
        return TARGETS[self.target].with_isa(self.isa)

    @property
    def on_device(self) -> bool:
        """Whether odl runs the project on a target other than this machine."""
        return not self.description.is_host and self.runtime == "own"

    @property
    def core_count(self) -> int:
        """Cores that share the work."""
        return self.description.cores if self.cores is None else self.cores

    @property
    def arena_capacity(self) -> int | None:
        """Bytes that the arena may take."""
        if not self.description.clustered:
            return self.memory
        return self.description.tensor_l2 if self.l2 is None else self.l2

    @property
    def local_capacity(self) -> int | None:
        """Bytes that tensors may take in the memory beside the cores; None where there is none."""
        if not self.description.clustered or self.l1 is not None:
            return self.l1
        return self.description.tensor_l1(self.core_count)

    @property
    def initial_loss_scale(self) -> float:
        """The factor that the loss's gradient starts with."""
        if self.loss_scale is not None:
            return self.loss_scale
        return {Precision.FP32: 1.0, Precision.FP16: 128.0, Precision.MIXED: 1024.0}[self.dtype]


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{option} {value}: must be one of {', '.join(allowed)}")


def parse_size(text: str) -> int:
    """Bytes of a size such as 65536, 64K, 64KiB, 1.5M; InputError otherwise. K and M are 1024 and 1024²."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKmM]?)(?:i?[bB])?\s*", text)
    if match is None:
        raise InputError(f"'{text}' is not a size; write for example 131072, 128K or 1.5M")
    factor = {"": 1, "k": 1024, "m": 1024**2}[match[2].lower()]
    return int(float(match[1]) * factor)


def parse_precision(text: str) -> Precision:
    """The precision called fp32, fp16 or mixed; InputError otherwise."""
    _one_of("--dtype", text, tuple(item.value for item in Precision))
    return Precision(text)
