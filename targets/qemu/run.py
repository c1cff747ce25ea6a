"""Runs a program on QEMU: data in, data out, and the count of instructions at every mark."""

from __future__ import annotations

import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from odl.errors import CheckFailedError, InputError
from odl.targets.pulp.elf import Elf
from odl.targets.qemu.machine import Machine
from odl.targets.qemu.tools import PROGRAM, find_qemu

#: runtime/exchange.c describes the two files.
_INPUT, _OUTPUT = "odl.in", "odl.out"
_WORD, _REGION, _WATCH, _MARK = (struct.Struct(layout) for layout in ("<I", "<II", "<III", "<IQ"))
_LAST_MARK = 0xFFFFFFFD
DEFAULT_SECONDS = 900.0


@dataclass(frozen=True)
class Mark:
    """A moment that the program marked (`odl_mark`): instructions of all harts until then."""

    id: int
    instructions: int


@dataclass(frozen=True)
class Watch:
    """Memory that is wanted as it was at a mark: `bytes` from `address`, whenever the program marks `mark`."""

    mark: int
    address: int
    bytes: int


@dataclass(frozen=True)
class RunResult:
    """What a run gave."""

    exit_status: int | None
    """None where it was ended for taking too long."""
    output: str
    """What the program and QEMU printed."""
    marks: tuple[Mark, ...]
    """The counts mean something only where the machine counts."""
    dumps: Mapping[str, bytes]
    watched: Mapping[Watch, tuple[bytes, ...]] = field(default_factory=dict)
    seconds: float = 0.0

    def check(self) -> RunResult:
        """This result, if the program ended with status 0. Raises CheckFailedError with one clear line if not."""
        if self.exit_status is None:
            raise CheckFailedError("the program on QEMU took too long and was ended")
        if self.exit_status != 0:
            said = f": {self.output.strip().splitlines()[-1]}" if self.output.strip() else ""
            raise CheckFailedError(f"the program on QEMU ended with status {self.exit_status}{said}")
        return self


def run(
    elf: Path,
    machine: Machine | None = None,
    *,
    load: Mapping[str, bytes] | None = None,
    dump: Iterable[str] = (),
    watch: Sequence[Watch] = (),
    seconds: float = DEFAULT_SECONDS,
) -> RunResult:
    """Run a program and return what came out of it.

    `load` gives the contents of variables before `main`, `dump` names variables to return, `seconds` ends a run that
    never would. A program at fault is a result, not an error: see `RunResult.check`. Raises InputError for an unknown
    or too small variable, MissingToolError without QEMU.
    """
    machine = machine or Machine()
    program = Elf.read(elf)
    sizes = {name: program.symbol(name).size for name in dump}
    request = _request(program, load or {}, sizes, watch)
    command = [PROGRAM, *machine.arguments(find_qemu())]
    command += ["-bios", "none", "-display", "none", "-serial", "none", "-monitor", "none", "-nodefaults"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(elf.resolve())]
    with tempfile.TemporaryDirectory(prefix="odl-run-") as folder:
        (Path(folder) / _INPUT).write_bytes(request)
        begin = time.perf_counter()
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired as expired:
            return RunResult(None, _text(expired.stdout) + _text(expired.stderr), (), {})
        took = time.perf_counter() - begin
        file = Path(folder) / _OUTPUT
        answer = file.read_bytes() if file.is_file() else b""
    status = done.returncode
    said = _text(done.stdout) + _text(done.stderr)
    if status != 0:
        return RunResult(status, said, (), {}, seconds=took)
    marks, watched, rest = _marks(answer, watch)
    return RunResult(status, said, marks, _dumps(rest, sizes), watched, took)


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")


def _request(
    program: Elf, load: Mapping[str, bytes], sizes: Mapping[str, int], watch: Sequence[Watch]
) -> bytes:
    parts = [_WORD.pack(len(load))]
    for name, content in load.items():
        symbol = program.symbol(name)
        if len(content) > symbol.size:
            raise InputError(f"{name} has room for {symbol.size} bytes, not for the {len(content)} given")
        parts += [_REGION.pack(symbol.address, len(content)), content]
    parts.append(_WORD.pack(len(sizes)))
    parts += [_REGION.pack(program.symbol(name).address, size) for name, size in sizes.items()]
    parts.append(_WORD.pack(len(watch)))
    parts += [_WATCH.pack(item.mark, item.address, item.bytes) for item in watch]
    return b"".join(parts)


def _marks(
    answer: bytes, watch: Sequence[Watch]
) -> tuple[tuple[Mark, ...], dict[Watch, tuple[bytes, ...]], bytes]:
    """The marks, what was seen at them, and what follows the last one."""
    marks: list[Mark] = []
    seen: dict[Watch, list[bytes]] = {item: [] for item in watch}
    at = 0
    while at < len(answer):
        mark = Mark(*_MARK.unpack_from(answer, at))
        at += _MARK.size
        if mark.id == _LAST_MARK:
            return tuple(marks), {item: tuple(entries) for item, entries in seen.items()}, answer[at:]
        marks.append(mark)
        for item in (item for item in watch if item.mark == mark.id):
            seen[item].append(answer[at : at + item.bytes])
            at += item.bytes
    raise CheckFailedError("the program on QEMU ended without its results")


def _dumps(rest: bytes, sizes: Mapping[str, int]) -> dict[str, bytes]:
    dumps, at = {}, 0
    for name, size in sizes.items():
        dumps[name] = rest[at : at + size]
        at += size
    return dumps
