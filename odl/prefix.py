"""The prefix of a project's C names and files: `kws` in kws.h, kws_train_step and KWS_BATCH."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_HEADERS = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic
    stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype version memory new
"""
#: Headers of C11 and C++17 without their endings, which a file of that name would hide.
STANDARD_HEADERS = frozenset(_HEADERS.split())
#: What else a project's folder holds, or what its runtime is called.
_FILES = "device example kernels runtime registers trap start dma main odl"
_TAKEN = STANDARD_HEADERS.union(_FILES.split())


def checked_prefix(prefix: object) -> str:
    """The prefix itself; ValueError says what it must be."""
    if not isinstance(prefix, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", prefix):
        raise ValueError("must be a C identifier of letters, digits and single underscores, such as kws")
    if len(prefix) > 40:
        raise ValueError("must have at most 40 characters")
    if _is_taken(prefix):
        raise ValueError(f"{prefix}.h would hide a header of C or of odl; take another, such as net_{prefix}")
    return prefix


def prefix_of(name: str) -> str:
    """The prefix that a network's name gives: lower case, what C's names cannot have made an underscore."""
    text = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")[:36].strip("_")
    if not text or text[0].isdigit():
        text = f"net_{text}".rstrip("_")
    return f"net_{text}" if _is_taken(text) else text


def _is_taken(prefix: str) -> bool:
    """Whether files of that name exist in a project or a C library, on a disk that may ignore case too."""
    stem = prefix.lower()
    return stem in _TAKEN or stem.startswith("odl_") or f"{stem}.h" in _own_headers()


@cache
def _own_headers() -> frozenset[str]:
    """The headers that odl copies into a project."""
    return frozenset(item.name for item in (resources.files("odl.kernels") / "isa").iterdir())
