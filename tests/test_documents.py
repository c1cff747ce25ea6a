"""What the documents name exists: files, folders, links, jobs of the Makefile."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
#: A path from the tree's root; `<name>` stands for any name.
_PATH = re.compile(r"(?<![\w./:~$-])(?:odl|kernels|codegen|targets|tests|docs|benchmarks)/[\w./*<>-]*[\w/*>]")
_LINK = re.compile(r"\]\(([^)#]+)")


def paths(text: str) -> set[str]:
    """The paths from the tree's root that a text names."""
    return set(_PATH.findall(re.sub(r"https?://\S+", "", text)))


def exists(path: str) -> bool:
    return any(ROOT.glob(re.sub(r"<[^>]*>", "*", path.rstrip("/"))))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_exist(document):
    text = document.read_text(encoding="utf-8")
    assert sorted(path for path in paths(text) if not exists(path)) == []
    links = [link for link in _LINK.findall(text) if not link.startswith(("http:", "https:"))]
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_jobs_are_the_makefile_s(document):
    jobs = set(re.findall(r"(?m)^([a-z-]+):.* ## ", (ROOT / "Makefile").read_text(encoding="utf-8")))
    named = re.findall(r"(?m)(?:`|^)make ([a-z-]+)(?=[` ]|$)", document.read_text(encoding="utf-8"))
    # Those of a generated project's Makefile, which docs/porting.md and CONTRIBUTING.md call inside one.
    assert set(named) - jobs <= {"libresnet8", "device"}


def test_every_document_is_in_the_index():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / link).resolve() for link in _LINK.findall(index)}
    assert {path for path in DOCUMENTS if path.name != "index.md"} <= linked


def test_the_readme_tells_the_cycles_that_are_committed():
    """Every count of the two networks that stands in benchmarks/cycles.json, on eight cores by default."""
    committed = json.loads((ROOT / "benchmarks/cycles.json").read_text(encoding="utf-8"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    cases = [case for case in committed if case.startswith(("resnet8", "dscnn")) and "fp32 1" not in case]
    told = [case for case in cases if f"{committed[case]['cycles']:,}" in text]
    assert set(cases) - set(told) == {"resnet8 mixed 1 cores", "dscnn mixed 1 cores"}


def test_a_missing_path_is_seen():
    assert paths("see `odl/graph/nothing.py`, targets/<name>/target.py and https://x.org/docs/a.md") == {
        "odl/graph/nothing.py",
        "targets/<name>/target.py",
    }
    assert not exists("odl/graph/nothing.py") and exists("odl/graph/")
    assert exists("targets/<name>/__init__.py") and not exists("targets/<name>/nothing.py")


def _examples() -> list[tuple[str, str]]:
    """Python of the pages that is whole: it imports what it uses."""
    found = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        for number, text in enumerate(
            re.findall(r"(?ms)^```python\n(.*?)^```", page.read_text(encoding="utf-8"))
        ):
            if text.startswith("import "):
                found.append((f"{page.name} {number}", text))
    return found


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in _examples()])
def test_python_in_the_pages_runs(text: str) -> None:
    assert "odl" in text
    exec(compile(text, "page", "exec"), {})
