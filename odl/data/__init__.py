"""Named data sets: `load(name, split)` gives any of them.

| name | samples |
|---|---|
| `digits` | scikit-learn's handwritten digits at 32×32×3 |
| `digits-photos` | the same digits, in colour, on crops of photographs |
| `cifar10:PATH` | CIFAR-10, binary version, from the folder PATH |
| `keywords-clean`, `keywords-noisy` | twelve spoken keywords, synthesised |
| `speech-commands:PATH` | Google Speech Commands from the folder PATH |

Each is split into "train", "validation" and "test"; CIFAR-10 comes without "validation".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from odl.data.dataset import SPLIT_NAMES, Dataset, SplitName, split_indices
from odl.errors import InputError

__all__ = ["NAMES", "SPLIT_NAMES", "Dataset", "SplitName", "load", "split_indices"]

NAMES = (
    "digits",
    "digits-photos",
    "cifar10:PATH",
    "keywords-clean",
    "keywords-noisy",
    "speech-commands:PATH",
)


def load(
    name: str,
    split: SplitName = "train",
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The data set called `name`.

    `seed` varies what is rendered or synthesised, never which original digits or voices a split holds.
    `progress` is called as progress(samples done, samples in all) while speech is made or read; images are
    there at once. InputError when there is no such name or split, or when the files behind a PATH are missing or damaged;
    MissingToolError when espeak-ng is needed and missing.
    """
    kind, _, path = name.partition(":")
    if f"{kind}:PATH" in NAMES and not path:
        raise InputError(f"data set '{kind}' needs the path of its files: '{kind}:PATH'")
    if name not in NAMES and f"{kind}:PATH" not in NAMES:
        raise InputError(f"no data set named '{name}'; there are: {', '.join(NAMES)}")
    if split not in SPLIT_NAMES:
        raise InputError(f"a data set is split into {', '.join(SPLIT_NAMES)}; there is no split '{split}'")
    # Imported here: each kind needs libraries that the others do not.
    if kind.startswith("keywords-"):
        from odl.data import keywords

        return keywords.load(kind.removeprefix("keywords-"), split, seed, progress=progress)
    if kind == "speech-commands":
        from odl.data import speech_commands

        return speech_commands.load(Path(path), split, seed, progress=progress)
    if kind == "cifar10":
        from odl.data.cifar10 import cifar10

        return cifar10(path, split)
    from odl.data import images

    return (images.digits_plain if kind == "digits" else images.digits_on_photos)(seed, split)
