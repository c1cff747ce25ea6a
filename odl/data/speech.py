"""Speech data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from odl.data import keywords, speech_commands
from odl.data.dataset import Dataset
from odl.errors import InputError

NAMES = ("keywords-clean", "keywords-noisy", "speech-commands:PATH")
"""What :func:`load` knows; PATH is a folder."""


def load(
    name: str, split: str, seed: int = 0, *, progress: Callable[[int, int], None] | None = None
) -> Dataset:
    """A speech data set: MFCC x float32 [N, 1, 49, 10], labels y int64 [N], twelve classes.

    `split` is "train", "validation" or "test". `progress` is called with (clips
    done, clips in all). InputError for an unknown name or split or a faulty folder, MissingToolError when
    espeak-ng is needed and missing.
    """
    source, _, rest = name.partition(":")
    if name in ("keywords-clean", "keywords-noisy"):
        return keywords.load(name.removeprefix("keywords-"), split, seed, progress=progress)
    if source == "speech-commands":
        if not rest:
            raise InputError("speech-commands needs its folder: speech-commands:PATH")
        return speech_commands.load(Path(rest), split, seed, progress=progress)
    raise InputError(f"unknown speech data set {name!r}; there are: {', '.join(NAMES)}")
