"""What the C templates see of a network: one typed value, whose fields are their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from odl.codegen.documentation import declared
from odl.codegen.kernels import KernelSet, environment
from odl.codegen.layers import named
from odl.codegen.memory_map import BUFFER_BYTES, Section, kept, sections, table
from odl.codegen.names import comment_text, float_literal, string_literal
from odl.codegen.origin import made_by
from odl.codegen.programs import ShapeSet, kernel_calls, program_text, serving_functions
from odl.codegen.staged import staged_text
from odl.codegen.state import StateText, format_names, state_text
from odl.codegen.texts import C_TYPES, ProgramText, ShapeText
from odl.graph.ir import DType, Graph, Role, Value
from odl.learners import Learner
from odl.learners.dampening import Dampening
from odl.optimizers.base import RunTimeScalar
from odl.plan.incoming import Incoming, incoming
from odl.plan.program import PlannedProgram
from odl.plan.staging import AHEAD
from odl.project.entry_point import ARENA, EntryPoint
from odl.project.entry_points import (
    ENTRY_POINTS,
    NUMBERED,
    device_variables,
    enumerators,
    existing,
    functions,
)
from odl.project.entry_points.learn import keeps_samples
from odl.project.entry_points.log import LOG
from odl.project.entry_points.state import STORAGE_FUNCTIONS
from odl.project.layout import to_memory
from odl.project.network import Network
from odl.project.programs import REFRESH, SKIP, Program
from odl.project.status import TARGET_TOLERANCE, Status, declaration

#: Bits of the largest numbers: in fp32, in fp16, and in fp32 of those that fp16 rounds to its largest.
_LARGEST_FLOAT, _LARGEST_HALF, _LARGEST_TO_HALF = 0x7F7FFFFF, 0x7BFF, 0x477FEFFF
_LARGEST = {DType.F32: _LARGEST_FLOAT, DType.F16: _LARGEST_HALF}


@dataclass(frozen=True)
class Address:
    """A tensor in the arena: bytes from its start, type of the elements, and what C calls that."""

    offset: int
    dtype: DType

    @property
    def c_type(self) -> str:
        """The C type of an element."""
        return C_TYPES[self.dtype]


@dataclass(frozen=True)
class Record(Address):
    """The same of what a learning primitive keeps, with its bytes."""

    bytes: int


@dataclass(frozen=True)
class Interface:
    """What a program takes in and gives: addresses of the values that it has, None for others."""

    x: Address | None
    target: Address | None
    sample_weight: Address | None
    result: Address | None


@dataclass(frozen=True)
class InitialTensor:
    """A tensor that starts as compiled: its bytes go from `source` in the initial image to `offset` in the arena.

    `largest`: the bits of the largest number that it may hold, of a half where they are below 0x8000.
    """

    name: str
    offset: int
    bytes: int
    source: int
    largest: int


@dataclass(frozen=True)
class Stretch:
    """A tensor's bytes in the arena."""

    name: str
    offset: int
    bytes: int


@dataclass(frozen=True)
class ScalarText:
    """A run-time scalar in C; the init function sets all to zero before it gives them their initial values."""

    name: str
    comment: str
    initial: str
    advance: str


@dataclass(frozen=True)
class NetContext:
    """Everything that the header, the source, device.c and the entry points' C text say of a network.

    Sizes count floats, `…_bytes` bytes, numbers with `_text` are for comments. `io` gives each program's interface by the
    program's name, `served_by` the name of the program whose function runs it. `moving`: programs that read what training
    changes.
    """

    prefix: str
    made_by: str
    title: str
    precision: str
    optimizer: str
    arena_bytes: int
    persistent_bytes: int
    state: StateText
    state_bytes: int
    l1_bytes: int
    clustered: bool
    marked: bool
    accumulate: bool
    deferred: bool
    dynamic_scale: bool
    cross_entropy: bool
    has_refresh: bool
    has_skip: bool
    several_targets: bool
    incoming: Incoming | None
    ahead: int
    strided: frozenset[str]
    input_size: int
    input_shape: str
    output_size: int
    output_shape: str
    batch: int
    learning_rate_text: str
    scalars: Sequence[ScalarText]
    shapes: Sequence[ShapeText]
    sections: Sequence[Section]
    kept_text: str
    programs: Sequence[ProgramText]
    served_by: Mapping[str, str]
    io: Mapping[str, Interface]
    initial: Sequence[InitialTensor]
    half_input: bool
    learners: Mapping[str, Learner]
    records: Mapping[str, Record]
    rewound: Sequence[Stretch]
    statuses: Mapping[str, str]
    moving: frozenset[str]
    target_tolerance: str = float_literal(TARGET_TOLERANCE)

    @property
    def input_text(self) -> str:
        """What a call's input is, for a comment."""
        range_ = "finite, and below 65520 in magnitude" if self.half_input else "finite"
        place = ", in L2 where the DMA engine reads them" if self.clustered else ""
        return f"{self.macros}_INPUT_SIZE floats, {self.input_shape}, {range_}{place}"

    @property
    def target_text(self) -> str:
        """What a training step's target is, for a comment."""
        if self.cross_entropy:
            return (
                f"class probabilities, {self.output_shape}, none negative, of sum 1 in each sample (to "
                f"{TARGET_TOLERANCE:g}); "
                "a hard label is one 1 among zeros"
            )
        return f"the wanted output: {self.macros}_TARGET_SIZE floats, {self.output_shape}, finite"

    @property
    def classes(self) -> int:
        """Numbers of the output for one sample."""
        return self.output_size // self.batch

    @property
    def macros(self) -> str:
        """The prefix of macros."""
        return self.prefix.upper()

    def names(self) -> dict[str, Any]:
        """The fields by name, for a template."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {
            "PREFIX": self.macros,
            "format": format_names(),
            "input_text": self.input_text,
            "target_text": self.target_text,
            "classes": self.classes,
            "keeps_samples": "log" in self.learners or "replay" in self.learners,
            "unsaved_words": sorted(
                ({item.name for item in self.scalars} | {item.name for item in self.state.counters})
                - {word.name for word in self.state.words}
            ),
            "buffer_bytes": BUFFER_BYTES,
            "memory_table": table(self.prefix, self.sections),
            "own_records": self.own_records,
        }

    def own_records(self, begin: str) -> dict[str, Record]:
        """The records whose names begin so, by the rest of their names."""
        found = {name.removeprefix(begin): item for name, item in self.records.items()}
        return {name: item for name, item in found.items() if begin + name in self.records}


def net_context(
    network: Network, kernels: KernelSet, initial: Sequence[InitialTensor], image_bytes: int
) -> NetContext:
    """The context of a network whose kernels are named and whose initial tensors have their places in an image."""
    options, schedule = network.options, network.schedule
    calls = kernel_calls(list(schedule.programs.values()))
    shapes = ShapeSet(calls)
    programs = [
        (program_text if planned.staging is None else staged_text)(index, program, planned, kernels, shapes)
        for index, (program, planned) in enumerate(schedule.programs.items())
    ]
    served_by = serving_functions(programs)
    serving = [item for item in programs if served_by[item.name] == item.name]
    taken = {*(kernels.name(call) for call in calls), *(f"{network.prefix}_{name}" for name in ENTRY_POINTS)}
    scalars = options.optimizer.scalars(options.initial_loss_scale)
    local = schedule.local
    state = state_text(network)
    log = schedule.programs.get(LOG)
    own_records = () if log is None else log.graph.values
    return NetContext(
        prefix=network.prefix,
        made_by=comment_text(made_by(network)),
        title=comment_text(network.name),
        precision=str(options.dtype),
        optimizer=options.optimizer.title,
        arena_bytes=schedule.memory.arena_bytes,
        persistent_bytes=schedule.memory.persistent_bytes,
        state=state,
        state_bytes=state.bytes,
        l1_bytes=0 if local is None else local.arena_bytes,
        clustered=local is not None,
        marked=options.on_device or options.runtime == "none",
        accumulate=options.accumulate,
        deferred=network.deferred,
        dynamic_scale=options.loss_scale_adapts,
        cross_entropy=options.loss == "cross_entropy",
        has_refresh=REFRESH in schedule.programs,
        has_skip=any(program.program == SKIP and program.layers for program in programs),
        several_targets=len([item for item in schedule.programs if Role.TARGET in item.takes]) > 1,
        incoming=None if local is None else incoming(network.input_value, local.arena_bytes),
        ahead=AHEAD,
        strided=frozenset(move.kind for program in programs for move in program.moves if move.line),
        input_size=network.input_value.count,
        input_shape=_shape_text(network.input_value),
        output_size=network.output_value.count,
        output_shape=_shape_text(network.output_value),
        batch=network.batch,
        learning_rate_text=f"{options.optimizer.lr:g}",
        scalars=[_scalar(scalar, network.prefix) for scalar in scalars],
        shapes=shapes.texts(),
        sections=sections(
            network.prefix,
            schedule,
            shapes.texts(),
            len(scalars) + len(state.counters),
            image_bytes,
            pointers=(options.loss == "cross_entropy") + keeps_samples(options) + (log is not None),
            words=(log is not None) + 4 * (options.learner(Dampening) is not None),
        ),
        kept_text=kept(schedule.memory),
        programs=named(serving, network.prefix, taken),
        served_by=served_by,
        io={item.name: _interface(item, planned) for item, planned in schedule.programs.items()},
        initial=initial,
        half_input=network.input_value.dtype is DType.F16,
        learners={item.name: item for item in options.learn},
        records={
            value.name: Record(offset, value.dtype, value.size_bytes)
            for value, offset in schedule.persistent
            if value.role is Role.RECORD
        },
        rewound=[
            Stretch(comment_text(value.name), offset, value.size_bytes)
            for value, offset in sorted(schedule.persistent, key=lambda item: item[0].name)
            if value.role.saved and value.name not in own_records
        ],
        statuses={item.name: string_literal(item.text) for item in declared_statuses(network)},
        moving=frozenset(
            item.name for item, planned in schedule.programs.items() if _moves(network, planned.graph)
        ),
    )


def declared_statuses(network: Network) -> list[Status]:
    """The statuses that a network's header declares."""
    found = existing(network.options, [program.name for program in network.schedule.programs])
    returned = {status for item in found for status in item.statuses}
    return [status for status in Status if status.everywhere or status in returned]


def _moves(network: Network, graph: Graph) -> bool:
    """Whether a graph reads a parameter that is trained, or its working copy."""
    return any(name.removesuffix(".copy") in network.trained for node in graph.nodes for name in node.reads)


def initial_image(network: Network) -> tuple[bytes, list[InitialTensor]]:
    """Parameters and statistics one after another, and where each goes in the arena."""
    image = b""
    tensors: list[InitialTensor] = []
    persistent = {value.name for value, _ in network.schedule.persistent}
    for value, offset in network.schedule.persistent:
        if not value.role.of_model:
            continue
        data = to_memory(value, network.initial[value.name])
        largest = _LARGEST_TO_HALF if f"{value.name}.copy" in persistent else _LARGEST[value.dtype]
        tensors.append(InitialTensor(comment_text(value.name), offset, len(data), len(image), largest))
        image += data + b"\0" * (-len(data) % 4)
    return image, tensors


@dataclass(frozen=True)
class EntryPointTexts:
    """C text of a project's entry points: in the headers, in the source, and in device.c.

    The interface's header has declarations before and behind the arena, that of saved states has `storage`.
    """

    before_arena: Sequence[str]
    behind_arena: Sequence[str]
    storage: Sequence[str]
    functions: Sequence[str]
    enumerators: Sequence[str]
    status: str
    cases: Mapping[str, str]
    variables: Sequence[str]


def entry_point_texts(network: Network, context: NetContext) -> EntryPointTexts:
    """The C text of a network's entry points."""
    options, programs = network.options, [program.name for program in network.schedule.programs]
    names = context.names()

    def render(text: str) -> str:
        return environment("odl.codegen", "templates").from_string(text).render(names)

    def possible(status: Status) -> bool:
        return status is not Status.SCALE_FLOOR or context.dynamic_scale

    found = existing(options, programs)
    return EntryPointTexts(
        [declared(item, render, possible) for item in found if item.header < ARENA],
        [declared(item, render, possible) for item in found if item.header > ARENA],
        [declared(item, render, possible) for item in STORAGE_FUNCTIONS],
        [
            render(item.definition if isinstance(item, EntryPoint) else item.text)
            for item in functions(options, programs)
        ],
        enumerators(found),
        render(declaration(declared_statuses(network))),
        {item.name.upper(): render(item.device_call) for item in NUMBERED.values() if item in found},
        [render(text) for text in device_variables(found)],
    )


def _interface(program: Program, planned: PlannedProgram) -> Interface:
    def address(value: Value | None) -> Address | None:
        if value is None or value.name not in planned.offsets:
            return None
        return Address(planned.offsets[value.name], value.dtype)

    graph = planned.graph
    taken = {role: address(_with_role(graph, role)) for role in program.takes}
    return Interface(
        taken.get(Role.INPUT),
        taken.get(Role.TARGET),
        taken.get(Role.SAMPLE_WEIGHT),
        address(graph.value(graph.outputs[0])) if graph.outputs else None,
    )


def _with_role(graph: Graph, role: Role) -> Value | None:
    return next((value for value in graph.values.values() if value.role is role), None)


def _scalar(scalar: RunTimeScalar, prefix: str) -> ScalarText:
    literals = {name: float_literal(number) for name, number in scalar.numbers.items()}
    return ScalarText(
        scalar.name,
        scalar.comment,
        float_literal(scalar.initial) if scalar.initial else "",
        scalar.advance.format(state=f"{prefix}_state", **literals),
    )


def _shape_text(value: Value) -> str:
    return "x".join(str(value.shape[axis]) for axis in value.layout.permutation(len(value.shape)))
