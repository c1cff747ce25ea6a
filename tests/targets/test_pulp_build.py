"""Programs that cannot be built, and what the message says."""

from __future__ import annotations

import pytest

from odl.errors import InputError
from odl.targets.common.elf import Elf
from odl.targets.gvsoc.target import TARGET
from odl.targets.pulp.cluster import MemoryLayout
from tests.targets.pulp_programs import build

pytestmark = pytest.mark.usefixtures("toolchain")


def test_syntax_error(tmp_path):
    source = tmp_path / "wrong.c"
    source.write_text("int main(void) { return }\n")
    with pytest.raises(InputError, match=r"wrong\.c does not compile: .*wrong\.c:1"):
        build([source], tmp_path / "x.elf")


def test_too_large_for_l1(tmp_path):
    source = tmp_path / "large.c"
    source.write_text(
        '#include "odl_runtime.h"\nODL_L1 char a[65536];\nint main(void) { return a[odl_core_id()]; }\n'
    )
    with pytest.raises(InputError, match=r"819[26] bytes too large for L1"):
        build([source], tmp_path / "x.elf", MemoryLayout(cores=8, l1_bytes=65536, stack_bytes=1024))
    elf = build([source], tmp_path / "x.elf", MemoryLayout(cores=8, l1_bytes=65536 + 9216, stack_bytes=1024))
    assert 0x10000000 + 8192 <= Elf.read(elf).symbol("a").address <= 0x10000000 + 9216


def test_missing_main(tmp_path):
    source = tmp_path / "empty.c"
    source.write_text("int nothing;\n")
    with pytest.raises(InputError, match="undefined symbol: main"):
        build([source], tmp_path / "x.elf")


def test_stacks_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match="stacks"):
        MemoryLayout(cores=8, l1_bytes=4096, stack_bytes=1024).linker_script()
    with pytest.raises(InputError, match="multiple of 16"):
        MemoryLayout(stack_bytes=1000).linker_script()


def test_gvsoc_binary_has_the_same_memory_map(tmp_path):
    source = tmp_path / "main.c"
    source.write_text('#include "odl_runtime.h"\nint main(void) { odl_barrier(); return 0; }\n')
    elf = build([source], tmp_path / "x.elf", MemoryLayout(l1_bytes=64 * 1024), target="gvsoc")
    program = Elf.read(elf)
    assert program.entry == program.symbol("_start").address == 0x1C000000
    assert program.locate(program.symbol("main").address) == "main+0x0"


def test_gvsoc_has_no_controller():
    with pytest.raises(InputError, match="no controller"):
        TARGET.options_for(MemoryLayout(controller=True))


def test_what_is_no_elf(tmp_path):
    (tmp_path / "x.elf").write_text("not a program")
    with pytest.raises(InputError, match="not a 32-bit ELF"):
        Elf.read(tmp_path / "x.elf")
    with pytest.raises(InputError, match="cannot read"):
        Elf.read(tmp_path / "missing.elf")
