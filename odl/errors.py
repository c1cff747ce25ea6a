"""The errors a user can meet, each with the exit code the command line gives it."""

from __future__ import annotations


class OdlError(Exception):
    """Base of every error that odl raises on purpose: one clear line, no traceback on the command line."""

    exit_code = 1


class CheckFailedError(OdlError):
    """A check ran and did not hold (exit code 1)."""

    exit_code = 1


class InputError(OdlError):
    """The model, the data or an option is at fault (exit code 2). The message says what, where and what to do."""

    exit_code = 2


class MissingToolError(OdlError):
    """A program that odl needs is missing or too old (exit code 3). The message names it and how to get it."""

    exit_code = 3
