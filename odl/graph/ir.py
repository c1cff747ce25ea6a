"""The graph: values (typed tensors), nodes (one operator each) and the order they run in.

Shapes are PyTorch's (activations N,C,H,W; weights out,in,h,w); `Layout` says how the bytes lie in memory.
Everything is immutable: a pass takes a graph and returns another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from odl.graph.operator import AbstractOperator


class DType(StrEnum):
    """Storage type of a tensor."""

    F16 = "f16"
    F32 = "f32"
    U8 = "u8"

    @property
    def bytes(self) -> int:
        """Bytes of one element."""
        return {"f16": 2, "f32": 4, "u8": 1}[self.value]


class Purpose(StrEnum):
    """What the bytes of a buffer are for, as memory plans and reports sum them up."""

    WEIGHTS = "weights"
    ACTIVATIONS = "activations"
    GRADIENTS = "gradients"
    OPTIMIZER = "optimizer"
    STATISTICS = "statistics"
    INPUTS = "inputs"


@dataclass(frozen=True)
class _Facts:
    purpose: Purpose
    persistent: bool = False
    of_model: bool = False
    from_caller: bool = False
    to_caller: bool = False
    half: bool = False


class Role(StrEnum):
    """What a value is for, and everything that stages decide by it.

    SAVED is what a forward kernel keeps for its gradient besides activations, in a type of its own.
    """

    INPUT = "input", _Facts(Purpose.INPUTS, from_caller=True, half=True)
    TARGET = "target", _Facts(Purpose.INPUTS, from_caller=True)
    SAMPLE_WEIGHT = "sample_weight", _Facts(Purpose.INPUTS, from_caller=True)
    PARAMETER = "parameter", _Facts(Purpose.WEIGHTS, persistent=True, of_model=True)
    WORKING_COPY = "working_copy", _Facts(Purpose.WEIGHTS, persistent=True)
    STATISTIC = "statistic", _Facts(Purpose.STATISTICS, persistent=True, of_model=True)
    ACTIVATION = "activation", _Facts(Purpose.ACTIVATIONS, half=True)
    SAVED = "saved", _Facts(Purpose.ACTIVATIONS)
    GRADIENT = "gradient", _Facts(Purpose.GRADIENTS, half=True)
    PARAMETER_GRADIENT = "parameter_gradient", _Facts(Purpose.GRADIENTS)
    OPTIMIZER = "optimizer", _Facts(Purpose.OPTIMIZER, persistent=True)
    LOSS = "loss", _Facts(Purpose.ACTIVATIONS, to_caller=True)

    _facts: _Facts

    def __new__(cls, text: str, facts: _Facts | None = None) -> Self:
        """A member whose value is its text; looking one up, `Role(text)`, takes no facts."""
        assert facts is not None
        member = str.__new__(cls, text)
        member._value_ = text
        member._facts = facts
        return member

    @property
    def purpose(self) -> Purpose:
        """The memory plan's category."""
        return self._facts.purpose

    @property
    def persistent(self) -> bool:
        """Whether the value outlives a step."""
        return self._facts.persistent

    @property
    def of_model(self) -> bool:
        """Whether the value is a parameter or buffer of the user's module."""
        return self._facts.of_model

    @property
    def from_caller(self) -> bool:
        """Whether the caller of a program writes the value before it."""
        return self._facts.from_caller

    @property
    def pinned(self) -> bool:
        """Whether the value comes from or goes to the caller, so that no operator may work in its bytes."""
        return self._facts.from_caller or self._facts.to_caller

    @property
    def half(self) -> bool:
        """Whether the value is stored in fp16 in every precision but fp32."""
        return self._facts.half


class Layout(StrEnum):
    """Order of the bytes: which permutation of the PyTorch axes lies contiguously in memory."""

    FLAT = "flat"
    NHWC = "nhwc"
    OHWI = "ohwi"
    HWC = "hwc"

    def permutation(self, rank: int) -> tuple[int, ...]:
        """PyTorch axis of each memory axis, outermost first."""
        if self in (Layout.NHWC, Layout.OHWI) and rank == 4:
            return (0, 2, 3, 1)
        if self is Layout.HWC and rank == 4:
            return (2, 3, 0, 1)
        return tuple(range(rank))


@dataclass(frozen=True)
class Value:
    """A tensor: PyTorch shape, storage type, memory layout and role.

    `source` is the PyTorch name of the parameter or buffer that the value holds, updates or differentiates.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    dtype: DType = DType.F32
    layout: Layout = Layout.FLAT
    source: str | None = None

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes in memory."""
        return self.count * self.dtype.bytes

    @property
    def persistent(self) -> bool:
        """Whether the value outlives a step."""
        return self.role.persistent


@dataclass(frozen=True)
class Node:
    """One operator applied to values: `inputs` and `outputs` map the operator's names to the values' names.

    Both are in the operator's order; what is absent (an optional input, a gradient that nobody wants) has no entry.
    """

    name: str
    operator: AbstractOperator
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the values that the node reads."""
        return tuple(self.inputs.values())

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the values that the node makes."""
        return tuple(self.outputs.values())

    @property
    def writes(self) -> tuple[str, ...]:
        """Names of the values that the node writes: its results and the inputs that it updates in place."""
        return self.results + tuple(
            self.inputs[name] for name in self.operator.updated if name in self.inputs
        )


@dataclass(frozen=True)
class Graph:
    """Nodes in running order over named values.

    `outputs` are the values that must exist at the end; `gradients` maps a parameter's value to its gradient's.
    """

    name: str
    values: Mapping[str, Value]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    gradients: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> Value:
        """The value of that name."""
        return self.values[name]

    def producer(self, name: str) -> Node | None:
        """The node whose output the value is, or None for inputs and parameters."""
        return next((node for node in self.nodes if name in node.results), None)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read the value."""
        return tuple(node for node in self.nodes if name in node.reads)

    def is_output(self, name: str) -> bool:
        """Whether somebody outside the graph needs the value."""
        return name in self.outputs or name in self.gradients.values()

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """The same graph with other nodes; values that no node and no output names are dropped, inputs never."""
        kept = tuple(nodes)
        used = set(self.outputs) | set(self.gradients.values()) | set(self.gradients)
        for node in kept:
            used.update(node.reads)
            used.update(node.results)
        values = {
            name: value for name, value in self.values.items() if name in used or value.role.from_caller
        }
        return replace(self, nodes=kept, values=values)

    def with_values(self, changed: Iterable[Value]) -> Graph:
        """The same graph with some values added or replaced by name."""
        return replace(self, values={**self.values, **{value.name: value for value in changed}})

    def dump(self) -> str:
        """Text of the graph, one node a line; stable, for `odl compile --dump` and for tests."""
        lines = [f"graph {self.name}"]
        for name, value in self.values.items():
            if self.producer(name) is None:
                lines.append(f"  {_describe(value)}")
        for node in self.nodes:
            inputs = ", ".join(f"{name}={value}" for name, value in node.inputs.items())
            outputs = ", ".join(_describe(self.values[name]) for name in node.results)
            lines.append(f"  {node.name}: {node.operator.describe()}({inputs}) -> {outputs or '(in place)'}")
        lines.append(f"  return {', '.join(self.outputs)}")
        for parameter, gradient in self.gradients.items():
            lines.append(f"  gradient {parameter} = {gradient}")
        return "\n".join(lines) + "\n"


def _describe(value: Value) -> str:
    shape = "x".join(str(size) for size in value.shape)
    return f"{value.name}: {value.role} {value.dtype}[{shape}] {value.layout}"
