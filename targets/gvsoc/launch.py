"""Finds GVSoC and runs a program on it: data in, data out, and the cycle (modulo 2³²) at every mark.

GVSoC is in no package registry and prints no version. It is in the folder that GVSOC_HOME names, else `gvsoc` on PATH;
what is asked of it is whether it knows the target.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from odl.errors import MissingToolError
from odl.targets.common.exchange import DEFAULT_SECONDS, execute, run_exchanging
from odl.targets.common.requirements import Finding
from odl.targets.common.session import RunResult, Watch
from odl.targets.common.toolchain import check_toolchain

PURPOSE = "target gvsoc"
TARGET = "pulp-open"
HOME = "GVSOC_HOME"
_NEEDED = f"with target {TARGET}"
_REMEDY = f"set {HOME} to the folder of your GVSoC installation, where bin/gvsoc is, or put gvsoc on PATH"
#: Starting it takes a second; it loads its Python description of the target.
_SECONDS = 60
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


def find_gvsoc() -> Path:
    """Path of the launcher. MissingToolError where there is none, or it does not know the target."""
    finding = _check()
    launcher = _launcher()
    if not finding.ok or launcher is None:
        raise MissingToolError(_complaint(finding))
    return launcher


def check_tools() -> list[Finding]:
    """What is here of all that target gvsoc needs, for `odl doctor`."""
    return [_check(), *check_toolchain(PURPOSE)]


def _complaint(finding: Finding) -> str:
    if finding.found is None:
        return f"gvsoc is missing, one {finding.needed} is needed; {finding.remedy}"
    return f"gvsoc is {finding.found}; one {finding.needed} is needed: {finding.remedy}"


def _check() -> Finding:
    home, launcher = os.environ.get(HOME), _launcher()
    if launcher is None:
        remedy = f"{HOME} is {home}, which has no bin/gvsoc: {_REMEDY}" if home else _REMEDY
        return Finding(PURPOSE, "gvsoc", None, _NEEDED, remedy, False)
    found = f"{launcher}, by {HOME if home else 'PATH'}"
    reason = _refusal(launcher)
    if reason is not None:
        found += f", which cannot load {TARGET} ({reason})"
    return Finding(PURPOSE, "gvsoc", found, _NEEDED, _REMEDY, reason is None)


def _launcher() -> Path | None:
    """Where the launcher is, if anywhere. GVSOC_HOME is heeded first and then alone."""
    home = os.environ.get(HOME)
    if not home:
        found = shutil.which("gvsoc")
        return None if found is None else Path(found)
    places = (Path(home) / "bin" / "gvsoc", Path(home) / "install" / "bin" / "gvsoc")
    return next((place for place in places if os.access(place, os.X_OK) and place.is_file()), None)


@cache
def _refusal(launcher: Path) -> str | None:
    """Why this GVSoC cannot load the description of the target; None where it can."""
    try:
        done = subprocess.run(
            [str(launcher), f"--target={TARGET}", "commands"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return f"no answer in {_SECONDS} seconds"
    if done.returncode == 0:
        return None
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
