"""Comments of a project's functions, as Doxygen reads them, from what entry points say of themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator

from odl.codegen.format import WIDTH
from odl.project.entry_point import CType, EntryPoint, Parameter
from odl.project.status import Status


def declared(function: EntryPoint, render: Callable[[str], str], possible: Callable[[Status], bool]) -> str:
    """A function as a header has it, under its comment.

    `render` makes C of an entry point's text; `possible` says which statuses the project's calls can have.
    """
    lines = [f" * {line}".rstrip() for part in _parts(function, render, possible) for line in part]
    return "\n".join(["/**", *lines, " */", f"{render(function.prototype)};"])


def _parts(
    function: EntryPoint, render: Callable[[str], str], possible: Callable[[Status], bool]
) -> Iterator[list[str]]:
    yield _wrapped(f"@brief {render(function.comment)}")
    yield [""]
    yield _wrapped(f"@pre {render(function.order)}")
    yield _wrapped(f"@note {function.use}")
    for parameter in function.parameters:
        yield _wrapped(f"@param[{_direction(parameter)}] {parameter.name} {render(parameter.text)}")
    if function.statuses:
        names = [
            render(f"{{{{ PREFIX }}}}_{status.name}") for status in function.statuses if possible(status)
        ]
        yield _wrapped(f"@return {names[0]}" + (f", or: {', '.join(names[1:])}." if names[1:] else "."))
    elif function.returns is not CType.VOID:
        yield _wrapped(f"@return {render(function.result)}")


def _direction(parameter: Parameter) -> str:
    return (
        "out"
        if parameter.type in (CType.FLOATS_OUT, CType.BYTES_OUT, CType.HASH_OUT, CType.COUNT_OUT)
        else "in"
    )


def _wrapped(text: str) -> list[str]:
    hanging = "    " if not text.startswith("@brief") else ""
    return textwrap.wrap(
        text, WIDTH - len(" * "), subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )
