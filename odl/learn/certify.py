"""What a device's training state must be once samples are forgotten, computed on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from odl.project.manifest import read_manifest
from odl.run.net import Net
from odl.state import read


@dataclass(frozen=True)
class Certificate:
    """Digests of a saved state as it came and without some samples, and how many steps were computed between them."""

    given: bytes
    without: bytes
    steps: int


def certify(project: Path, saved: bytes, ids: Sequence[int]) -> Certificate:
    """Forget samples of a saved state, or of a dump of a storage, in the exact build of the project.

    The arithmetic is the device's, so a device that forgot the same samples has the digest `without`. InputError where the
    project keeps no log or cannot take the state, or where the log lacks a sample.
    """
    net = Net(project)
    net.load(read(saved, read_manifest(project)).to_bytes())
    given, steps = net.digest(), net.forget_steps(ids)
    net.forget(ids)
    return Certificate(given, net.digest(), steps)
