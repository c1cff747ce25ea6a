"""The assurance pack over the generated C (docs/assurance.md): `make assurance`.

    python -m benchmarks.assurance                  everything, figures printed
    python -m benchmarks.assurance --write          the same, into docs/assurance.md and docs/assurance.json
    python -m benchmarks.assurance --only misra     one part; several --only for several
    python -m benchmarks.assurance --representative DS-CNN in every way, and of the rest of the zoo and its options some
    python -m benchmarks.assurance --quick          a small sample of each

What `--only` leaves out stays in the documents as it is. Exit code 1 where anything is wrong, 3 where a tool is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.assurance import report
from benchmarks.assurance.parts import PARTS
from benchmarks.assurance.projects import Extent, Scope
from odl.errors import OdlError
from odl.zoo import MODELS


def main(arguments: list[str] | None = None) -> int:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART")
    parser.add_argument(
        "--model", choices=MODELS, metavar="NAME", help="the projects of one zoo network alone"
    )
    extent = parser.add_mutually_exclusive_group()
    for name in (Extent.REPRESENTATIVE, Extent.QUICK):
        extent.add_argument(f"--{name}", dest="extent", action="store_const", const=name, default=Extent.ALL)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--projects", type=Path, metavar="FOLDER", help="keep the projects there")
    given = parser.parse_args(arguments)
    scope = Scope(given.extent, given.model)
    if given.write and scope.quick:
        parser.error("--write takes more than --quick looks at")
    try:
        with tempfile.TemporaryDirectory(prefix="odl-assurance-") as scratch:
            folder = given.projects or Path(scratch)
            found = {
                name: PARTS[name](folder, scope, lambda text: print(text, file=sys.stderr, flush=True))
                for name in given.only or PARTS
            }
    except OdlError as error:
        print(f"assurance: {error}", file=sys.stderr)
        return error.exit_code
    if given.write:
        report.write(found)
    print(report.table(report.entries(found)))
    problems = [f"{part.title}: {text}" for part in found.values() for text in part.problems]
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
