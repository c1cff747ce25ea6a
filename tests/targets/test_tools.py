"""`odl doctor`'s checks, on programs that exist, are too old, broken or missing."""

import stat
import sys

import pytest

from odl.targets import TARGETS
from odl.targets.common import requirements as tools
from odl.targets.common.requirements import Requirement, tool_version
from odl.targets.host.target import TOOLS

GCC = Requirement("target host", "gcc", (12,), "apt-get install gcc")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """`programs(name, script)` puts a shell script on an otherwise empty PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def add(name: str, script: str, interpreter: str = "#!/bin/sh") -> None:
        file = tmp_path / name
        file.write_text(f"{interpreter}\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    return add


@pytest.mark.parametrize(
    ("script", "version", "found", "ok"),
    [
        ("echo 'gcc (Debian 12.2.0-14) 12.2.0'", (12, 2, 0), "12.2.0", True),
        ("echo 'gcc (GCC) 12.0'", (12, 0), "12.0", True),
        ("echo 'gcc (GCC) 11.4.0'", (11, 4, 0), "11.4.0", False),
        ("echo 'gcc (GCC) 9.10.0'", (9, 10, 0), "9.10.0", False),
        ("echo 'gcc version 100.1' >&2", (100, 1), "100.1", True),
        ("echo 'no version here'", (), "no version", False),
        ("echo 'gcc 12.2.0'; exit 1", (), "no version", False),
        ("kill $$", (), "no version", False),
    ],
)
def test_versions(programs, script, version, found, ok):
    programs("gcc", script)
    assert tool_version("gcc") == version
    finding = GCC.check()
    assert (finding.found, finding.ok, finding.needed) == (found, ok, ">= 12")
    assert (finding.tool, finding.purpose, finding.remedy) == (GCC.tool, GCC.purpose, GCC.remedy)


def test_a_missing_program(programs):
    assert tool_version("gcc") is None
    assert (GCC.check().found, GCC.check().ok) == (None, False)


def test_a_program_that_cannot_be_run_or_hangs(programs, monkeypatch):
    programs("gcc", "", interpreter="#!/no/such/interpreter")
    assert tool_version("gcc") == ()

    def hang(*arguments, **options):
        raise tools.subprocess.TimeoutExpired("gcc", options["timeout"])

    monkeypatch.setattr(tools.subprocess, "run", hang)
    assert tool_version("gcc") == () and not GCC.check().ok


def test_every_requirement_says_what_it_is_for_and_how_to_get_it(programs):
    findings = [tool.check() for tool in TOOLS]
    assert [finding.tool for finding in findings] == [item.tool for item in TOOLS]
    assert findings == TARGETS["host"].findings()
    others = [target.findings() for target in TARGETS.values() if not target.is_host]
    assert all(any(not finding.ok for finding in found) for found in others)
    assert all(finding.remedy and finding.purpose for found in others for finding in found)
    assert all(finding.found is None and not finding.ok for finding in findings)
    assert all(finding.remedy and finding.purpose for finding in findings)


def test_this_machine_can_build():
    assert all(finding.ok for finding in [tool.check() for tool in TOOLS])


def test_targets_are_listed_without_pytorch_and_without_any_simulator():
    code = "import sys, odl.targets; print(*sys.modules)"
    done = tools.subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "odl.targets.qemu.target" in loaded
    simulators = {"cv32e40p.run_program", "cv32e40p.build_simulator", "gvsoc.launch", "qemu.emulation"}
    assert not loaded & {"torch", "numpy", *(f"odl.targets.{name}" for name in simulators)}
