"""Every function of the headers says what it takes, what it returns, when it may be called and by whom."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from odl.project.status import Status
from tests.codegen.golden_texts import SOURCES, project

_PROTOTYPE = re.compile(r"^(?:static inline )?([\w ]+?[ *]+)(net_\w+)\(([^;{]*?)\)(?:;| \{)", re.M | re.S)


def prototypes(header: str) -> Iterator[tuple[str, str, list[str], str]]:
    """Of each function its result's type, name, parameters' names, and the comment directly before it."""
    for found in _PROTOTYPE.finditer(header):
        before = header[: found.start()].rstrip("\n")
        comment = before[before.rfind("/*") :] if before.endswith("*/") else ""
        given = (
            []
            if found[3].strip() == "void"
            else [part.split()[-1].lstrip("*") for part in found[3].split(",")]
        )
        yield found[1].strip(), found[2], given, comment


def undocumented(header: str) -> list[str]:
    """What the comments of a header leave out, in words."""
    found = []
    for result, name, parameters, comment in prototypes(header):
        if not comment.startswith("/**") or "@brief" not in comment:
            found.append(f"{name} has no comment")
            continue
        if re.findall(r"@param\[(?:in|out)\] (\w+) \w", comment) != parameters:
            found.append(f"{name}: parameters")
        if ("@return" in comment) != (result != "void"):
            found.append(f"{name}: @return")
        if result == "net_status" and not re.search(r"@return NET_OK\b", comment):
            found.append(f"{name}: statuses")
        if "@pre" not in comment or not re.search(r"@note (Not re-entrant|Safe in any)", comment):
            found.append(f"{name}: when and by whom")
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_every_function_is_documented(name: str) -> None:
    files = project(name)
    for path, fewest in (("net.h", 10), ("net_state.h", 3)):
        assert not undocumented(files[path]), path
        assert len(list(prototypes(files[path]))) >= fewest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@param[in] x ", "@param[in] y "),
        ("@return", "Gives"),
        ("@pre", ""),
        ("@brief", ""),
        ("/**\n", "/*\n"),
    ],
)
def test_what_is_left_out_is_found(old: str, new: str) -> None:
    header = project("linear")["net.h"]
    assert old in header and undocumented(header.replace(old, new))


def reachable(source: str, function: str) -> set[str]:
    """Statuses that a function's text names, or that of a function which it calls."""
    source = re.sub(r"__attribute__\(\(\w+\)\) ", "", source)
    bodies = dict(re.findall(r"^[\w ]+?[ *](\w+)\([^;{]*?\) \{\n(.*?)^\}", source, re.M | re.S))
    bodies |= {
        name: body for name, body in re.findall(r"^[\w ]+?[ *](\w+)\([^;{]*?\) \{(.*)\}$", source, re.M)
    }
    bodies["otherwise"] = source.partition("} meaning[")[2].partition("\n};")[0]  # a column of a table
    pending, seen = [function], set[str]()
    while pending:
        name = pending.pop()
        if name in bodies and name not in seen:
            seen.add(name)
            pending += re.findall(r"\b(\w+)\b", bodies[name])
    return set(re.findall(r"\bNET_([A-Z_]+)\b", "\n".join(bodies[name] for name in seen))) & set(
        Status.__members__
    )


#: Statuses that are a fault of a parameter's data, where there is the parameter.
_FAULT_OF = {
    "BAD_TARGET": "target",
    "BAD_LABEL": "label",
    "BAD_SAMPLE_WEIGHT": "sample_weight",
    "BAD_INPUT": "x",
}
#: Calls of functions that serve a storage too, which can go wrong in more ways than memory.
_OF_STORAGE = ("net_save", "net_load")


@pytest.mark.parametrize("name", SOURCES)
def test_the_statuses_that_are_named_are_those_that_the_code_gives(name: str) -> None:
    """Each of them stands in the code of the function; what else stands there is a fault of data that it is not given."""
    files = project(name)
    code = files["net.c"] + files["net_state.c"].replace("status_t ", "net_status ")
    for header in ("net.h", "net_state.h"):
        for result, function, parameters, comment in prototypes(files[header]):
            if result != "net_status":
                continue
            text = " ".join(line.strip(" *") for line in comment.splitlines())
            named = set(re.findall(r"NET_([A-Z_]+)", text.partition("@return")[2]))
            given = reachable(code, function)
            assert named <= given, (function, named - given)
            if header == "net.h" and function not in _OF_STORAGE:
                for status in given - named:
                    assert _FAULT_OF.get(status, "none") not in parameters, (function, status)
                    assert status in _FAULT_OF, (function, status)
