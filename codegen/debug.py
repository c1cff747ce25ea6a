"""What a debugger sees of a running network: at which barriers of its source something is complete, and what.

The source has no trace of it. `Looks` numbers barriers while the source is rendered and takes the numbers out afterwards;
the debug file, which includes the source, has them in a table, one row for each barrier in the order of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from odl.codegen.texts import Move

#: The node's number that stands for a program's input.
INPUT = 0xFFFF
_BARRIER = re.compile(r"\bodl_barrier\((\d*)\)")


@dataclass(frozen=True)
class Look:
    """What is complete at a barrier: a node of a program, by their numbers in the manifest; None where no node is.

    A barrier in a loop completes `count` nodes, one a turn. `publish`: moves that show results in L2.
    """

    program: int
    node: int | None
    count: int = 1
    publish: Sequence[Move] = ()


@dataclass(frozen=True)
class Row:
    """A row of the debug file's table; its moves are `moves` of the table of moves from `first` on."""

    look: Look | None
    first: int
    moves: int


class Looks:
    """The looks of one source."""

    def __init__(self) -> None:
        self._numbered: list[Look] = []

    def barrier(self, program: int, node: int | None, publish: Sequence[Move] = (), count: int = 1) -> str:
        """A barrier of the source that shows something."""
        self._numbered.append(Look(program, node, count, publish))
        return f"odl_barrier({len(self._numbered) - 1})"

    def taken_out(self, source: str) -> tuple[str, list[Row], list[Move]]:
        """The source without numbers; what its barriers show, in the order of the text, and all moves for it."""
        rows: list[Row] = []
        moves: list[Move] = []
        for found in _BARRIER.finditer(source):
            look = self._numbered[int(found[1])] if found[1] else None
            publish = () if look is None else look.publish
            rows.append(Row(look, len(moves), len(publish)))
            moves.extend(publish)
        return _BARRIER.sub("odl_barrier()", source), rows, moves
