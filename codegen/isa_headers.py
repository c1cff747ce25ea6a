"""Which of the instruction sets' headers a project needs: what its sources include, in the dialects that it is built in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from odl.codegen.device import copied
from odl.project.network import Network

#: Where odl_isa.h includes a dialect's header because of its macro.
_DIALECT = re.compile(r'defined\((ODL_ISA_\w+)\)\n#include "(\w+\.h)"')
_INCLUDE = re.compile(r'^#include "(\w+\.h)"', re.MULTILINE)
_HOST = "ODL_ISA_HOST_FAST"


def isa_headers(network: Network, sources: Iterable[str]) -> dict[str, str]:
    """The headers by their paths in the project: of the host's dialects and of the target's.

    A network for a machine that odl does not know (`--runtime none` without a device's target) may be built in any dialect.
    """
    every = copied("odl.kernels", "isa", "")
    headers = {path.lstrip("/"): text for path, text in every.items()}
    dialect = network.options.description.instruction_set.dialect
    known = frozenset(dialects(headers["odl_isa.h"]))
    anywhere = network.options.runtime == "none" and dialect is None
    wanted = known if anywhere else known & {_HOST, dialect}
    return {f"isa/{name}": headers[name] for name in _closure(headers, sources, wanted)}


def dialects(isa_header: str) -> Mapping[str, str]:
    """The headers that odl_isa.h, given as text, includes for a dialect's macro; beside them stands the exact dialect."""
    return dict(_DIALECT.findall(isa_header))


def _closure(headers: Mapping[str, str], sources: Iterable[str], wanted: Collection[str]) -> list[str]:
    """The names of the headers that the sources include, directly or not, sorted."""
    unused = {name for macro, name in dialects(headers["odl_isa.h"]).items() if macro not in wanted}
    found: set[str] = set()
    waiting = list(sources)
    while waiting:
        new = set(_INCLUDE.findall(waiting.pop())) & headers.keys() - unused - found
        found |= new
        waiting += [headers[name] for name in new]
    return sorted(found)
