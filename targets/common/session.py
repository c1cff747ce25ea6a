"""What a simulator of any target takes and gives: one run of a program, from data in to data out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from odl.errors import CheckFailedError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Unit(StrEnum):
    """What a simulator counts."""

    CYCLES = "cycles"
    INSTRUCTIONS = "instructions"
    NOTHING = ""


@dataclass(frozen=True)
class SimulatedMachine:
    """What a simulator imitates, in what programs do not depend on: a base for each target's own description."""


@dataclass(frozen=True)
class Watch:
    """Memory that is wanted as it was at a mark: `bytes` from `address`, whenever the program marks `mark`."""

    mark: int
    address: int
    bytes: int


@dataclass(frozen=True)
class Mark:
    """A moment that the program marked (`odl_mark`): the count so far, of cycles or of all cores' instructions."""

    id: int
    count: int
    counters: tuple[Mapping[str, int], ...] = ()
    """Every core's counters until then, where the simulator has them."""


def watched(
    watch: Sequence[Watch], marks: Iterable[Mark], take: Callable[[int], bytes]
) -> dict[Watch, tuple[bytes, ...]]:
    """What each watch saw: at every mark one entry for each in order, of so many bytes as `take` is asked for."""
    found: dict[Watch, list[bytes]] = {item: [] for item in watch}
    for mark in marks:
        for item in (item for item in watch if item.mark == mark.id):
            found[item].append(take(item.bytes))
    return {item: tuple(entries) for item, entries in found.items()}


@dataclass(frozen=True)
class RunResult:
    """What a run gave."""

    exit_status: int | None
    """None where the program did not end by itself."""
    output: str
    """What the program printed, and the simulator where it cannot be told apart."""
    marks: tuple[Mark, ...] = ()
    dumps: Mapping[str, bytes] = field(default_factory=dict)
    watched: Mapping[Watch, tuple[bytes, ...]] = field(default_factory=dict)
    """What each watch saw, one entry for each time that its mark was made."""
    touched: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Per memory of the target and 32-bit word: read or written by the program (not by loading). Empty where the
    simulator does not know."""
    seconds: float = 0.0
    """Wall time of the simulation."""
    problem: str | None = None
    """One line that says why the program did not end with status 0; None where it did."""

    def check(self) -> Self:
        """This result, if the program ended with status 0; CheckFailedError with one clear line if not."""
        if self.problem is not None:
            raise CheckFailedError(self.problem)
        return self


@dataclass(frozen=True)
class Trace:
    """A window of cycles to trace, as a VCD file. A cycle with all signals of one core takes some 50 to 200 bytes."""

    file: Path
    """Written in the VCD format; one unit of time is one cycle."""
    first_cycle: int = 0
    last_cycle: int = 100_000
    """Included."""
    core: int | None = None
    """None: every core."""


@dataclass
class Session:
    """A target that runs a project's program, call by call."""

    simulate: Callable[..., RunResult]
    """Runs a program with the keywords `load`, `dump` and `watch`."""
    unit: Unit
    """What marks count."""
    machine: SimulatedMachine | None = None
    """What describes the simulated machine; None where nothing does."""

    def run(
        self, program: Path, load: Mapping[str, bytes], dump: Sequence[str], watch: Sequence[Watch] = ()
    ) -> RunResult:
        """One run: `load` gives the contents of variables before `main`, `dump` names variables to return.

        CheckFailedError where the program fails, MissingToolError where the simulator is missing.
        """
        return self.simulate(program, load=load, dump=dump, watch=watch).check()

    def trace_next(self, trace: Trace) -> None:
        """Write a trace of the next run. InputError where the target writes none, or the trace is impossible."""
        raise InputError(f"{trace.file}: the project's target writes no trace")
