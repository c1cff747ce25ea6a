"""`odl doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from odl.targets.common.requirements import Finding

_APT = "apt-get install "


def doctor() -> None:
    """Say which targets can run on this machine, and what is missing for the others."""
    from odl.targets import HOST, TARGETS
    from odl.targets.common.requirements import Requirement

    speech = Requirement("keyword data", "espeak-ng", (1, 50), "apt-get install espeak-ng")

    others = [target for target in TARGETS.values() if target is not HOST]
    findings = [
        *HOST.findings(),
        speech.check(),
        *(finding for target in others for finding in target.findings()),
    ]
    table = Table(title="What can run here")
    for column in ("for", "tool", "found", "needed"):
        table.add_column(column, overflow="fold")
    for item in findings:
        mark = f"[green]{item.found}[/]" if item.ok else f"[red]{item.found or 'missing'}[/]"
        table.add_row(item.purpose, item.tool, mark, item.needed)
    console = Console()
    console.print(table)
    for purpose in dict.fromkeys(item.purpose for item in findings):
        console.print(
            _verdict([item for item in findings if item.purpose == purpose]), soft_wrap=True, highlight=False
        )


def _verdict(findings: Sequence[Finding]) -> str:
    """Whether one purpose is served here; if not, what it lacks and the commands that bring that."""
    missing = [item for item in findings if not item.ok]
    if not missing:
        return f"{findings[0].purpose}: [green]ready[/]"
    names = ", ".join(
        f"{item.tool} {item.needed}".removesuffix(" any")
        if item.found is None
        else f"{item.tool} {item.needed} (found {item.found})"
        for item in missing
    )
    return (
        f"{findings[0].purpose}: [red]lacks {names}[/]; to get it: {escape(' && '.join(_commands(missing)))}"
    )


def _commands(missing: Iterable[Finding]) -> list[str]:
    """The remedies, each once, with everything that apt brings in one command."""
    remedies = list(dict.fromkeys(item.remedy for item in missing))
    packages = dict.fromkeys(
        package
        for remedy in remedies
        if remedy.startswith(_APT)
        for package in remedy.removeprefix(_APT).split()
    )
    others = [remedy for remedy in remedies if not remedy.startswith(_APT)]
    return [*([_APT + " ".join(packages)] if packages else []), *others]
