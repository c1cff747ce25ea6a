"""Runs a program on GVSoC: data in, data out, and the cycle (modulo 2³²) at every mark."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from odl.targets.common.exchange import DEFAULT_SECONDS, execute, run_exchanging
from odl.targets.common.session import RunResult, Session, Unit, Watch
from odl.targets.gvsoc.launcher import TARGET, find_gvsoc

#: What the launcher says where the simulated program, or the simulator itself, ended with a status other than 0.
_STATUS = re.compile(r"^.*Platform returned an error \(exitcode: (-?\d+)\).*\n?", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: In memory, if there is such a place: GVSoC flushes what a program writes to the disk after every KiB.
_MEMORY = Path("/dev/shm")


def run(
    elf: Path,
    *,
    load: Mapping[str, bytes] | None = None,
    dump: Iterable[str] = (),
    watch: Sequence[Watch] = (),
    seconds: float = DEFAULT_SECONDS,
) -> RunResult:
    """See `run_exchanging`; `seconds` ends a run that never would. MissingToolError without GVSoC."""

    def launch(folder: Path) -> tuple[int | None, str]:
        command = [str(find_gvsoc()), f"--target={TARGET}", f"--work-dir={folder}"]
        status, output = execute([*command, "--binary", str(elf.resolve()), "run"], folder, seconds)
        output = _COLOUR.sub("", output)
        said = _STATUS.search(output)
        return (int(said[1]) if said and status is not None else status), _STATUS.sub("", output)

    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    return run_exchanging(elf, "GVSoC", launch, load, dump, watch, place)


class GvsocSession(Session):
    """Counts cycles; which words were touched GVSoC does not tell."""

    @property
    @override
    def unit(self) -> Unit:
        return Unit.CYCLES

    @override
    def run(
        self, program: Path, load: Mapping[str, bytes], dump: Sequence[str], watch: Sequence[Watch] = ()
    ) -> RunResult:
        return run(program, load=load, dump=dump, watch=watch).check()
