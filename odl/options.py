"""What a compilation depends on besides the model: one frozen value, the same for Python and the command line.

Each field of `Options` states all that is to be known of it. From the fields come the keywords of `odl.compile`, the
options of the command line, "options" of manifest.json, and what stays when a project is compiled for another target.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from odl.errors import InputError, option
from odl.learners import LEARN, LEARNERS, Learner
from odl.optimizers import CLASSES, Optimizer, from_manifest
from odl.optimizers.sgd import SGD
from odl.option_kinds import FLAG, PRECISION, PREFIX, SIZE, TEXT, WHOLE, Kind, number, one_of
from odl.precision import Precision
from odl.targets import HOST, TARGETS, Target


def _optimizer(value: object) -> Optimizer:
    if isinstance(value, Mapping):
        return from_manifest(value)
    if isinstance(value, Optimizer):
        return value
    raise ValueError(f"must be {_OPTIMIZERS}")


_OPTIMIZERS = " or ".join(f"odl.{name}(…)" for name in CLASSES)
OPTIMIZER = Kind(_optimizer, write=Optimizer.manifest)


#: The targets that have several instruction sets, with these.
_ISAS = "; ".join(
    f"target {target.name} {', '.join(f'{isa.name} ({isa.title})' for isa in target.instruction_sets)}"
    for target in TARGETS.values()
    if target.isas
)


Primitive = TypeVar("Primitive", bound=Learner)


@dataclass(frozen=True)
class Facts:
    """What is to be known of an option besides its name and default.

    `of_target`: it says where a network runs, not what is computed. `recorded`: what manifest.json holds, where the value
    itself may leave that to the target. `later`: format 1 of the manifest lacks it, so that a
    default is left out.
    """

    kind: Kind[Any]
    help: str
    of_target: bool = False
    recorded: Callable[[Options], object] | None = None
    later: bool = False


def option_field(
    default: Any,
    kind: Kind[Any],
    help: str,
    *,
    of_target: bool = False,
    recorded: Callable[[Options], object] | None = None,
    later: bool = False,
) -> Any:
    """A field of `Options` with its default and its `Facts`."""
    return field(default=default, metadata={Facts: Facts(kind, help, of_target, recorded, later)})


@dataclass(frozen=True)
class Options:
    """All options of a compilation, in the order of manifest.json.

    InputError names the option, the value and what it may be.
    """

    target: str = option_field(
        HOST.name, one_of(*TARGETS), f"Where the project runs: {', '.join(TARGETS)}.", of_target=True
    )
    isa: str | None = option_field(
        None,
        TEXT,
        f"Instruction set, the first by default: {_ISAS}.",
        of_target=True,
        recorded=lambda options: options.description.instruction_set.name,
    )
    runtime: str = option_field(
        "own",
        one_of("own", "none"),
        "none: leave out the target's runtime and write down what a port to your own must supply (docs/porting.md).",
        of_target=True,
    )
    dtype: Precision = option_field(
        Precision.MIXED, PRECISION, "fp32, fp16, or mixed: fp16 storage, fp32 sums and master weights."
    )
    cores: int | None = option_field(
        None,
        WHOLE,
        f"Cores that share the work; if not given {', '.join(f'{t.name} {t.cores}' for t in TARGETS.values())}.",
        of_target=True,
        recorded=lambda options: options.core_count,
    )
    memory: int | None = option_field(
        None, SIZE, "Budget for the host's memory, such as 256K; exceeding it is an error.", of_target=True
    )
    l1: int | None = option_field(
        None, SIZE, "Bytes that tensors may take beside a cluster's cores, such as 64K.", of_target=True
    )
    l2: int | None = option_field(
        None, SIZE, "Bytes that tensors may take in a cluster's large memory.", of_target=True
    )
    update: str = option_field(
        "full", TEXT, "What is trained: full, last:N (layers), bias, or globs: 'head.*,*.bias'."
    )
    bn: str = option_field(
        "fold",
        one_of("fold", "frozen", "train"),
        "Batch norm: fold (into the layer before), frozen, or train.",
    )
    loss: str = option_field(
        "cross_entropy",
        one_of("cross_entropy", "mse"),
        "cross_entropy or mse; the zoo model's own, else cross_entropy.",
    )
    accumulate: bool = option_field(
        False, FLAG, "Keep gradient buffers: accumulate over calls, apply when told."
    )
    loss_scale: float | None = option_field(
        None,
        number(1.0, 65536.0),
        "Initial loss scale; 1 in fp32, 128 in fp16, in mixed 1024 or what the gradients need.",
    )
    optimizer: Optimizer = option_field(SGD(), OPTIMIZER, f"{_OPTIMIZERS}.")
    learn: tuple[Learner, ...] = option_field(
        (),
        LEARN,
        f"What else the project does: {'; '.join(f'{name} ({kind.text})' for name, kind in LEARNERS.items())}.",
        later=True,
    )
    prefix: str | None = option_field(
        None,
        PREFIX,
        "What the C names and files begin with, such as kws; if not given, from the model's name.",
        later=True,
    )

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Options:
        """The options with these values; InputError for a name that is none, naming the nearest."""
        for name in values:
            if name not in FACTS:
                near = difflib.get_close_matches(name, FACTS, 1, cutoff=0.0)[0]
                raise InputError(
                    f"there is no option '{name}', the nearest is {option(near)}; all: {', '.join(FACTS)}"
                )
        return cls(**values)  # type: ignore[arg-type]  # every value is checked and converted by __post_init__

    def __post_init__(self) -> None:
        """Read every field, then check them together."""
        for name, facts in FACTS.items():
            object.__setattr__(self, name, _read(name, facts, getattr(self, name)))
        self._check_isa()
        most = self.description.most_cores
        if not 1 <= self.core_count <= most:
            raise InputError(f"{option('cores', self.cores)}: must be between 1 and {most}")
        self._check_memories()

    def _check_isa(self) -> None:
        choice = TARGETS[self.target].isas
        if self.isa is not None and self.isa not in choice:
            reason = f"must be one of {', '.join(choice)}"
            if not choice:
                reason = f"target {self.target} has one instruction set; leave {option('isa')} out"
            raise InputError(f"{option('isa', self.isa)}: {reason}")

    def _check_memories(self) -> None:
        if self.description.clustered and self.memory is not None:
            raise InputError(
                f"{option('memory')} is the host's; target {self.target} has two memories: "
                f"{option('l1')}, {option('l2')}"
            )
        if not self.description.clustered and (self.l1 is not None or self.l2 is not None):
            raise InputError(
                f"target {self.target} has one memory: use {option('memory')} instead of {option('l1')} and {option('l2')}"
            )

    def on_target(self, target: str, isa: str | None = None) -> Options:
        """The same training on a target, with all else that says where it runs as that target has it."""
        kept = {name: getattr(self, name) for name, facts in FACTS.items() if not facts.of_target}
        return Options(target=target, isa=isa, **kept)

    def as_json(self) -> dict[str, object]:
        """The options as manifest.json holds them: what the target decided is written out."""
        found: dict[str, object] = {}
        for name, facts in FACTS.items():
            value = getattr(self, name) if facts.recorded is None else facts.recorded(self)
            if facts.later and value == DEFAULTS[name]:
                continue
            found[name] = None if value is None else facts.kind.write(value)
        return found

    @property
    def description(self) -> Target:
        """The target's description, with the instruction set that was chosen."""
        return TARGETS[self.target].with_isa(self.isa)

    def learner(self, kind: type[Primitive]) -> Primitive | None:
        """The learning primitive of that kind, where the project has it."""
        return next((item for item in self.learn if isinstance(item, kind)), None)

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
        return self.description.arena.for_tensors(self.core_count) if self.l2 is None else self.l2

    @property
    def local_capacity(self) -> int | None:
        """Bytes that tensors may take in the memory beside the cores; None where there is none."""
        local = self.description.local
        return self.l1 if local is None or self.l1 is not None else local.for_tensors(self.core_count)

    @property
    def loss_scale_adapts(self) -> bool:
        """Whether the loss scale is part of the training's state; else it stays as it was compiled."""
        return self.dtype.scales

    @property
    def initial_loss_scale(self) -> float:
        """The factor that the loss's gradient starts with."""
        if self.loss_scale is not None:
            return self.loss_scale
        return {Precision.FP32: 1.0, Precision.FP16: 128.0, Precision.MIXED: 1024.0}[self.dtype]


def _read(name: str, facts: Facts, value: object) -> object:
    """The value of an option; None stays where the option may be left to the target."""
    if value is None and DEFAULTS[name] is None:
        return None
    try:
        return facts.kind.read(value)
    except ValueError as error:
        raise InputError(f"{option(name, value)}: {error}") from None
    except InputError as error:
        raise InputError(f"{option(name)}: {error.message}") from None


#: Every option's facts and default, in the order of the fields.
FACTS: Mapping[str, Facts] = {item.name: item.metadata[Facts] for item in fields(Options)}
DEFAULTS: Mapping[str, Any] = {item.name: item.default for item in fields(Options)}
Options.__doc__ = "\n\n".join(
    (f"{Options.__doc__}", *(f"{name}: {facts.help}" for name, facts in FACTS.items()))
)
