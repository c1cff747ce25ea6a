"""What outlives a call of a network, registered once: who saves, restores or resets training state goes by it.

Tensors are the values whose role is saved, and with accumulation the gradients that wait. Words are the optimizer's
run-time scalars and the counters here. What is added to either is saved and restored, in C and in Python, without a line
elsewhere.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from odl.errors import InputError
from odl.graph.ir import Graph, Role, Value
from odl.learners import Learner
from odl.learners.dampening import Dampening
from odl.learners.importance import Importance
from odl.learners.log import Log
from odl.learners.replay import Replay
from odl.learners.watch import Watch
from odl.optimizers.base import Optimizer, Restored, RunTimeScalar
from odl.options import Options
from odl.plan.program import Schedule
from odl.project.programs import APPLY
from odl.project.state_format import NO_ID, WORD, WORDS_ID, Meaning, identifier


@dataclass(frozen=True)
class Counter:
    """A word of the training state that counts, or with `counts` False a float; it starts at zero.

    `restored`: into which networks a saved one is taken. `learner`: the learning primitive that it belongs to, whose
    settings the networks have to share; None: every network's.
    """

    name: str
    comment: str
    restored: Restored = Restored.ALWAYS
    learner: type[Learner] | None = None
    counts: bool = True


#: All counters, in the order of `struct <prefix>_state`, where they stand behind the run-time scalars.
_COUNTERS = (
    Counter("steps", "since the start of the training"),
    Counter("accumulated", "steps whose gradients are waiting"),
    Counter("good_steps", "since the loss scale last changed", Restored.SAME_NUMBERS),
    Counter("skipped_steps", ""),
    Counter("overflow", "whether a step since the last update overflowed"),
    Counter("log_count", "steps in the log", learner=Log),
    Counter("importance_count", "samples in the sums of squared gradients", learner=Importance),
    Counter("reference_count", "samples in the reference", learner=Dampening),
    Counter("replay_count", "samples in the replay buffer", learner=Replay),
    Counter("running_loss", "mean over the latest steps", learner=Watch, counts=False),
    Counter("watched_steps", "that it is of", learner=Watch),
    Counter("running_entropy", "of the latest outputs", Restored.NEVER, learner=Watch, counts=False),
    Counter("watched_outputs", "that it is of", Restored.NEVER, learner=Watch),
    Counter("replay_draws", "random numbers drawn", learner=Replay),
)


def counters(options: Options) -> tuple[Counter, ...]:
    """The counters of a network."""
    return tuple(
        item for item in _COUNTERS if item.learner is None or options.learner(item.learner) is not None
    )


#: Roles of tensors without which a training cannot go on. What else is saved only adds up over calls.
NEEDED = frozenset({Role.PARAMETER, Role.STATISTIC, Role.OPTIMIZER})


@dataclass(frozen=True)
class SavedTensor:
    """A tensor of a saved state.

    `needed`: every state of the network has it, and NaN and infinity in it are refused; another starts at zero where a
    state lacks it. `waits`: it is a gradient that waits for an update.
    """

    id: int
    value: Value

    @property
    def needed(self) -> bool:
        """Whether every state of the network has it, in finite numbers."""
        return self.value.role in NEEDED

    @property
    def waits(self) -> bool:
        """Whether it is a gradient that waits for an update."""
        return self.value.role is Role.PARAMETER_GRADIENT


@dataclass(frozen=True)
class SavedWord:
    """A 32-bit word of a saved state, by its name in `struct <prefix>_state`: a counter, or else a float.

    `initial` is what it starts with.
    """

    id: int
    name: str
    initial: float
    counts: bool

    def to_bits(self, number: float) -> int:
        """The number as it is stored."""
        return int(number) if self.counts else int(struct.unpack("<I", struct.pack("<f", number))[0])

    def from_bits(self, bits: int) -> float | int:
        """The number that is stored."""
        return bits if self.counts else float(struct.unpack("<f", struct.pack("<I", bits))[0])


def saved_offsets(schedule: Schedule, options: Options) -> dict[str, int]:
    """Where the values of a network that are saved lie in the arena, by name."""
    found = {value.name: offset for value, offset in schedule.persistent if value.role.saved}
    if options.accumulate:
        program = schedule.programs[APPLY]
        found |= {value.name: program.offsets[value.name] for value in waiting_gradients(schedule, options)}
    return found


def waiting_gradients(schedule: Schedule, options: Options) -> tuple[Value, ...]:
    """The gradients that outlive a call because they wait for an update."""
    if not options.accumulate:
        return ()
    values = schedule.programs[APPLY].graph.values.values()
    return tuple(value for value in values if value.role is Role.PARAMETER_GRADIENT)


def saved_tensors(values: Iterable[Value], options: Options) -> tuple[SavedTensor, ...]:
    """The tensors of a network's saved state, by ascending id; `values` may hold others too."""
    saved = [item for item in values if item.role.saved or item.role is Role.PARAMETER_GRADIENT]
    tensors = [SavedTensor(_tensor_id(item, options), item) for item in saved]
    return tuple(sorted(_distinct(tensors), key=lambda item: item.id))


def _tensor_id(value: Value, options: Options) -> int:
    """Gradients that wait are of one kind of numbers and of one loss scale, a primitive's own records of its settings too.

    All else is itself in every network.
    """
    numbers = _numbers(options) if value.role is Role.PARAMETER_GRADIENT else ""
    for learner in options.learn:
        own = value.role is Role.RECORD and value.name.startswith((f"{learner.name}.", f"{learner.name}:"))
        if own:
            numbers = _of_learner(learner, options)
    return identifier("tensor", value.role, value.name, *value.shape, numbers)


def saved_words(options: Options) -> tuple[SavedWord, ...]:
    """The words of a network's saved state, by ascending id."""
    scalars = options.optimizer.scalars(options.initial_loss_scale)
    found = [
        SavedWord(_word_id(item, options), item.name, item.initial, counts=False)
        for item in scalars
        if item.restored is not Restored.NEVER
    ]
    found += [
        SavedWord(_word_id(item, options), item.name, 0, item.counts)
        for item in counters(options)
        if item.restored is not Restored.NEVER
    ]
    return tuple(sorted(found, key=lambda item: item.id))


def _word_id(item: RunTimeScalar | Counter, options: Options) -> int:
    numbers = _numbers(options) if item.restored is Restored.SAME_NUMBERS else ""
    if isinstance(item, Counter) and item.learner is not None:
        learner = options.learner(item.learner)
        numbers += "" if learner is None else _of_learner(learner, options)
    return identifier("word", item.name, numbers)


def _numbers(options: Options) -> str:
    """What a loss scale is good for: the formats of numbers, and where it does not adapt itself, its value."""
    fixed = "" if options.loss_scale_adapts else f"{options.initial_loss_scale:g}"
    return f"{options.dtype} {fixed}"


def _of_learner(learner: Learner, options: Options) -> str:
    """What a primitive's records are good for: its settings, and the arithmetic in which they were made."""
    isa = options.description.instruction_set
    return f"{learner} {options.dtype} {isa.lanes_f16} {isa.lanes_f32}"


def _distinct(tensors: list[SavedTensor]) -> Iterator[SavedTensor]:
    """The tensors; InputError where two of them have one id, which one in some hundred thousand networks has."""
    names = {WORDS_ID: "the counters", NO_ID: "none"}
    for item in tensors:
        if item.id in names:
            raise InputError(
                f"'{item.value.name}' and {names[item.id]} have one id in saved states; give the parameter another name"
            )
        names[item.id] = f"'{item.value.name}'"
        yield item


# ---------------------------------------------------------------------------------------------------- meaning
def meaning(inference: Graph, trained: tuple[str, ...], options: Options) -> Meaning:
    """What a training means. `inference`: the traced graph, before any pass; `trained`: names of the trained parameters."""
    kept = [value.name for value in inference.values.values() if value.role is Role.STATISTIC]
    statistics = kept if options.bn == "train" else ()
    return Meaning(
        identifier("network", *_described(inference)),
        identifier("loss", options.loss),
        identifier("trained", *sorted((*trained, *statistics))),
        identifier("optimizer", *_constants(options.optimizer)),
    )


def _constants(optimizer: Optimizer) -> Iterator[str]:
    """An optimizer's name and fields, without those that a new build may change."""
    free = {scalar.field for scalar in optimizer.scalars(1.0)}
    yield optimizer.name
    for name, value in optimizer.manifest().items():
        if name not in free and name != "name":
            yield f"{name}={value!r}"


def _described(graph: Graph) -> Iterator[str]:
    """A graph's lines: what is stored by its name, what is computed by its number, shapes without the batch axis."""
    batch = next(value.shape[0] for value in graph.values.values() if value.role is Role.INPUT)
    numbers: dict[str, str] = {}

    def sizes(name: str) -> str:
        value = graph.value(name)
        stored = value.role.of_model or value.shape[:1] != (batch,)
        return "x".join(str(size) for size in (value.shape if stored else value.shape[1:]))

    def text(name: str) -> str:
        own = graph.value(name).role.of_model
        return f"{name if own else numbers.setdefault(name, f'%{len(numbers)}')}[{sizes(name)}]"

    for node in graph.nodes:
        operator = node.operator
        settings = {} if operator.is_view else _settings(operator)
        read = " ".join(f"{name}={text(value)}" for name, value in node.inputs.items())
        made = " ".join(f"{name}={text(value)}" for name, value in node.outputs.items())
        yield f"{type(operator).__name__} {settings} {read} -> {made}"
    yield " ".join(text(name) for name in graph.outputs)


def _settings(operator: object) -> dict[str, object]:
    """An operator's settings that differ from their defaults."""
    return {
        item.name: getattr(operator, item.name)
        for item in dataclasses.fields(operator)  # type: ignore[arg-type]
        if item.default is dataclasses.MISSING or getattr(operator, item.name) != item.default
    }


def struct_bytes(options: Options) -> int:
    """Bytes of `struct <prefix>_state`: run-time scalars, then counters."""
    return WORD * (len(options.optimizer.scalars(options.initial_loss_scale)) + len(counters(options)))


def changeable(options: Options) -> tuple[str, ...]:
    """The optimizer's fields that a new build may change: a saved state neither holds them nor depends on them."""
    scalars = options.optimizer.scalars(options.initial_loss_scale)
    return tuple(scalar.field for scalar in scalars if scalar.field)
