"""What an entry point of a project is: a C function of its header, and all that C and Python say of it.

C text is Jinja text over the fields of `odl.codegen.context.NetContext`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from odl.graph.ir import Graph, Role, Value
from odl.options import Options
from odl.project.programs import Program
from odl.project.status import Status

#: Where the header declares the arena: entry points that concern it stand behind.
ARENA = 200
#: Where an entry point stands that names no place.
LAST = 1000
#: Numbers of calls below this one stand in every device.c, whether the project has the entry point or not.
ALWAYS_NUMBERED = 5

#: Whether a project with these options and programs, by their names, has a function.
Condition = Callable[[Options, Collection[str]], bool]


def always(options: Options, programs: Collection[str]) -> bool:
    """Every project has it."""
    return True


def where(program: Program) -> Condition:
    """Projects have it that have the program."""
    return lambda options, programs: program.name in programs


class CType(StrEnum):
    """C types of parameters and results."""

    VOID = "void"
    STATUS = "{{ prefix }}_status"
    FLOAT = "float"
    COUNT = "uint32_t"
    FLOATS_IN = "const float *"
    COUNTS_IN = "const uint32_t *"
    FLOATS_OUT = "float *"
    COUNT_OUT = "uint32_t *"
    HASH_OUT = "uint8_t *"
    BYTES_IN = "const void *"
    BYTES_OUT = "void *"
    STORAGE_IN = "const struct {{ prefix }}_storage *"

    def declare(self, name: str) -> str:
        """A declaration of something of this type."""
        return f"{self}{name}" if self.endswith("*") else f"{self} {name}"


class Use(StrEnum):
    """Who may call a function at what time, for the header."""

    ALONE = (
        "Not re-entrant: no other thread and no interrupt may use this network meanwhile. It takes as long as its work: "
        "call it from a task, not from an interrupt."
    )
    ANYWHERE = "Safe in any thread and any interrupt, also while another function of this network runs."


@dataclass(frozen=True)
class Parameter:
    """A parameter. `text`: what it is, in which shape, units and range. `role`: the value that a caller hands in by it.

    `optional`: NULL stands for what is usual. `inside`: its name in the definition, where that is another than in
    the header. `extent`: how many elements device.c's variable for it has, in C, where it has not one without that.
    """

    name: str
    type: CType
    text: str
    role: Role | None = None
    optional: bool = False
    inside: str | None = None
    extent: str | None = None

    @property
    def device_variable(self) -> str:
        """The declaration of the variable of device.c that holds it, or what it points to."""
        element = self.type.removeprefix("const ").removesuffix(" *")
        return f"{element} {{{{ prefix }}}}_{self.name}" + (f"[{self.extent}]" if self.extent else "")

    @property
    def on_device(self) -> str:
        """What device.c passes: the variable that holds what the parameter points to."""
        if self is LOSS:
            return "&{{ prefix }}_request.loss"
        return "weight" if self.optional else f"{{{{ prefix }}}}_{self.name}"


X = Parameter("x", CType.FLOATS_IN, "{{ input_text }}.", Role.INPUT)
TARGET = Parameter("target", CType.FLOATS_IN, "{{ target_text }}.", Role.TARGET)
SAMPLE_WEIGHT = Parameter(
    "sample_weight",
    CType.FLOATS_IN,
    "{{ PREFIX }}_BATCH finite factors on the samples' losses, or NULL for ones. A batch of n samples only trains "
    "with their mean where their factors are {{ PREFIX }}_BATCH / n and those of the rest are 0.",
    Role.SAMPLE_WEIGHT,
    optional=True,
)
LABEL = Parameter(
    "label",
    CType.COUNTS_IN,
    "{{ PREFIX }}_BATCH class numbers, from 0 to {{ classes - 1 }}.",
    Role.TARGET,
)
OUTPUT = Parameter(
    "output",
    CType.FLOATS_OUT,
    "receives {{ PREFIX }}_OUTPUT_SIZE floats, {{ output_shape }}{{ ' (before any softmax)' if cross_entropy }}, "
    "unless the status says that the call was refused.",
)
LOSS = Parameter(
    "loss",
    CType.FLOATS_OUT,
    "receives the sum of the samples' losses times their factors, over {{ PREFIX }}_BATCH, where the step was computed; "
    "may be NULL.",
    optional=True,
)


@dataclass(frozen=True)
class StaticFunction:
    """A static function that entry points share; `text` is all of it. It stands at `source` among the functions."""

    text: str
    exists: Condition
    source: int


@dataclass(frozen=True)
class TrainingPasses:
    """What graphs of extra programs are made from: a step's forward and backward pass before updates join it.

    `kept`: what outlives a call, of the training and of the extra programs that were made before.
    """

    step: Graph
    infer: Graph
    options: Options
    kept: tuple[Value, ...] = ()


@dataclass(frozen=True)
class EntryPoint:
    """A C function that a project offers, `<prefix>_<name>`.

    `comment` says in the header what it does; `statuses` what it can return where that is a status, `result` what
    else; `order` after what it may be called, and `use` by whom. `body`: the function's statements, None where
    another file defines it; `preamble` what stands before the function.
    `runs`: the programs that a call runs when nothing overflows. `number`: its number in device.c, which never changes;
    None where it computes nothing, so that the host does it for a device. `needs`: the option, and its value, that a
    project without it was compiled without. `graphs` makes graphs of programs that no other stage knows.
    `header` and `source`: its places in the header and the source, by number.
    """

    name: str
    comment: str
    body: str | None
    returns: CType = CType.VOID
    parameters: tuple[Parameter, ...] = ()
    statuses: tuple[Status, ...] = ()
    result: str = ""
    order: str = "After {{ prefix }}_init."
    use: Use = Use.ALONE
    exists: Condition = always
    runs: tuple[Program, ...] = ()
    number: int | None = None
    needs: tuple[str, object] | None = None
    graphs: Callable[[TrainingPasses], Mapping[Program, Graph]] | None = None
    preamble: str = ""
    header: int = LAST
    source: int = LAST

    @property
    def function(self) -> str:
        """The C function's name."""
        return f"{{{{ prefix }}}}_{self.name}"

    @property
    def prototype(self) -> str:
        """The C function's declaration without the semicolon."""
        return self._declared([parameter.name for parameter in self.parameters])

    def _declared(self, names: Sequence[str]) -> str:
        parameters = [item.type.declare(name) for item, name in zip(self.parameters, names, strict=True)]
        return f"{self.returns.declare(self.function)}({', '.join(parameters) or 'void'})"

    @property
    def definition(self) -> str:
        """The function as the source has it, a single statement in the same line."""
        assert self.body is not None
        preamble = f"{self.preamble}\n\n" if self.preamble else ""
        head = f"{preamble}{self._declared([item.inside or item.name for item in self.parameters])}"
        if "\n" not in self.body:
            return f"{head} {{ {self.body} }}"
        return f"{head} {{\n{self.body}\n}}"

    @property
    def device_call(self) -> str:
        """The statement by which device.c makes the call."""
        result = "{{ prefix }}_request.status = " if self.returns is CType.STATUS else ""
        return f"{result}{self.function}({', '.join(parameter.on_device for parameter in self.parameters)});"
