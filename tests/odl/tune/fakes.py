"""Measuring functions that do not simulate. Worker processes import this, so it imports little."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from zlib import crc32

from odl.tune.job import Job, Measured, Timing

#: Where the measuring functions note each call, a file per call.
LOG = "ODL_TEST_TUNE_LOG"


def cycles_of(job: Job, variant: str) -> int:
    """What the measuring functions say: anything, but always the same."""
    return 1000 + crc32((job.key + variant).encode()) % 1000


def quick(job: Job) -> Measured:
    return Measured(job.key, tuple(Timing(name, cycles_of(job, name)) for name in job.variants))


def slow(job: Job) -> Measured:
    """As `quick`, after a while; the call is noted under LOG where that is set."""
    if LOG in os.environ:
        name = f"{crc32(job.key.encode()):08x}-{os.getpid()}-{time.monotonic_ns()}"
        (Path(os.environ[LOG]) / name).touch()
    time.sleep(0.15)
    return quick(job)


def deadly(job: Job) -> Measured:
    """As `quick`, but the first call ends its process."""
    marker = Path(os.environ[LOG]) / "died"
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return quick(job)


def always_deadly(job: Job) -> Measured:
    os.kill(os.getpid(), signal.SIGKILL)
    return quick(job)


def complaining(job: Job) -> Measured:
    from odl.errors import MissingToolError

    raise MissingToolError("no such tool")
