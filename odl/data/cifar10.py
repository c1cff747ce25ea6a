"""CIFAR-10 in its binary version, read from a folder that is already on this machine.

Format (Krizhevsky 2009, "Binary version"): each record is one label byte and 3072 pixel bytes, the red plane
first, then green, then blue, each 32 rows of 32; a file holds nothing else.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odl.data.dataset import Dataset, SplitName
from odl.data.images import normalise
from odl.errors import InputError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD_BYTES = 1 + 3 * 32 * 32
FILE_PATTERNS = {"train": "data_batch_*.bin", "test": "test_batch.bin"}


def cifar10(source: str | Path, split: SplitName = "train") -> Dataset:
    """Reads the files of `split` in the folder `source`, or `source` itself where it is a file.

    x is normalised like every image of this package (`images.normalise`). InputError names the file and its
    size when it is missing, empty, not whole records, or has a label above 9; and a split other than "train"
    and "test", which is all that CIFAR-10 has.
    """
    if split not in FILE_PATTERNS:
        raise InputError(
            f"CIFAR-10 has no split '{split}', only {', '.join(FILE_PATTERNS)}; "
            "Dataset.split() takes a part of the training images aside"
        )
    parts = [_read(path) for path in _files(Path(source), split)]
    pixels = np.concatenate([pixels for pixels, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return Dataset(f"cifar10 {split}", normalise(pixels.astype(np.float32) / 255.0), labels, CLASSES)


def _files(folder: Path, split: str) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError(f"CIFAR-10: no folder '{folder}'; give the one that holds data_batch_1.bin")
    files = sorted(folder.glob(FILE_PATTERNS[split]))
    if not files:
        raise InputError(
            f"CIFAR-10: no {FILE_PATTERNS[split]} in '{folder}'; the binary version of the data set is needed"
        )
    return files


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels uint8 [N, 3, 32, 32] and labels int64 [N] of one file."""
    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise InputError(f"CIFAR-10: cannot read '{path}': {error.strerror}") from None
    if content.size == 0 or content.size % RECORD_BYTES:
        raise InputError(
            f"CIFAR-10: '{path}' has {content.size} bytes, which is not a whole number of records of "
            f"{RECORD_BYTES} bytes; it is truncated, or not the binary version"
        )
    records = content.reshape(-1, RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    wrong = np.flatnonzero(labels >= len(CLASSES))
    if len(wrong):
        raise InputError(
            f"CIFAR-10: '{path}' ({content.size} bytes): label {labels[wrong[0]]} of record {wrong[0]} "
            f"(byte {wrong[0] * RECORD_BYTES}) is above 9; this is not CIFAR-10's binary version"
        )
    return records[:, 1:].reshape(-1, 3, 32, 32), labels
