"""Whether two revisions of odl generate the same projects, byte for byte: the zoo on every target in every precision.

    python benchmarks/compare_revisions.py 6a26a46             this working tree against a revision
    python benchmarks/compare_revisions.py --write FOLDER      only write this working tree's projects
    python benchmarks/compare_revisions.py --against FOLDER    this working tree against projects written before

`--quick` takes about a fifth of the cases. Equal projects for the simulated cluster take equal cycles, since the
simulator is given nothing else. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_TARGETS: tuple[Mapping[str, str], ...] = (
    {"target": "host"},
    {"target": "cv32e40p"},
    {"target": "gvsoc"},
    {"target": "qemu", "isa": "zvfh"},
    {"target": "qemu", "isa": "zfh"},
)
_ADAM: Mapping[str, Any] = {"kind": "Adam", "lr": 0.001}
_MOMENTUM: Mapping[str, Any] = {"kind": "SGD", "lr": 0.01, "momentum": 0.9}
#: One end of the exchange of data with a simulator, which measures a project and is no part of it: since 6a26a46 the two
#: targets that had one each share it.
_EXCHANGE = tuple(f"runtime/{name}" for name in ("exchange.c", "exchange.h", "semihosting.h"))
#: Options beside target and precision, on DS-CNN.
_VARIATIONS: tuple[Mapping[str, Any], ...] = (
    {"optimizer": _ADAM},
    {"optimizer": _MOMENTUM, "accumulate": True},
    {"bn": "train"},
    {"bn": "frozen", "optimizer": {"kind": "Adam", "weight_decay": 0.01}},
    {"runtime": "none"},
    {"update": "last:2"},
    {"update": "bias", "optimizer": {"kind": "SGD", "momentum": 0.9, "weight_decay": 1e-4}},
    {"accumulate": True, "optimizer": _ADAM},
)


@dataclass(frozen=True)
class Case:
    """A zoo network with the options it is compiled with; `name` is the folder of its project."""

    name: str
    model: str
    batch: int
    options: Mapping[str, Any]


def cases(quick: bool) -> Iterator[Case]:
    """Every case, or with `quick` DS-CNN's alone, in mixed precision but for the plain ones."""
    precisions = ("fp32", "fp16", "mixed")
    for model in ("dscnn",) if quick else ("resnet8", "dscnn", "mobilenetv1", "autoencoder"):
        for target in _TARGETS:
            for dtype in ("fp16", "mixed") if quick else precisions:
                yield _case(model, {**target, "dtype": dtype})
    for target in _TARGETS[:2]:
        for dtype in ("mixed",) if quick else precisions:
            for options in _VARIATIONS:
                yield _case("dscnn", {**target, "dtype": dtype, **options})
    if not quick:
        yield _case("resnet8", {"target": "cv32e40p", "dtype": "fp16", "l1": 32768})
        yield _case("resnet8", {"target": "cv32e40p", "dtype": "mixed", "cores": 4, "l1": 16384})
        yield _case(
            "resnet8", {"target": "qemu", "isa": "zvfh", "cores": 8, "dtype": "mixed", "optimizer": _ADAM}
        )


def _case(model: str, options: Mapping[str, Any]) -> Case:
    words = [model]
    for name, value in options.items():
        text = " ".join(map(str, value.values())) if isinstance(value, Mapping) else str(value)
        words.append(f"{name} {text}")
    return Case(" ".join(words).replace(":", " "), model, 2 if options.get("bn") == "train" else 1, options)


def write(folder: Path, quick: bool) -> None:
    """Compile every case with the odl that Python finds; a refusal is written down as its message."""
    import torch

    import odl
    from odl.models import resolve

    for case in cases(quick):
        options = dict(case.options)
        if "optimizer" in options:
            chosen = dict(options["optimizer"])
            options["optimizer"] = getattr(odl, chosen.pop("kind"))(**chosen)
        torch.manual_seed(0)
        made = resolve(case.model)
        try:
            example = made.example(case.batch)
            build = odl.compile(
                made.module, example, loss=made.loss, name=made.name, spec=made.spec, **options
            )
            build.save(folder / case.name)
        except odl.OdlError as error:
            (folder / case.name).mkdir(parents=True)
            (folder / case.name / "refused.txt").write_text(type(error).__name__, encoding="utf-8")


def differences(before: Path, after: Path, quick: bool) -> list[str]:
    """Files that differ, or that one side lacks, with the number of files compared in the first line."""
    found, count = [], 0
    for case in cases(quick):
        sides = [
            {
                str(path.relative_to(side / case.name))
                for path in (side / case.name).rglob("*")
                if path.is_file() and not str(path).endswith(_EXCHANGE)
            }
            for side in (before, after)
        ]
        count += len(sides[0] | sides[1])
        for name in sorted(sides[0] | sides[1]):
            pair = [side / case.name / name for side in (before, after)]
            if name not in sides[0] & sides[1] or not filecmp.cmp(*pair, shallow=False):
                found.append(f"{case.name}/{name}")
    return [f"{len(found)} of {count} files differ", *found]


def _write_with(tree: Path, folder: Path, quick: bool) -> None:
    """Write the projects of the odl in `tree`, in a process of its own."""
    command = [sys.executable, __file__, "--write", str(folder), *(["--quick"] if quick else [])]
    # The revision's own folders may lie beside odl/ without links to them: then they are linked here.
    for name in ("kernels", "codegen", "targets"):
        if not (tree / "odl" / name).exists():
            (tree / "odl" / name).symlink_to(tree / name)
    environment = {**os.environ, "PYTHONPATH": str(tree), "ODL_TUNING": "shipped", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True)


def main() -> int:
    """Compare as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", nargs="?")
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    parser.add_argument("--against", type=Path, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.write is not None:
        write(given.write, given.quick)
        return 0
    if (given.revision is None) == (given.against is None):
        parser.error("give a revision, --against or --write")
    with tempfile.TemporaryDirectory(prefix="odl-compare-") as scratch:
        before = given.against
        if before is None:
            tree, before = Path(scratch) / "tree", Path(scratch) / "before"
            subprocess.run(["git", "worktree", "add", "--detach", tree, given.revision], cwd=ROOT, check=True)
            try:
                _write_with(tree, before, given.quick)
            finally:
                subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
        after = Path(scratch) / "after"
        _write_with(ROOT, after, given.quick)
        lines = differences(before, after, given.quick)
    print("\n".join(lines))
    return int(len(lines) > 1)


if __name__ == "__main__":
    sys.exit(main())
