"""A copy of the CV32E40P package, changed to what the simulator needs. The package itself is never touched.

Two modules are replaced by our own in rtl/: the clock gate and the register file. Four things are changed:
- Packed FP16 is switched on by parameters in cv32e40p_pkg.sv, with the latency that the decoder must know.
- Registers take both edges of the clock (`edge` for `posedge`): every evaluation of the model is then a cycle, and
  the evaluation that would only take the clock low again is saved. Nothing in the core uses the falling edge.
- The performance counters become unpacked arrays. Their meaning is the same; as packed arrays of 2,048 bits they took
  a fifth of the simulation time.
- The integer divider's "ready" leaves the block that also reads what depends on it. The two have nothing to do with
  each other, but in one block they look like a combinational loop, and Verilator evaluates such a loop twice.
"""

from __future__ import annotations

import re
from pathlib import Path

from odl.errors import MissingToolError

_LEFT_OUT = (
    "cv32e40p_top.sv",
    "cv32e40p_fp_wrapper.sv",
    "cv32e40p_register_file_ff.sv",
    "cv32e40p_tracer_pkg.sv",
    "cv32e40p_tb_wrapper.sv",
    "cv32e40p_sim_clock_gate.sv",
)
_RTL_VARIABLE = "${DESIGN_RTL_DIR}"


def _substitute(text: str, pattern: str, replacement: str, where: str, at_least: int = 1) -> str:
    changed, count = re.subn(pattern, replacement, text)
    if count < at_least:
        raise MissingToolError(
            f"{where} of the installed CV32E40P package is not as expected; install the release in constraints.txt"
        )
    return changed


def _on_both_edges(text: str) -> str:
    return re.sub(r"\bposedge\b(\s*\(?\s*\w*(?:clk|clock)\w*)", r"edge\1", text, flags=re.IGNORECASE)


def _package_parameters(text: str, fpu_latency: int) -> str:
    for parameter in ("C_XF16", "C_XFVEC"):
        text = _substitute(text, rf"(\b{parameter}\s*=\s*)1'b0", r"\g<1>1'b1", "cv32e40p_pkg.sv")
    return _substitute(text, r"(\bC_LAT_FP16\s*=\s*)'d0", rf"\g<1>'d{fpu_latency}", "cv32e40p_pkg.sv")


def _counters_as_arrays(text: str) -> str:
    text = _substitute(
        text,
        r"logic\s*\[\s*31:0\]\[MHPMCOUNTER_WIDTH-1:0\]\s*(mhpmcounter_q|mhpmcounter_increment);",
        r"logic [MHPMCOUNTER_WIDTH-1:0] \1[32];",
        "cv32e40p_cs_registers.sv",
        at_least=2,
    )
    return _substitute(
        text,
        r"logic\s*\[31:0\]\[31:0\]\s*mhpmevent_q,\s*mhpmevent_n;",
        "logic [31:0] mhpmevent_q[32], mhpmevent_n[32];",
        "cv32e40p_cs_registers.sv",
    )


def _divider_ready(text: str) -> str:
    where = "cv32e40p_alu_div.sv"
    text = _substitute(text, r"\bOutVld_SO\s*=\s*1'b[01];", "", where, at_least=4)
    ready = "assign OutVld_SO = (State_SP == IDLE && !InVld_SI) || State_SP == FINISH;"
    return _substitute(text, r"(always_comb\s+begin\s*:\s*p_fsm)", rf"{ready}\n  \1", where)


def _changed(name: str, text: str, fpu_latency: int) -> str:
    if name == "cv32e40p_pkg.sv":
        text = _package_parameters(text, fpu_latency)
    if name == "cv32e40p_cs_registers.sv":
        text = _counters_as_arrays(text)
    if name == "cv32e40p_alu_div.sv":
        text = _divider_ready(text)
    return _on_both_edges(text)


def manifest(package: Path) -> tuple[list[Path], list[Path]]:
    """Include folders and source files that the core is made of, relative to the package's rtl folder, in order."""
    includes: list[Path] = []
    sources: list[Path] = []
    for line in (package / "cv32e40p_fpu_manifest.flist").read_text(encoding="utf-8").splitlines():
        line = line.strip().replace(f"{_RTL_VARIABLE}/", "")
        if line.startswith("+incdir+"):
            includes.append(Path(line.removeprefix("+incdir+")))
        elif line.endswith((".sv", ".v")) and not line.endswith(_LEFT_OUT):
            sources.append(Path(line))
    return includes, sources


def copy_rtl(package: Path, own: Path, target: Path, fpu_latency: int) -> list[str]:
    """Write the changed copy of `package` and of our own modules in `own` to `target`; return Verilator's arguments."""
    includes, sources = manifest(package)
    arguments = [f"+incdir+{target / folder}" for folder in includes if (package / "rtl" / folder).is_dir()]
    headers = [
        file.relative_to(package / "rtl")
        for folder in includes
        if ".." not in folder.parts
        for file in sorted((package / "rtl" / folder).rglob("*.svh"))
    ]
    for path in [*headers, *sources]:
        text = (package / "rtl" / path).read_text(encoding="utf-8")
        copy = target / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(_changed(path.name, text, fpu_latency), encoding="utf-8")
    arguments += [str(target / path) for path in sources]
    for module in sorted(own.glob("*.sv")):
        copy = target / "own" / module.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(_on_both_edges(module.read_text(encoding="utf-8")), encoding="utf-8")
        arguments.append(str(copy))
    return arguments
