"""The command line. Exit codes: 0 done, 1 a check failed, 2 the input is at fault, 3 a tool is missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; a user's error is one line on standard error, without a traceback."""
    try:
        from odl.cli.app import main as run
    except KeyboardInterrupt:  # importing takes long enough for a second thought
        print("odl: interrupted", file=sys.stderr)
        sys.exit(130)
    run(arguments)


__all__ = ["main"]
