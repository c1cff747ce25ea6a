"""Programs: graphs that become one C function each, in what order they can be called, and what they take in.

`orders` gives the orders from which both plan verifiers derive what may meet what in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from odl.graph.ir import Role


@dataclass(frozen=True)
class Program:
    """A graph that entry points run. `name` is its name in the manifest, `title` a comment's words for it.

    `follows`: the programs after which it runs, without anything that the caller could do in between; a program that
    follows none may be called at any time. `takes`: roles of the values that the caller hands in. `watches_overflow`:
    whether an overflow in it is noted, so that what follows does not count.
    """

    name: str
    title: str
    follows: tuple[Program, ...] = ()
    takes: frozenset[Role] = frozenset()
    watches_overflow: bool = False

    def __str__(self) -> str:
        """Its name, which qualifies the names of its tensors."""
        return self.name


STEP = Program(
    "step",
    "one training step",
    takes=frozenset({Role.INPUT, Role.TARGET, Role.SAMPLE_WEIGHT}),
    watches_overflow=True,
)
APPLY = Program("apply", "updates after a step that counts", follows=(STEP,))
SKIP = Program("skip", "after a step that overflowed", follows=(STEP,))
INFER = Program("infer", "inference", takes=frozenset({Role.INPUT}))
REFRESH = Program("refresh", "fp16 working copies from the master weights")


def orders(programs: Iterable[Program]) -> list[tuple[Program, ...]]:
    """Every order in which programs can be called, for one chain of each program that follows none.

    A chain is a program and those that follow it; where one of several can follow, each gives an order of its own.
    """
    given = tuple(programs)
    chains = [list(_chains(program, given)) for program in given if not program.follows]
    return [tuple(itertools.chain(*choice)) for choice in itertools.product(*chains)]


def chained(programs: Iterable[Program]) -> frozenset[Program]:
    """The programs that follow another or that another follows; they hand gradients on."""
    given = tuple(programs)
    return frozenset(
        program for program in given if program.follows or any(program in other.follows for other in given)
    )


def _chains(program: Program, given: Sequence[Program]) -> Iterator[tuple[Program, ...]]:
    following = [other for other in given if program in other.follows]
    if not following:
        yield (program,)
    for other in following:
        for chain in _chains(other, given):
            yield (program, *chain)
