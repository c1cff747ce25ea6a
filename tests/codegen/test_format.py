"""The formatter of generated C: single rules, and nothing left to do for clang-format on whole projects."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import odl
from odl.codegen.format import WIDTH, format_c
from odl.codegen.project import render_project
from tests.networks import tiny_build

ROOT = Path(__file__).resolve().parents[2]
CLANG_FORMAT = next(
    (
        found
        for name in (str(Path(sys.executable).with_name("clang-format")), "clang-format-22")
        if (found := shutil.which(name))
    ),
    None,
)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("int f(void)\n{\nreturn 1;\n}\n", "int f(void) {\n    return 1;\n}\n"),
        ("\n\nint a;\n\n\n\nint b;   \n\n", "int a;\n\nint b;\n"),
        ("void f(void) {\n\n    g();\n\n}\n", "void f(void) {\n    g();\n}\n"),
        ("f(a,\n  b);\n", "f(a, b);\n"),
        ("f(\n    a, b\n);\n", "f(a, b);\n"),
        ("const int x =\n    y + z;\n", "const int x = y + z;\n"),
        ("int a; /* one */\nlong bc; /* two */\n", "int a;   /* one */\nlong bc; /* two */\n"),
        ("int a; /* one */\n\nlong bc; /* two */\n", "int a; /* one */\n\nlong bc; /* two */\n"),
        ("#define A(x) \\\n    do \\\n    while (0)\n", "#define A(x) \\\n    do \\\n    while (0)\n"),
        ("if (a) {\n} else if (b) {\nc();\n}\n", "if (a) {\n} else if (b) {\n    c();\n}\n"),
    ],
)
def test_rules(given, wanted):
    assert format_c(given) == wanted
    assert format_c(wanted) == wanted


def test_long_calls_break_at_commas_under_their_parenthesis():
    call = f"    function({', '.join(f'argument_{index}' for index in range(20))});"
    lines = format_c(f"void f(void) {{\n{call}\n}}\n").splitlines()[1:-1]
    assert len(lines) > 1
    assert all(len(line) <= WIDTH for line in lines)
    assert all(line.startswith(" " * 13 + "argument_") for line in lines[1:])
    assert " ".join(line.strip() for line in lines) == call.strip()


def test_long_comments_break_and_flow_on():
    words = " ".join(["word"] * 60)
    block = format_c(f"/* Title.\n *\n * {words}\n * tail\n *\n * other\n */\nint a;\n").splitlines()
    assert all(len(line) <= WIDTH for line in block)
    assert block[-5].endswith("tail") and block[-4:] == [" *", " * other", " */", "int a;"]
    single = format_c(f"/* {words} */\nint a;\n").splitlines()
    assert all(len(line) <= WIDTH for line in single) and single[1].startswith("   word")


def projects():
    yield "mixed", tiny_build(dtype="mixed", bn="train")
    yield "fp32", tiny_build(dtype="fp32", bn="fold", optimizer=odl.Adam(0.001))
    yield "accumulate", tiny_build(dtype="mixed", bn="fold", accumulate=True)


@pytest.mark.skipif(CLANG_FORMAT is None, reason="clang-format is not installed")
def test_clang_format_has_nothing_to_do(tmp_path):
    (tmp_path / ".clang-format").write_text((ROOT / ".clang-format").read_text())
    files = []
    for name, build in projects():
        for path, text in render_project(build.compiled.network).items():
            if path.endswith((".c", ".h")) and not path.endswith("_weights.c"):
                file = tmp_path / name / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
                files.append(str(file))
    done = subprocess.run(
        [CLANG_FORMAT, "--dry-run", "--Werror", *files], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[:3000]
