"""The proof of a stack: what it adds up, what it refuses, and that cores of the RTL keep to it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import odl
from odl.bench.measure import train_once
from odl.cli.app import main
from odl.errors import CheckFailedError, InputError, MissingToolError
from odl.project.manifest import read_manifest
from odl.run.device import DeviceNet
from odl.stack import pointer_types, prove, record, touched_stack
from odl.stack.assembly import Unit, read_unit
from odl.stack.call_graph import CallGraph
from odl.targets.common.elf import Elf
from odl.targets.common.toolchain import find_toolchain
from odl.targets.cv32e40p.build_simulator import build_simulator
from odl.targets.cv32e40p.description import Cluster

GCC = ("gcc", "-O2")
RISCV = ("clang", "-O2", "--target=riscv32-unknown-elf", "-march=rv32imc", "-mabi=ilp32", "-mno-relax")
BUFFER = "void use(char *); "


@pytest.fixture(params=[GCC, RISCV], ids=["gcc x86", "clang riscv32"])
def compiler(request: pytest.FixtureRequest) -> tuple[str, ...]:
    name, *flags = request.param
    if name == "gcc":
        if shutil.which("gcc") is None:
            pytest.skip("no gcc")
        return (name, *flags)
    try:
        return (find_toolchain().clang, *flags)
    except MissingToolError as error:
        pytest.skip(str(error))


def unit(folder: Path, compiler: tuple[str, ...], text: str, name: str = "unit.c") -> Unit:
    source = folder / name
    source.write_text(text)
    assembly, usage = source.with_suffix(".s"), source.with_suffix(".su")
    subprocess.run([*compiler, "-fstack-usage", "-S", source, "-o", assembly], check=True)
    return read_unit(name, assembly.read_text(), usage.read_text())


def bound(folder: Path, compiler: tuple[str, ...], *texts: str) -> tuple[int, CallGraph]:
    graph = CallGraph(tuple(unit(folder, compiler, text, f"unit{i}.c") for i, text in enumerate(texts)))
    return graph.bound("root"), graph


def test_a_path_adds_up_over_files(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    """The deepest of two ways counts; a function of the same name that another file keeps to itself does not."""
    size, graph = bound(
        tmp_path,
        compiler,
        "void a(void); void b(void); void root(void) { a(); b(); }",
        BUFFER + "void a(void) { char x[1000]; use(x); }",
        BUFFER + "__attribute__((noinline)) static void a(void) { char x[9000]; use(x); }"
        "void b(void) { char x[100]; use(x); } void other(void) { a(); a(); }",
        "void use(char *x) { *x = 1; }",
    )
    assert 1000 <= size < 1300
    assert not graph.outside


def test_tail_calls_and_switches_are_calls_and_no_calls(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    cases = " ".join(f"case {i}: f{i}(); break;" for i in range(8))
    functions = " ".join(f"void f{i}(void) {{ char x[{100 * i + 16}]; use(x); }}" for i in range(8))
    size, graph = bound(
        tmp_path,
        compiler,
        " ".join(f"void f{i}(void);" for i in range(8)) + f"void root(int i) {{ switch (i) {{ {cases} }} }}",
        BUFFER + functions,
        "void use(char *x) { *x = 1; }",
    )
    assert 716 <= size < 900
    assert not graph.through_pointers


def test_a_pointer_may_reach_all_that_is_pointed_at(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    size, graph = bound(
        tmp_path,
        compiler,
        "void run(void (*f)(void)); void big(void); void root(void) { run(big); }",
        "void run(void (*f)(void)) { f(); f(); }",
        BUFFER + "void big(void) { char x[500]; use(x); }",
        BUFFER + "void large(void) { char x[5000]; use(x); } void (*const table[])(void) = {large};",
        "void use(char *x) { *x = 1; }",
    )
    assert size >= 5000
    assert graph.through_pointers == {"run"}


def test_a_pointer_reaches_functions_of_its_type(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    """Files of which clang tells the types; one that does not tell may call, and be, anything."""
    if "clang" not in compiler[0]:
        pytest.skip("only clang tells types")
    texts = {
        "root.c": "void run(int (*f)(int)); int small(int x); void root(void) { run(small); }",
        "run.c": "void run(int (*f)(int)) { f(1); f(2); }",
        "small.c": BUFFER + "int small(int x) { char y[500]; use(y); return x; }",
        "large.c": BUFFER
        + "void large(void) { char x[5000]; use(x); } void (*const table[])(void) = {large};",
        "use.c": "void use(char *x) { *x = 1; }",
    }
    untold = {name: unit(tmp_path, compiler, text, name) for name, text in texts.items()}
    told = {}
    for name, of in untold.items():
        command = [*compiler, *pointer_types.FLAGS, tmp_path / name, "-o", "-"]
        types = pointer_types.read_types(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )
        assert types is not None
        told[name] = replace(of, types=types)
    assert 500 <= CallGraph(tuple(told.values())).bound("root") < 1000
    for name in ("run.c", "large.c"):
        assert CallGraph(tuple({**told, name: untold[name]}.values())).bound("root") >= 5000


def test_a_call_that_does_not_tell_its_type_leaves_all_open() -> None:
    call = '  call void %3(i32 noundef 1) #2 [ "kcfi"(i32 -7) ]\n'
    text = "define void @f(ptr %0) #0 !kcfi_type !9 {\n" + call + "}\n!9 = !{i32 5}\n"
    assert pointer_types.read_types(text) == pointer_types.PointerTypes({"f": 5}, frozenset({-7}))
    assert pointer_types.read_types(text.replace('[ "kcfi"(i32 -7) ]', "")) is None


@pytest.mark.parametrize(
    "texts",
    [
        BUFFER + "int root(int n) { char x[8]; use(x); return n ? root(n - 1) + x[0] : 0; }",
        BUFFER + "void b(int); void root(int n) { char x[8]; use(x); b(n); use(x); }|"
        "void root(int); void b(int n) { if (n) { root(n - 1); } }",
        "void run(void (*f)(void)); void root(void) { run(root); run(root); }|"
        "void run(void (*f)(void)) { f(); f(); }",
    ],
    ids=["itself", "two files", "through a pointer"],
)
def test_recursion_is_refused(tmp_path: Path, compiler: tuple[str, ...], texts: str) -> None:
    with pytest.raises(CheckFailedError, match=r"recursion.*root"):
        bound(tmp_path, compiler, *texts.split("|"))


def test_what_has_no_bound_is_refused(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    with pytest.raises(CheckFailedError, match=r"stack of root has no bound"):
        unit(tmp_path, compiler, BUFFER + "void root(int n) { char x[n]; use(x); }")
    moving = "addi sp, sp, -64" if "clang" in compiler[0] else "sub $64, %rsp"
    with pytest.raises(CheckFailedError, match="assembly in root moves the stack"):
        unit(tmp_path, compiler, f'void root(void) {{ __asm__ volatile("{moving}"); }}')
    by_hand = f".globl root\n.type root, @function\nroot:\n    {moving}\n    .size root, . - root\n"
    with pytest.raises(CheckFailedError, match="nothing says how much stack root needs"):
        CallGraph((read_unit("hand.S", by_hand, None),)).bound("root")
    assert CallGraph((read_unit("hand.S", by_hand.replace(moving, "nop"), None),)).bound("root") == 0
    _, graph = bound(tmp_path, compiler, "void away(void); void root(void) { away(); away(); }")
    assert graph.outside == {"away"}


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 5, 3, padding=1), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)).mean((2, 3)))


def project(folder: Path, **options: object) -> Path:
    torch.manual_seed(0)
    return odl.compile(Small(), torch.zeros(1, 2, 6, 6), **options).save(folder)  # type: ignore[arg-type]


def test_cores_keep_to_their_bound(tmp_path: Path) -> None:
    """On the RTL no core uses more than its bound; the bound is not far above, and is what manifest.json holds then."""
    try:
        build_simulator(Cluster())
    except MissingToolError as error:
        pytest.skip(str(error))
    directory = project(tmp_path / "net", target="cv32e40p", dtype="mixed", cores=4)
    assert read_manifest(directory).stack is None
    before = json.loads((directory / "manifest.json").read_text())
    entry = record(directory)
    after = json.loads((directory / "manifest.json").read_text())
    assert after.pop("stack")["cores"] == list(entry.cores)
    assert after == before
    assert read_manifest(directory).stack == entry
    net = DeviceNet(directory)
    with pytest.raises(InputError, match="no call was made"):
        touched_stack(net)
    train_once(net, 0)
    used = touched_stack(net)
    assert len(used) == len(entry.cores) == 4
    assert all(most / 2 < touched <= most for touched, most in zip(used, entry.cores, strict=True))
    assert not entry.outside


@pytest.mark.parametrize("target", ["cv32e40p", "gvsoc", "qemu"])
def test_the_stack_that_a_target_states_is_its_linkers(tmp_path: Path, target: str) -> None:
    from odl.run.library import build_program

    try:
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))
    directory = project(tmp_path / "net", target=target, dtype="mixed")
    entry = prove(directory)
    program = Elf.read(build_program(directory, publish=False))
    assert entry.reserved == program.symbol("__stack_bytes").address >= max(entry.cores)


def test_too_small_a_stack_is_refused(tmp_path: Path) -> None:
    """A buffer in the generated code that a core's stack cannot hold is found without running anything."""
    try:
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))
    directory = project(tmp_path / "net", target="cv32e40p", dtype="mixed")
    source = next(path for path in (directory / "kernels").glob("*.c") if "conv2d_forward" in path.name)
    text = source.read_text()
    begin = text.rindex("uint32_t cores) {") + len("uint32_t cores) {")
    source.write_text(text[:begin] + " volatile char large[2000]; large[core] = 1;" + text[begin:])
    with pytest.raises(CheckFailedError, match=r"may need 2,\d+ bytes of stack and has 1,024"):
        prove(directory)
    assert main_code(["stack", str(directory)]) == 1


def main_code(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = project(tmp_path / "net")
    assert main_code(["stack", str(directory), "--json", "-"]) == 0
    out = capsys.readouterr()
    (entry,) = json.loads(out.out)
    assert entry["build"] == "exact" and entry["cores"] == [] and max(entry["entry_points"].values()) > 0
    assert "memset" in entry["outside"] and "on top comes" in out.err
    assert main_code(["stack", str(tmp_path)]) == 2
