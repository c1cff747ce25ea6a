"""What tells two training states apart in 32 bytes."""

from __future__ import annotations

from collections.abc import Collection

from odl.options import Options
from odl.project.entry_point import LAST, CType, EntryPoint, Parameter
from odl.project.state_format import DIGEST_BYTES


def _exists(options: Options, programs: Collection[str]) -> bool:
    return bool(options.learn)


DIGEST = EntryPoint(
    "digest",
    "Computes the SHA-256 (FIPS 180-4) of all training state: of what a saved state means, and of its records in their "
    "order. Two devices have the same digest where every bit of weights, statistics, optimizer, counters, buffers and logs "
    "is the same. The learning rate does not count.",
    None,
    parameters=(
        Parameter("hash", CType.HASH_OUT, f"receives {DIGEST_BYTES} bytes.", extent=str(DIGEST_BYTES)),
    ),
    exists=_exists,
    number=10,
    needs=("learn", "log"),
    header=LAST + 4,
)
