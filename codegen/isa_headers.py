"""The instruction sets' headers: which of them C includes in a dialect, and hence which of them a project needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from odl.codegen.device import copied
from odl.project.network import Network

#: Where odl_isa.h includes a dialect's header because of its macro.
_DIALECT = re.compile(r'defined\((ODL_ISA_\w+)\)\n#include "(\w+\.h)"')
#: The dialects of the host's builds.
_HOST = ("ODL_ISA_HOST_EXACT", "ODL_ISA_HOST_FAST")


def isa_headers(network: Network, sources: Iterable[str]) -> dict[str, str]:
    """The headers by their paths in the project: of the host's dialects and of the target's.

    A network for a machine that odl does not know (`--runtime none` without a device's target) may be built in any dialect.
    """
    dialect = network.options.description.instruction_set.dialect
    anywhere = network.options.runtime == "none" and dialect is None
    wanted = {*_HOST, *(dialects(every_header()["odl_isa.h"]) if anywhere else filter(None, [dialect]))}
    texts = list(sources)
    found = {name: text for item in wanted for name, text in included_headers(texts, item).items()}
    return {f"isa/{name}": found[name] for name in sorted(found)}


def dialects(isa_header: str) -> Mapping[str, str]:
    """The headers that odl_isa.h, given as text, includes for a dialect's macro; beside them stands the exact dialect."""
    return dict(_DIALECT.findall(isa_header))


@cache
def every_header() -> Mapping[str, str]:
    """The text of each header by its name."""
    return {path.lstrip("/"): text for path, text in copied("odl.kernels", "isa", "").items()}


def included_headers(sources: Iterable[str], dialect: str | None) -> dict[str, str]:
    """The headers that C includes in a dialect, directly or not: texts by name."""
    headers, found = every_header(), dict[str, str]()
    waiting = list(sources)
    while waiting:
        for name in _included(waiting.pop(), dialect):
            if name in headers and name not in found:  # others are the project's own
                found[name] = headers[name]
                waiting.append(headers[name])
    return found


def _included(text: str, dialect: str | None) -> Iterator[str]:
    """Headers included where of all dialects only this one is defined; other conditions are taken to hold."""
    open_now: list[bool] = []
    taken: list[bool] = []
    for line in text.splitlines():
        words = line.strip()
        if words.startswith(("#if", "#elif")):
            holds = _may_hold(words, dialect)
            if words.startswith("#if"):
                open_now.append(holds)
                taken.append(holds and _about_dialects(words))
            elif open_now:
                open_now[-1] = holds and not taken[-1]
                taken[-1] = taken[-1] or (holds and _about_dialects(words))
        elif words.startswith("#else") and open_now:
            open_now[-1] = not taken[-1]
        elif words.startswith("#endif") and open_now:
            open_now.pop()
            taken.pop()
        elif all(open_now):
            yield from re.findall(r'^#include "([\w.]+)"', words)


def _about_dialects(condition: str) -> bool:
    return "ODL_ISA_" in condition


def _may_hold(condition: str, dialect: str | None) -> bool:
    """Whether the condition can be true; `defined(A) || defined(B)` and #ifdef of dialects are understood."""
    names = re.findall(r"ODL_ISA_[A-Z]\w*", condition)
    return condition.startswith("#ifndef") or not names or dialect in names
