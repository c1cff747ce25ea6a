"""The command line. Exit codes: 0 done, 1 a check failed, 2 the input is at fault, 3 a tool is missing."""

from __future__ import annotations

from odl.cli.app import main

__all__ = ["main"]
