"""Runs a program on GVSoC: data in, data out, and the cycle at every mark."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from odl.errors import CheckFailedError
from odl.targets.gvsoc.exchange import INPUT, OUTPUT, Mark, Watch, read_answer, request
from odl.targets.gvsoc.tools import TARGET, find_gvsoc
from odl.targets.pulp.elf import Elf

DEFAULT_SECONDS = 900.0
#: What the launcher says where the simulated program, or the simulator itself, ended with a status other than 0.
_STATUS = re.compile(r"Platform returned an error \(exitcode: (-?\d+)\)")
#: In memory, if there is such a place: GVSoC flushes what a program writes to the disk after every KiB.
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class RunResult:
    """What a run gave."""

    exit_status: int | None
    """None where it was ended for taking too long."""
    output: str
    """What the program and GVSoC printed."""
    marks: tuple[Mark, ...] = ()
    dumps: Mapping[str, bytes] = field(default_factory=dict)
    watched: Mapping[Watch, tuple[bytes, ...]] = field(default_factory=dict)
    """What each watch saw, one entry for each time that its mark was made."""
    seconds: float = 0.0
    """Wall time of the simulation."""

    def check(self) -> RunResult:
        """This result, if the program ended with status 0. Raises CheckFailedError with one clear line if not."""
        if self.exit_status is None:
            raise CheckFailedError("the program on GVSoC took too long and was ended")
        if self.exit_status != 0:
            lines = [line for line in self.output.splitlines() if line.strip() and not _STATUS.search(line)]
            said = f": {lines[-1].strip()}" if lines else ""
            raise CheckFailedError(f"the program on GVSoC ended with status {self.exit_status}{said}")
        return self


def run(
    elf: Path,
    *,
    load: Mapping[str, bytes] | None = None,
    dump: Sequence[str] = (),
    watch: Sequence[Watch] = (),
    seconds: float = DEFAULT_SECONDS,
) -> RunResult:
    """Run a program and return what came out of it.

    `load` gives the contents of variables before `main`, `dump` names variables to return, `seconds` ends a run that
    never would. A program at fault is a result, not an error: see `RunResult.check`. Raises InputError for an unknown
    or too small variable, MissingToolError without GVSoC, CheckFailedError where results are missing.
    """
    program = Elf.read(elf)
    asked = request(program, load or {}, dump, watch)
    launcher = find_gvsoc()
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="odl-run-", dir=place) as folder:
        (Path(folder) / INPUT).write_bytes(asked)
        command = [str(launcher), f"--target={TARGET}", f"--work-dir={folder}"]
        begin = time.perf_counter()
        status, output = _execute([*command, "--binary", str(elf.resolve()), "run"], Path(folder), seconds)
        took = time.perf_counter() - begin
        if status != 0:
            return RunResult(status, output, seconds=took)
        file = Path(folder) / OUTPUT
        answer = read_answer(file.read_bytes() if file.is_file() else b"", program, dump, watch)
    return RunResult(0, output, answer.marks, answer.dumps, answer.watched, took)


def _execute(command: Sequence[str], folder: Path, seconds: float) -> tuple[int | None, str]:
    """The program's status and what was printed; all that the launcher has started ends with it."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            return None, output.decode(errors="replace")
        raise
    text = re.sub(r"\x1b\[[0-9;]*m", "", output.decode(errors="replace"))
    said = _STATUS.search(text)
    return (int(said[1]) if said else process.returncode), text
