"""`odl verify --target`: several targets beside each other, and what happens when one is wrong or missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from odl.across import COLUMNS, Comparison, verify_across, wanted_columns
from odl.check.report import Report, Row
from odl.errors import InputError, MissingToolError
from odl.rebuild import compiler
from odl.targets.common.toolchain import find_toolchain
from odl.targets.qemu.emulation import find_qemu

MODEL = f"{Path(__file__).parents[1] / 'networks.py'}:factory"


@pytest.fixture
def qemu() -> None:
    try:
        find_qemu()
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))


def row(tensor: str, ok: bool = True) -> Row:
    return Row(tensor, "gradient", 0.01 if ok else 1.0, 0.1, None, ok)


def report(bits: bytes, ok: bool = True) -> Report:
    return Report((row("w", ok),), {("w", "gradient"): bits})


def test_bits_are_compared_between_equal_widths_only() -> None:
    assert [column.title for column in COLUMNS if column.build == "exact"] == [
        "host, 2 lanes",
        "host, 8 lanes",
    ]
    for width in (2, 8):
        same = [column for column in COLUMNS if column.lanes == width]
        assert same[0].build == "exact" and len(same) >= 3
    assert {column.target for column in COLUMNS} >= {"host", "cv32e40p", "qemu"}


def test_other_bits_and_broken_bounds_fail() -> None:
    assert report(b"a").compared(report(b"a")).ok
    different = report(b"a").compared(report(b"b"))
    assert not different.ok and different.rows[0].bit_exact is False
    assert not report(b"a", ok=False).compared(report(b"a")).ok
    lost = report(b"a").compared(
        Report((row("w"), row("v")), {("w", "gradient"): b"a", ("v", "gradient"): b"c"})
    )
    assert not lost.ok and lost.rows[-1].tensor == "v"
    assert Comparison({"x": report(b"a"), "y": different}, {}).ok is False


def test_a_table_has_a_row_for_every_tensor_of_any_target() -> None:
    more = Report((row("w"), row("v")))
    table = Comparison({"x": report(b"a"), "y": more}, {})
    assert table.keys == (("w", "gradient"), ("v", "gradient"))
    assert table.cells(("v", "gradient")) == {"x": None, "y": row("v")}
    assert [entry["target"] for entry in table.as_json()] == ["x", "y", "y"]


def test_the_hosts_to_compare_with_are_always_there() -> None:
    titles = [column.title for column in wanted_columns("cv32e40p")]
    assert titles == ["host, 2 lanes", "cv32e40p"]
    assert wanted_columns("all") == COLUMNS
    assert [column.title for column in wanted_columns("host")] == ["host, 2 lanes"]
    with pytest.raises(InputError, match=r'target="mars": must be all, or some of cv32e40p, .*host, qemu'):
        wanted_columns("mars")


def test_qemu_has_the_bits_of_both_hosts(qemu: None) -> None:
    result = verify_across(compiler(MODEL, dtype="mixed"), wanted_columns("qemu"), all_needed=True)
    assert result.ok and not result.missing
    assert list(result.columns) == [
        "host, 2 lanes",
        "qemu, zfh",
        "qemu, zfh_zbb",
        "host, 8 lanes",
        "qemu, zvfh 128",
        "qemu, zvfh 256",
    ]
    for title, column in result.columns.items():
        compared = [row for row in column.rows if row.bit_exact is not None]
        assert bool(compared) == title.startswith("qemu")
        assert all(row.bit_exact for row in compared)
    assert result.columns["host, 2 lanes"].bits != result.columns["host, 8 lanes"].bits


def test_a_missing_simulator_is_named_or_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private_cache: Path
) -> None:
    for name in ("gcc", "make", "sh", "as", "ld", "echo", "mkdir"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    wanted = [column for column in COLUMNS if column.target in ("host", "qemu")]
    result = verify_across(compiler(MODEL), wanted)
    assert list(result.columns) == ["host, 2 lanes", "host, 8 lanes"] and result.ok
    assert list(result.missing) == [
        "qemu, zfh",
        "qemu, zfh_zbb",
        "qemu, zvfh 128",
        "qemu, zvfh 256",
    ]
    assert "qemu-system-riscv32 is missing" in result.missing["qemu, zfh"]
    with pytest.raises(MissingToolError, match="apt-get install qemu-system-misc"):
        verify_across(compiler(MODEL), wanted, all_needed=True)


def test_a_project_is_compiled_again_as_it_was(tmp_path: Path, private_cache: Path) -> None:
    build = compiler(MODEL, dtype="fp16")("host", None)
    with pytest.raises(InputError, match="compiled from a Python object"):
        compiler(str(build.save(tmp_path / "nameless")))
    import odl
    from odl.models import resolve

    made = resolve(MODEL)
    directory = odl.compile(
        made.module,
        made.example(2),
        dtype="fp32",
        bn="train",
        optimizer=odl.SGD(0.1, momentum=0.5),
        spec=MODEL,
    ).save(tmp_path / "net")
    again = compiler(str(directory))("qemu", "zfh").compiled.network
    earlier = json.loads((directory / "manifest.json").read_text())["options"]
    options = again.options
    assert (str(options.dtype), options.bn, again.batch) == ("fp32", "train", 2)
    assert options.optimizer == odl.SGD(0.1, momentum=0.5) and earlier["bn"] == "train"
    with pytest.raises(InputError, match="was compiled in fp32"):
        compiler(str(directory), dtype="fp16")
