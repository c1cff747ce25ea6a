"""The image data sets: splits that do not leak, loaders that check, and the reference training on them."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from odl import data
from odl.data import images
from odl.data.cifar10 import RECORD_BYTES, cifar10
from odl.data.dataset import Dataset
from odl.errors import InputError
from tests.odl.data.datasets import small


@pytest.mark.parametrize("name", ["digits", "digits-photos"])
def test_images_are_reproducible_and_normalised(name: str) -> None:
    for split in data.SPLIT_NAMES:
        first, again = data.load(name, split), data.load(name, split)
        assert np.array_equal(first.x, again.x) and np.array_equal(first.y, again.y)
        assert first.x.shape[1:] == (3, 32, 32) and first.classes == tuple("0123456789")
        assert first.x.min() >= -1.0 and first.x.max() <= 1.0 and first.x.std() > 0.3
        assert np.bincount(first.y, minlength=10).min() >= len(first) / 12
        assert not np.array_equal(first.x, data.load(name, split, seed=1).x)


def test_every_digit_is_in_exactly_one_split() -> None:
    members = images._members()
    assert set(members) == set(data.SPLIT_NAMES)
    assert np.array_equal(np.sort(np.concatenate(list(members.values()))), np.arange(1797))
    shares = {split: len(indices) / 1797 for split, indices in members.items()}
    assert shares == pytest.approx({"train": 2 / 3, "validation": 1 / 6, "test": 1 / 6}, abs=0.002)
    inks = {split: {ink.tobytes() for ink in images._digits(split)[0]} for split in data.SPLIT_NAMES}
    for one, other in combinations(data.SPLIT_NAMES, 2):
        assert not inks[one] & inks[other]
    for split in data.SPLIT_NAMES:
        # Both domains and every seed render exactly these digits, each the same number of times.
        labels, times = images._load_digits()[1][members[split]], images.RENDERINGS_OF_SPLIT[split]
        plain, photos = images.digits_plain(5, split), images.digits_on_photos(5, split)
        assert np.array_equal(plain.y, labels) and np.array_equal(photos.y, np.tile(labels, times))
        assert photos.origin is not None
        assert np.array_equal(np.bincount(photos.origin), np.full(len(labels), times))
        assert np.array_equal(photos.y, labels[photos.origin])


def test_nothing_was_chosen_on_a_test_digit() -> None:
    """Validation digits are from the third that settings were first chosen on, test digits from the rest."""
    _, labels = images._load_digits()
    others, chosen_on = data.split_indices(labels, 2 / 3, images._CHOSEN_ON_SEED)
    assert np.isin(images._members()["test"], others).all()
    assert np.isin(images._members()["validation"], chosen_on).all()


def test_the_splits_share_no_pixel_of_a_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(images.digits_on_photos(0, "test")) >= 1790
    width = images._photo("flower.jpg").shape[2]
    halves = [images._background("validation"), images._background("test")]
    assert np.array_equal(np.concatenate(halves, axis=2), images._photo("flower.jpg"))
    assert np.array_equal(images._background("train"), images._photo("china.jpg"))
    # Each pixel of this photograph is the number of its column: so crops say where they come from.
    columns = np.broadcast_to(np.arange(width, dtype=np.float32), (3, 40, width))
    monkeypatch.setattr(images, "_photo", lambda name: columns)
    seen = {}
    for split in ("validation", "test"):
        crops = images._crops(np.random.default_rng(0), images._background(split), 3000)
        seen[split] = set(np.unique(crops).tolist())
    assert seen["validation"] == set(range(width // 2)) and seen["test"] == set(range(width // 2, width))


def test_a_digit_is_drawn_where_it_is_placed() -> None:
    ink = np.ones((1, 8, 8), np.float32)
    at = lambda value: np.array([value])  # noqa: E731
    placed = images._place(ink, at(16.0), at(4.0), at(10.0))[0]
    assert placed.shape == (32, 32)
    assert np.all(placed[6:18, 12:24] == 1.0) and placed[:3].sum() == 0 and placed[:, :9].sum() == 0
    assert placed[21:].sum() == 0 and placed[:, 27:].sum() == 0


def test_origin_is_checked_and_stays_with_its_samples() -> None:
    x, y = np.zeros((4, 1, 2, 2), np.float32), np.array([0, 1, 0, 1])
    whole = Dataset("small", x, y, ("a", "b"), np.array([7, 7, 8, 9]))
    part = whole.take(np.array([3, 0]))
    assert part.origin is not None and part.origin.tolist() == [9, 7]
    for wrong in (np.zeros(3, np.int64), np.zeros(4, np.int32)):
        with pytest.raises(InputError, match=r"origin must be int64 \[4\]"):
            Dataset("small", x, y, ("a", "b"), wrong)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 1, 2, 2), np.float64), np.zeros(2, np.int64), "float32"),
        (np.zeros((2, 4), np.float32), np.zeros(2, np.int64), "N, C, H, W"),
        (np.zeros((2, 1, 2, 2), np.float32), np.zeros(2, np.int32), "int64"),
        (np.zeros((2, 1, 2, 2), np.float32), np.zeros(3, np.int64), "2 samples but 3 labels"),
        (np.zeros((2, 1, 2, 2), np.float32), np.array([0, 2]), "label 2 of sample 1"),
        (np.zeros((2, 1, 2, 2), np.float32), np.array([-1, 0]), "label -1 of sample 0"),
        (np.full((2, 1, 2, 2), np.nan, np.float32), np.zeros(2, np.int64), "sample 0 holds a value"),
        (np.full((2, 1, 2, 2), np.inf, np.float32), np.zeros(2, np.int64), "sample 0 holds a value"),
    ],
)
def test_a_faulty_data_set_is_one_clear_error(
    x: NDArray[np.float32], y: NDArray[np.int64], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Dataset("faulty", x, y, ("a", "b"))


def test_split_is_disjoint_stratified_and_reproducible() -> None:
    y = np.repeat(np.arange(3), (30, 12, 6)).astype(np.int64)
    first, rest = data.split_indices(y, 0.5, seed=3)
    assert np.array_equal(np.sort(np.concatenate([first, rest])), np.arange(48))
    assert np.bincount(y[first]).tolist() == [15, 6, 3]
    assert np.array_equal(first, data.split_indices(y, 0.5, seed=3)[0])
    assert not np.array_equal(first, data.split_indices(y, 0.5, seed=4)[0])
    left, right = small().split(0.25, seed=0)
    assert len(left) == 4 and len(right) == 16


@pytest.mark.parametrize("name", ["mnist", "", "digits:here", "cifar10", "cifar10:", "cifar10:/nowhere"])
def test_unknown_names_and_missing_folders(name: str) -> None:
    with pytest.raises(InputError):
        data.load(name)


@pytest.mark.parametrize("name", ["digits", "digits-photos", "cifar10:/nowhere"])
def test_unknown_split(name: str) -> None:
    with pytest.raises(InputError, match="split into train, validation, test; there is no split 'dev'"):
        data.load(name, "dev")  # type: ignore[arg-type]


def test_cifar10_has_no_validation_split(tmp_path: Path) -> None:
    write_cifar10(tmp_path, "data_batch_1.bin", [3, 9])
    with pytest.raises(InputError, match="CIFAR-10 has no split 'validation', only train, test"):
        data.load(f"cifar10:{tmp_path}", "validation")


def write_cifar10(folder: Path, name: str, labels: list[int]) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(len(labels)).integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels.reshape(len(labels), -1)], axis=1)
    (folder / name).write_bytes(records.tobytes())
    return pixels


def test_cifar10_reads_every_file_of_its_split(tmp_path: Path) -> None:
    one = write_cifar10(tmp_path, "data_batch_1.bin", [3, 9])
    two = write_cifar10(tmp_path, "data_batch_2.bin", [0])
    write_cifar10(tmp_path, "test_batch.bin", [1, 2, 4])
    train = data.load(f"cifar10:{tmp_path}", "train")
    assert train.y.tolist() == [3, 9, 0]
    expected = np.concatenate([one, two]) / 127.5 - 1.0
    np.testing.assert_allclose(train.x, expected, atol=1e-6)
    assert data.load(f"cifar10:{tmp_path}", "test").y.tolist() == [1, 2, 4]
    assert cifar10(tmp_path / "test_batch.bin").y.tolist() == [1, 2, 4]


@pytest.mark.parametrize("size", [0, 1, RECORD_BYTES - 1, RECORD_BYTES + 1, 2 * RECORD_BYTES - 1])
def test_cifar10_of_a_wrong_size(tmp_path: Path, size: int) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(size))
    with pytest.raises(InputError, match=rf"data_batch_1\.bin' has {size} bytes"):
        cifar10(tmp_path)


def test_cifar10_with_a_wrong_label(tmp_path: Path) -> None:
    write_cifar10(tmp_path, "test_batch.bin", [1, 10])
    with pytest.raises(
        InputError, match=rf"test_batch\.bin' \({2 * RECORD_BYTES} bytes\): label 10 of record 1"
    ):
        cifar10(tmp_path, "test")


def test_cifar10_without_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data_batch"):
        cifar10(tmp_path)
