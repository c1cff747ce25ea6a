"""When each buffer of the arena is live, over one timeline: each program's steps after those of the program before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from odl.graph.ir import Graph, Purpose
from odl.plan.buffers import Buffer
from odl.plan.program import Keys, from_caller
from odl.plan.staging import Staging
from odl.project.programs import Program


@dataclass
class _Life:
    size: int
    purpose: Purpose
    first: int
    last: int
    persistent: bool


def lifetimes(
    graphs: Mapping[Program, Graph], keys: Keys, stagings: Mapping[Program, Staging], memory: str
) -> list[Buffer]:
    """The arena's buffers, in the order of their first use; `memory` is the name of the memory that it lies in.

    `stagings` are the programs that work in L1: their buffers are those that L2 must have.
    """
    lives: dict[str, _Life] = {}
    clock = 0
    for program, graph in graphs.items():
        for names in _steps(graph):
            for name in names:
                if not keys.is_stored(program, name, stagings):
                    continue
                value = graph.values[name]
                persistent = keys.persistent(program, name)
                new = _Life(value.size_bytes, value.role.purpose, clock, clock, persistent)
                life = lives.setdefault(keys.buffer(program, name), new)
                life.first, life.last = min(life.first, clock), max(life.last, clock)
                life.size = max(life.size, value.size_bytes)
            clock += 1
    return [
        Buffer(
            key,
            life.size,
            life.purpose,
            0 if life.persistent else life.first,
            clock if life.persistent else life.last,
            memory=memory,
            persistent=life.persistent,
        )
        for key, life in lives.items()
    ]


def _steps(graph: Graph) -> Iterator[tuple[str, ...]]:
    """The values that each step of a program uses: the caller's first, then each node's, at last the outputs."""
    yield from_caller(graph)
    for node in graph.nodes:
        yield (*node.reads, *node.writes)
    yield graph.outputs
