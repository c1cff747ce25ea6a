"""When each buffer of the arena is live, over one timeline: each program's steps after those of the program before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from odl.graph.ir import Graph
from odl.plan.buffers import Buffer
from odl.plan.program import Keys, from_caller
from odl.plan.staging import Staging
from odl.project.programs import Program


def lifetimes(
    graphs: Mapping[Program, Graph], keys: Keys, stagings: Mapping[Program, Staging]
) -> list[Buffer]:
    """The arena's buffers, in the order of their first use.

    `stagings` are the programs that work in L1: their buffers are those that L2 must have.
    """
    found: dict[str, Buffer] = {}
    clock = 0
    for program, graph in graphs.items():
        for names in _steps(graph):
            for name in names:
                if not keys.is_stored(program, name, stagings):
                    continue
                value, key = graph.values[name], keys.buffer(program, name)
                persistent = keys.persistent(program, name)
                new = Buffer(key, value.size_bytes, value.role.purpose, clock, clock, persistent)
                known = found.setdefault(key, new)
                size = max(known.size_bytes, value.size_bytes)
                found[key] = replace(known, size_bytes=size, last_step=clock)
            clock += 1
    return [
        replace(buffer, first_step=0, last_step=clock) if buffer.persistent else buffer
        for buffer in found.values()
    ]


def _steps(graph: Graph) -> Iterator[tuple[str, ...]]:
    """The values that each step of a program uses: the caller's first, then each node's, at last the outputs."""
    yield from_caller(graph)
    for node in graph.nodes:
        yield (*node.reads, *node.writes)
    yield graph.outputs
