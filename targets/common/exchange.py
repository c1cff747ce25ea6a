"""Runs a program that exchanges data with the host by two files. Its end is runtime/exchange.c, which describes them.

The program reads and writes the files through semihosting. That leaves the ELF alone and works with every release of every
simulator, few of which have an option to fill or to dump memory.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from odl.errors import CheckFailedError, InputError
from odl.targets.common.elf import Elf
from odl.targets.common.session import Mark, RunResult, Watch, watched

DEFAULT_SECONDS = 900.0
_INPUT, _OUTPUT = "odl.in", "odl.out"
_WORD, _REGION, _WATCH, _MARK = (struct.Struct(layout) for layout in ("<I", "<II", "<III", "<IQ"))
_LAST_MARK = 0xFFFFFFFD
#: Room in runtime/exchange.c.
_MAX_VARIABLES, _MAX_WATCHES = 16, 4096

#: Starts the simulator in a folder and gives the program's status, None where it took too long, and what was printed.
Execute = Callable[[Path], tuple[int | None, str]]


def request(program: Elf, load: Mapping[str, bytes], dump: Sequence[str], watch: Sequence[Watch]) -> bytes:
    """What to write for the program to read. InputError for an unknown or too small variable, or too many."""
    if len(dump) > _MAX_VARIABLES or len(watch) > _MAX_WATCHES:
        raise InputError(
            f"{len(dump)} variables and {len(watch)} watches; the program's runtime has room for "
            f"{_MAX_VARIABLES} and {_MAX_WATCHES}"
        )
    parts = [_WORD.pack(len(load))]
    for name, content in load.items():
        symbol = program.symbol_with_room(name, len(content))
        parts += [_REGION.pack(symbol.address, len(content)), content]
    parts.append(_WORD.pack(len(dump)))
    for symbol in map(program.symbol, dump):
        parts.append(_REGION.pack(symbol.address, symbol.size))
    parts.append(_WORD.pack(len(watch)))
    parts += [_WATCH.pack(item.mark, item.address, item.bytes) for item in watch]
    return b"".join(parts)


def read_answer(answer: bytes, program: Elf, dump: Sequence[str], watch: Sequence[Watch]) -> RunResult:
    """What the program wrote to such a request: every mark, what each watch saw, the variables asked for.

    CheckFailedError where it is not all there.
    """
    marks: list[Mark] = []
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        taken = answer[at : at + size]
        at += size
        if len(taken) < size:
            raise CheckFailedError("the program ended without its results")
        return taken

    def each_mark() -> Iterator[Mark]:
        while (mark := Mark(*_MARK.unpack(take(_MARK.size)))).id != _LAST_MARK:
            marks.append(mark)
            yield mark

    seen = watched(watch, each_mark(), take)
    dumps = {name: take(program.symbol(name).size) for name in dump}
    return RunResult(0, "", tuple(marks), dumps, seen)


def run_exchanging(
    elf: Path,
    simulator: str,
    execute: Execute,
    load: Mapping[str, bytes] | None = None,
    dump: Iterable[str] = (),
    watch: Sequence[Watch] = (),
    place: Path | None = None,
) -> RunResult:
    """Run a program on a simulator and return what came out of it.

    `simulator` is its name for messages, `place` a folder for the two files. A program at fault is a result, not an error:
    see `RunResult.check`. InputError for an unknown or too small variable, CheckFailedError where results are missing.
    """
    program, wanted = Elf.read(elf), tuple(dump)
    asked = request(program, load or {}, wanted, watch)
    with tempfile.TemporaryDirectory(prefix="odl-run-", dir=place) as name:
        folder = Path(name)
        (folder / _INPUT).write_bytes(asked)
        begin = time.perf_counter()
        status, output = execute(folder)
        took = time.perf_counter() - begin
        if status != 0:
            problem = _problem(simulator, status, output)
            return RunResult(status, output, seconds=took, problem=problem)
        file = folder / _OUTPUT
        answer = read_answer(file.read_bytes() if file.is_file() else b"", program, wanted, watch)
    return replace(answer, output=output, seconds=took)


def _problem(simulator: str, status: int | None, output: str) -> str:
    if status is None:
        return f"the program on {simulator} took too long and was ended"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = f": {lines[-1]}" if lines else ""
    return f"the program on {simulator} ended with status {status}{said}"


def execute(command: Sequence[str], folder: Path, seconds: float) -> tuple[int | None, str]:
    """A simulator's status, None where it ran for longer than `seconds`, and what was printed.

    All that the command has started ends with it.
    """
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
    return process.returncode, output.decode(errors="replace")
