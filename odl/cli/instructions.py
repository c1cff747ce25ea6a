"""What `odl bench` prints of a project on QEMU: instructions, never cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from odl.bench import InstructionCount

_ISAS = {"zfh": "scalar fp16 (Zfh)", "zvfh": "fp16 vectors (Zvfh)"}


def print_instructions(console: Console, result: InstructionCount, summary: bool) -> None:
    """The whole step, and with it, unless only a summary is wanted, every operator."""
    machine = result.machine
    vectors = f", vector registers of {machine.vlen} bits" if machine.vectors else ""
    console.print(
        f"{result.model}, {result.dtype}, QEMU with {machine.harts} hart{'s' if machine.harts > 1 else ''}, "
        f"{_ISAS[machine.isa]}{vectors}",
        highlight=False,
        soft_wrap=True,
    )
    if not summary:
        console.print(_table(result))
    console.print(
        f"{result.instructions:,} instructions for {result.macs:,} MACs: {result.macs_per_instruction:.2f} MAC per "
        "instruction, everything counted. Instructions are not cycles: QEMU has no notion of time.",
        highlight=False,
        soft_wrap=True,
    )


def _table(result: InstructionCount) -> Table:
    table = Table(title="Instructions of a training step, all harts together")
    table.add_column("node", overflow="ellipsis", max_width=30, no_wrap=True)
    table.add_column("pass", no_wrap=True)
    for heading in ("instructions", "MAC/instruction", "share"):
        table.add_column(heading, justify="right")
    for item in result.operators:
        table.add_row(
            item.name,
            item.pass_name.replace("_", " "),
            f"{item.instructions:,}",
            f"{item.macs / max(1, item.instructions):.2f}" if item.macs else "",
            f"{100 * item.instructions / result.instructions:.1f} %",
        )
    return table
