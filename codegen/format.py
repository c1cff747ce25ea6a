"""Brings generated C into the project's format, so that emission needs no clang-format.

Covers the C that the templates are written in: statements are joined and broken anew at 110 columns, indented
by their braces, and trailing comments aligned, the way clang-format's LLVM style does it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

WIDTH = 110
INDENT = 4

_ASSIGNMENT = re.compile(r"[^()=]* [-+*|]?= ")
#: A call or a prototype up to its arguments.
_CALL = re.compile(r"[\w *]*\w\(")
_OPERATORS = frozenset(["+", "-", "*", "/", "%", "&&", "||", "<", ">", "<=", ">=", "==", "!="])
#: Operators that bind least stand first: a line breaks at them rather than inside their operands.
_PRECEDENCE = (("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="))
_LABEL = re.compile(r"(case \w+|default):")
_CONTROL = ("if (", "for (", "while (", "} else if (", "else ")


def format_c(text: str) -> str:
    """The text without wrong indentation, lines over 110 columns, trailing blanks and runs of blank lines."""
    lines: list[str] = []
    depth = 0
    for unit in _units(text):
        code, _ = _split_comment(unit)
        closing = len(code) - len(code.lstrip("}")) + (_LABEL.fullmatch(code) is not None)
        indent = "" if unit.startswith("#") else " " * INDENT * max(depth - closing, 0)
        if not unit:
            lines.append("")
        elif unit.startswith("/*"):
            lines.extend(_wrap_comment(unit, indent))
        elif unit.startswith("#"):
            lines.append(unit)
        else:
            if code != 'extern "C" {':  # what it encloses is not indented
                depth = max(depth + _balance(code, "{", "}"), 0)
            lines.extend(_wrap_code(indent + unit))
    return _blank_lines("\n".join(_align_comments(lines)))


# ---------------------------------------------------------------------------------------------------- joining
def _units(text: str) -> Iterator[str]:
    """Statements, block comments and directives, each as one text; a blank line as an empty one."""
    source = iter(text.splitlines())
    for line in source:
        unit = line.strip()
        if unit.startswith("#"):
            unit = line.strip()
            while unit.endswith("\\"):
                unit += "".join(f"\n{part}" for part in _continued(next(source).rstrip()))
        elif unit.startswith("/*"):
            while "*/" not in unit:
                unit += "\n" + next(source).strip()
        elif unit:
            while not _complete(unit):
                following = next(source).strip()
                unit += following if unit.endswith("(") or following.startswith(")") else f" {following}"
        yield unit


def _continued(line: str) -> list[str]:
    """A further line of a directive: not at the left edge, and another one for what goes beyond the last column."""
    if not line[:1].strip():
        return [line]
    line = " " * INDENT + line
    cut = len(line) if len(line) <= WIDTH else line.rfind(" ", INDENT + 1, WIDTH - 1)
    return (
        [line]
        if cut < INDENT or cut == len(line)
        else [f"{line[:cut]} \\", " " * INDENT + line[cut:].lstrip()]
    )


def _complete(unit: str) -> bool:
    code, _ = _split_comment(unit)
    if _balance(code, "(", ")") > 0:
        return False
    return code.endswith((";", "{", "}", ",")) or code.startswith(_CONTROL) or bool(_LABEL.fullmatch(code))


def _split_comment(line: str) -> tuple[str, str]:
    """A line's code and the comment that trails it."""
    start = line.rfind("/*") if line.endswith("*/") else -1
    return (line[:start].rstrip(), line[start:]) if start > 0 else (line, "")


def _balance(code: str, opening: str, closing: str) -> int:
    plain = re.sub(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', "", code)
    return plain.count(opening) - plain.count(closing)


# --------------------------------------------------------------------------------------------------- breaking
def _wrap_comment(unit: str, indent: str) -> list[str]:
    """Words beyond the last column move to the next line of their paragraph, or to a new one."""
    source = [line if line.startswith("/*") else f" {line}" for line in unit.split("\n")]
    starred = len(source) > 1 and source[1].startswith(" *")
    prefix = f"{indent} * " if starred else f"{indent}   "
    wrapped: list[str] = []
    rest = ""
    for line in source:
        words = indent + line if not rest else prefix + rest + " " + line.strip().removeprefix("* ")
        if rest and (line.strip() in ("*", "*/") or not line.startswith(" * ") or line.startswith(" *  ")):
            wrapped.append(prefix + rest)
            words = indent + line
        rest = ""
        cut = len(words) if len(words) <= WIDTH else words.rfind(" ", len(prefix), WIDTH + 1)
        if cut > len(prefix):
            if words[cut:].strip() == "*/":
                cut = words.rfind(" ", len(prefix), cut)  # which would stand alone otherwise
            words, rest = words[:cut].rstrip(), words[cut:].strip()
        wrapped.append(words)
    while rest:
        cut = WIDTH - len(prefix) if len(prefix + rest) > WIDTH else len(rest)
        cut = rest.rfind(" ", 1, cut + 1) if cut < len(rest) else cut
        wrapped.append(prefix + rest[:cut])
        rest = rest[cut:].strip()
    return wrapped


def _wrap_code(line: str) -> list[str]:
    """Break after an assignment if its right side then fits, or before arguments if that saves lines.

    Else break where parentheses nest least.
    """
    code, _ = _split_comment(line)
    if len(code) <= WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + INDENT)
    assignment = _ASSIGNMENT.match(line)
    opened: list[int] = []
    if assignment is not None:
        if len(indent + line[assignment.end() :]) <= WIDTH:
            return [line[: assignment.end()].rstrip(), indent + line[assignment.end() :]]
        opened.append(assignment.end())
    aligned = _fill(line, opened)
    call = _CALL.match(line)
    if call is None or assignment is not None:
        return aligned
    late = [call[0], *_fill(indent + line[call.end() :], [len(indent)])]
    prototype = " " in call[0].strip()  # whose type and name a reader sees together
    shorter = len(late) + 2 * prototype < len(aligned)
    return late if shorter or max(map(len, aligned)) > WIDTH else aligned


def _fill(line: str, opened: list[int]) -> list[str]:
    """Lines of at most 110 columns, as far as there are places to break at."""
    wrapped: list[str] = []
    while len(line) > WIDTH:
        cut, opened = _break(line, opened)
        if cut == 0:
            break
        wrapped.append(line[:cut].rstrip())
        line = " " * opened[-1] + line[cut:].lstrip()
    return [*wrapped, line]


def _break(line: str, opened: list[int]) -> tuple[int, list[int]]:
    """Where to break a long line, and the columns that its open parentheses (and assignment) begin at there.

    0 when there is no place. The least nested place counts, commas before operators; of those the last one.
    """
    columns = list(opened)
    best: tuple[tuple[int, int], int, list[int]] | None = None
    quoted = False
    for position in range(len(line) - len(line.lstrip()), min(len(line), WIDTH + 1)):
        quoted ^= line[position] == '"' and line[position - 1 : position] != "\\"
        if quoted:
            continue
        if line[position] == "(":
            columns.append(position + 1)
        elif line[position] == ")" and columns:
            columns.pop()
        elif line[position] == " " and columns and _breakable(line, position):
            rank = (len(columns), _binding(line[:position]))
            if best is None or rank <= best[0]:
                best = (rank, position, list(columns))
    return (0, opened) if best is None else best[1:]


def _binding(before: str) -> int:
    """How tightly what stands before a place to break binds: a comma or semicolon least."""
    word = before.rsplit(" ", 1)[-1]
    if word.endswith((",", ";")):
        return 0
    found = (number for number, operators in enumerate(_PRECEDENCE, 1) if word in operators)
    return next(found, len(_PRECEDENCE) + 1)


def _breakable(line: str, space: int) -> bool:
    """After a comma, semicolon or binary operator, between strings, before the parts of a conditional expression."""
    before = line[:space].rsplit(" ", 1)[-1]
    following = line[space + 1 :].split(" ", 1)[0]
    if before.endswith('"') and following.startswith('"'):
        return True
    return following in ("?", ":") or before.endswith((",", ";")) or before in _OPERATORS


# -------------------------------------------------------------------------------------------------- the whole
def _align_comments(lines: list[str]) -> list[str]:
    """Trailing comments of adjacent lines begin in one column."""
    aligned = list(lines)
    group: list[tuple[int, str, str]] = []
    for index, line in enumerate([*lines, ""]):
        code, comment = _split_comment(line)
        if code and comment:
            group.append((index, code, comment))
            continue
        column = max((len(code) for _, code, _ in group), default=0)
        for place, code, comment in group:
            aligned[place] = f"{code.ljust(column)} {comment}"
        group = []
    return aligned


def _blank_lines(text: str) -> str:
    """One blank line at most, none after an opening or before a closing brace, one newline at the end."""
    text = re.sub(r"\n{3,}", "\n\n", text)
    text = re.sub(r"\{\n\n", "{\n", text)
    text = re.sub(r"\n\n(\s*\})", r"\n\1", text)
    return text.strip("\n") + "\n"
