"""Speech data: MFCC against a direct computation, the synthesised keyword set, the Speech Commands loader."""

from __future__ import annotations

import math
import shutil
import threading
import wave
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from odl.data import SPLIT_NAMES, acoustics, cache, espeak, keywords, load, speech_commands
from odl.data import mfcc as front_end
from odl.errors import InputError, MissingToolError

needs_espeak = pytest.mark.skipif(shutil.which(espeak.PROGRAM) is None, reason="espeak-ng is not installed")
TINY = keywords.Split(speakers=2, takes=1, renderings=2)


# ---- MFCC ----


def _direct_mfcc_of_frame(frame: NDArray[np.float64]) -> list[float]:
    """The ten coefficients of one frame of 640 samples straight from the formulas: no FFT, no matrix."""
    mel = [1127.0 * math.log(1.0 + f / 700.0) for f in (20.0, 4000.0)]
    edges = [mel[0] + (mel[1] - mel[0]) * i / 41 for i in range(42)]
    energies = [0.0] * 40
    n = np.arange(640)
    windowed = frame * (0.5 - 0.5 * np.cos(2 * np.pi * n / 640))
    for k in range(513):
        value = complex(np.sum(windowed * np.exp(-2j * np.pi * k * n / 1024)))
        position = 1127.0 * math.log(1.0 + k * 15.625 / 700.0)
        for band in range(40):
            left, centre, right = edges[band : band + 3]
            if left < position <= centre:
                energies[band] += abs(value) ** 2 * (position - left) / (centre - left)
            elif centre < position < right:
                energies[band] += abs(value) ** 2 * (right - position) / (right - centre)
    logs = [math.log(energy + 1e-6) for energy in energies]
    result = []
    for q in range(10):
        scale = math.sqrt((1.0 if q == 0 else 2.0) / 40)
        result.append(scale * sum(logs[b] * math.cos(math.pi * q * (2 * b + 1) / 80) for b in range(40)))
    return result


def test_mfcc_equals_direct_computation() -> None:
    clip = np.random.default_rng(1).uniform(-0.5, 0.5, 16_000)
    got = front_end.raw_mfcc(clip[None])[0]
    for frame in (0, 7, 48):
        expected = _direct_mfcc_of_frame(clip[320 * frame : 320 * frame + 640])
        np.testing.assert_allclose(got[frame], expected, rtol=1e-9, atol=1e-9)


def test_mfcc_shape_type_and_fixed_normalisation() -> None:
    clips = np.random.default_rng(2).uniform(-1, 1, (3, 16_000))
    together = front_end.mfcc(clips)
    assert together.shape == (3, 1, 49, 10) and together.dtype == np.float32
    # A clip's features do not depend on its neighbours: nothing is measured on the batch.
    alone = np.concatenate([front_end.mfcc(clip[None]) for clip in clips])
    np.testing.assert_array_equal(together, alone)


def test_silence_is_finite_and_known() -> None:
    raw = front_end.raw_mfcc(np.zeros((1, 16_000)))
    np.testing.assert_allclose(raw[..., 0], math.log(1e-6) * math.sqrt(40), rtol=1e-12)
    np.testing.assert_allclose(raw[..., 1:], 0.0, atol=1e-9)


@settings(max_examples=25)
@given(st.floats(min_value=150.0, max_value=3500.0))
def test_tone_lands_in_its_mel_band(hertz: float) -> None:
    tone = np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)[None]
    energies = front_end._band_energies(front_end._power_spectrum(tone))[0]
    edges = front_end.band_edges()
    band = int(energies.sum(0).argmax())
    width = 16_000 / 640  # a Hann window of 640 samples smears a tone by its bin width either way
    assert edges[band] - width <= hertz <= edges[band + 2] + width


def test_amplitude_only_moves_the_first_coefficient() -> None:
    clip = np.random.default_rng(3).uniform(-0.5, 0.5, (1, 16_000))
    change = front_end.raw_mfcc(clip) - front_end.raw_mfcc(clip / 2)
    np.testing.assert_allclose(change[..., 0], math.log(4.0) * math.sqrt(40), rtol=1e-5)
    np.testing.assert_allclose(change[..., 1:], 0.0, atol=1e-4)


@pytest.mark.parametrize("bad", [np.zeros((1, 15_999)), np.zeros(16_000), np.full((1, 16_000), np.nan)])
def test_mfcc_refuses_wrong_clips(bad: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="MFCC needs"):
        front_end.mfcc(bad)


# ---- room and noise ----


@settings(max_examples=20)
@given(st.integers(-20_000, 20_000), st.integers(1, 20_000))
def test_place_keeps_what_fits(start: int, length: int) -> None:
    speech = np.arange(1.0, length + 1)
    clip = acoustics.place(speech, start)
    expected = np.zeros(16_000)
    for_index = np.arange(16_000) - start
    inside = (for_index >= 0) & (for_index < length)
    expected[inside] = speech[for_index[inside]]
    np.testing.assert_array_equal(clip, expected)


def test_noise_and_room_have_the_stated_power() -> None:
    rng = np.random.default_rng(4)
    assert acoustics.root_mean_square(acoustics.coloured_noise(rng)) == pytest.approx(1.0)
    response = acoustics.add_reverberation(np.ones(1), 0.2, 0.3, rng)
    assert response[0] == pytest.approx(1.0)
    assert np.sum(response[1:] ** 2) == pytest.approx(0.3)
    quarter = len(response) // 4
    fall = np.sum(response[1:quarter] ** 2) / np.sum(response[-quarter:] ** 2)
    assert 10 * math.log10(fall) == pytest.approx(45.0, abs=3.0)  # 60 dB in all, 15 in each quarter


def test_low_pass_halves_power_at_its_corner() -> None:
    tone = np.sin(2 * np.pi * 600.0 * np.arange(16_000) / 16_000)
    passed = acoustics.root_mean_square(acoustics.low_pass(tone, 600.0)[2_000:])
    assert passed == pytest.approx(0.5, rel=0.02)  # the tone's root mean square is 1/sqrt(2)


# ---- synthesised keywords ----


def _family(name: str) -> str:  # f1 ... and m1 ... are different people, klatt2 and klatt3 are not
    return name if name[0] in "fm" and name[1:].isdigit() else name.rstrip("0123456789").lower()


def test_no_voice_and_no_family_is_in_two_splits() -> None:
    assert set(keywords.VARIANTS_OF_SPLIT) == set(SPLIT_NAMES)
    for one, other in combinations(keywords.VARIANTS_OF_SPLIT.values(), 2):
        assert not {_family(v) for v in one} & {_family(v) for v in other}
    for domain, split in keywords.SPLITS:
        size = keywords.SPLITS[domain, split]
        used = {r.voice.variant for r in keywords._plan(keywords.DOMAINS[domain], split, size, 0)}
        assert used == set(keywords.VARIANTS_OF_SPLIT[split])


def test_test_voices_follow_from_the_rule_stated_beside_them() -> None:
    families: dict[str, list[str]] = {}
    for variant in keywords.TRAIN_VARIANTS + keywords.TEST_VARIANTS:
        families.setdefault(_family(variant), []).append(variant)
    drawn: list[str] = []
    for number in np.random.default_rng(0).permutation(len(families)):
        members = families[sorted(families)[number]]
        drawn += members if len(drawn) + len(members) <= 16 else []
    assert set(drawn) == set(keywords.TEST_VARIANTS) and len(drawn) == 16


@needs_espeak
def test_no_two_voices_sound_the_same() -> None:
    def sound(variant: str) -> bytes:
        return espeak.synthesise(["right"], espeak.Voice("en-us", variant, 150, 50))[0].tobytes()

    variants = [variant for split in SPLIT_NAMES for variant in keywords.VARIANTS_OF_SPLIT[split]]
    assert len({sound(variant) for variant in variants}) == len(variants)  # nor are two voices of a split one


@needs_espeak
def test_words_spoken_together_are_parted() -> None:
    voice = espeak.Voice("en-gb", "f3", 130, 60)
    words = [*speech_commands.COMMANDS, "backward"]
    together = espeak.synthesise(words, voice)
    assert len(together) == len(words)
    for word, samples in zip(words, together, strict=True):
        alone = espeak.synthesise([word], voice)[0]
        assert np.abs(samples).max() == pytest.approx(1.0)
        assert len(samples) == pytest.approx(len(alone), rel=0.25)
        assert 0.1 * 16_000 < len(samples) < 16_000


@needs_espeak
def test_words_that_cannot_be_parted_are_spoken_singly(monkeypatch: pytest.MonkeyPatch) -> None:
    voice = espeak.Voice("en-us", "m1", 150, 50)
    expected = [espeak.synthesise([word], voice)[0] for word in ("yes", "no")]
    split = espeak._split_at_pauses
    calls: list[int] = []

    def once_wrong(samples: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        calls.append(len(samples))
        return [samples] if len(calls) == 1 else split(samples)

    monkeypatch.setattr(espeak, "_split_at_pauses", once_wrong)
    for got, want in zip(espeak.synthesise(["yes", "no"], voice), expected, strict=True):
        np.testing.assert_array_equal(got, want)


@needs_espeak
@pytest.mark.parametrize("domain", ["clean", "noisy"])
def test_same_seed_same_bytes_whatever_the_workers(domain: str) -> None:
    def make(seed: int, workers: int) -> tuple[bytes, bytes]:
        x, y = keywords.generate(keywords.DOMAINS[domain], "train", TINY, seed, workers=workers)
        return x.tobytes(), y.tobytes()

    one = make(7, 1)
    assert one == make(7, 3)
    assert one != make(8, 1)


@needs_espeak
def test_generated_set_is_balanced_and_progress_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    main = threading.get_ident()

    def progress(done: int, total: int) -> None:
        assert threading.get_ident() == main
        seen.append((done, total))

    x, y = keywords.generate(keywords.DOMAINS["noisy"], "test", TINY, 0, progress=progress, workers=2)
    assert x.shape == (TINY.clips, 1, 49, 10) and x.dtype == np.float32 and y.dtype == np.int64
    assert np.isfinite(x).all()
    np.testing.assert_array_equal(np.bincount(y), [TINY.clips // 12] * 12)
    assert seen[-1] == (TINY.clips, TINY.clips)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@needs_espeak
def test_cache_is_used_and_made_anew_when_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(keywords.SPLITS, ("clean", "test"), TINY)
    made: list[int] = []
    original = keywords.generate

    def counting(*args: object, **kwargs: object) -> object:
        made.append(1)
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(keywords, "generate", counting)
    seen: list[tuple[int, int]] = []
    first = load("keywords-clean", "test", seed=3, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (TINY.clips, TINY.clips)
    # The origin is the voice: both are heard equally often, and a voice says every class equally often.
    assert first.origin is not None and sorted(np.bincount(first.origin).tolist())[-2:] == [24, 24]
    for voice in np.unique(first.origin):
        np.testing.assert_array_equal(np.bincount(first.y[first.origin == voice]), [2] * 12)
    assert first.classes == speech_commands.CLASSES and len(first.x) == TINY.clips
    (file,) = (tmp_path / "odl").iterdir()
    whole = file.read_bytes()
    np.testing.assert_array_equal(load("keywords-clean", "test", seed=3).x, first.x)
    assert len(made) == 1

    middle = len(whole) // 3
    damages = [
        whole[: len(whole) // 2],
        b"",
        b"no zip",
        whole[:middle] + b"\xff\x00\xff" + whole[middle + 3 :],
    ]
    for number, damaged in enumerate(damages):
        file.write_bytes(damaged)
        np.testing.assert_array_equal(load("keywords-clean", "test", seed=3).x, first.x)
        assert len(made) == 2 + number
        assert cache.read(file) is not None

    # Another seed or another parameter is another file.
    load("keywords-clean", "test", seed=4)
    monkeypatch.setitem(keywords.SPLITS, ("clean", "test"), replace(TINY, renderings=1))
    assert len(load("keywords-clean", "test", seed=3).x) == TINY.clips // 2
    assert len(list((tmp_path / "odl").iterdir())) == 3


def test_cache_refuses_altered_values_in_an_intact_file(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    x, y = np.ones((2, 1, 49, 10), np.float32), np.zeros(2, np.int64)
    cache.write(path, x, y)
    assert cache.read(path) is not None
    with np.load(path) as stored:
        digest = stored["digest"]
    np.savez(path, x=x * 2, y=y, digest=digest)
    assert cache.read(path) is None
    np.savez(path, x=x, y=y)
    assert cache.read(path) is None
    assert cache.read(tmp_path / "absent.npz") is None


def test_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache.write(blocked / "odl" / "set.npz", np.ones((1, 1, 49, 10), np.float32), np.zeros(1, np.int64))


def test_missing_espeak_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="apt-get install espeak-ng"):
        load("keywords-clean", "train")


def test_espeak_without_a_voice_is_an_error_not_another_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "installed_variants", lambda: frozenset(keywords.TRAIN_VARIANTS) - {"f1"})
    monkeypatch.setattr(espeak, "version", lambda: "1.49")
    with pytest.raises(MissingToolError, match=r"1\.49 lacks the voice variants f1;"):
        keywords.generate(keywords.DOMAINS["clean"], "train", TINY, 0)


def test_default_sizes() -> None:
    assert keywords.SPLITS["noisy", "test"].clips >= 800
    assert keywords.DOMAINS["clean"].signal_to_noise_db[0] >= 30.0


# ---- names ----


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("keywords-loud", "train", "no data set named 'keywords-loud'; there are: digits"),
        ("keywords-clean", "dev", "there is no split 'dev'"),
        ("speech-commands", "train", "needs the path of its files"),
        ("speech-commands:/no/such/folder", "train", "/no/such/folder: no such folder"),
        ("speech-commands:/", "dev", "no split 'dev'"),
    ],
)
def test_unknown_names_are_one_clear_line(name: str, split: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(name, split)
    assert "\n" not in str(caught.value)


def test_each_set_refuses_what_it_does_not_have() -> None:
    with pytest.raises(
        InputError, match="no domain 'clean' with split 'dev'; there are: clean train, clean valid"
    ):
        keywords.load("clean", "dev")
    with pytest.raises(InputError, match="no split 'dev'"):
        speech_commands.load(Path("/"), "dev")


# ---- Speech Commands ----


def _write_wav(
    path: Path, samples: NDArray[np.int16], rate: int = 16_000, channels: int = 1, width: int = 2
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Like Speech Commands: 10 commands and 3 other words x 4 files, one of them validation and one test."""
    folder = tmp_path / "speech_commands"
    rng = np.random.default_rng(5)
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for word in (*speech_commands.COMMANDS, "bed", "cat", "wow"):
        for number, length in enumerate((16_000, 9_000, 16_000, 20_000)):
            name = f"{word}/{number:08x}_nohash_0.wav"
            _write_wav(folder / name, rng.integers(-9000, 9000, length).astype(np.int16))
            if number >= 2:
                lists[list(lists)[number - 2]].append(name)
    for number in range(2):
        _write_wav(
            folder / "_background_noise_" / f"{number}.wav", rng.integers(-99, 99, 40_000).astype(np.int16)
        )
    for file, names in lists.items():
        (folder / file).write_text("\n".join(names) + "\n")
    return folder


@pytest.mark.parametrize(("split", "each"), [("train", 2), ("validation", 1), ("test", 1)])
def test_commands_are_mapped_to_twelve_classes(commands: Path, split: str, each: int) -> None:
    data = load(f"speech-commands:{commands}", split)
    assert data.classes == speech_commands.CLASSES
    assert data.x.shape == (12 * each, 1, 49, 10) and data.x.dtype == np.float32
    np.testing.assert_array_equal(np.bincount(data.y, minlength=12), [each] * 12)
    np.testing.assert_array_equal(data.x, load(f"speech-commands:{commands}", split).x)


def test_short_files_are_padded_and_long_ones_cut(commands: Path) -> None:
    data = load(f"speech-commands:{commands}", "test")
    samples = speech_commands.read_wav(commands / "yes" / "00000003_nohash_0.wav")
    assert len(samples) == 20_000
    expected = front_end.mfcc(samples[None, :16_000])[0]
    assert any(np.array_equal(x, expected) for x in data.x[data.y == 0])
    data = load(f"speech-commands:{commands}", "train")
    samples = speech_commands.read_wav(commands / "yes" / "00000001_nohash_0.wav")
    expected = front_end.mfcc(np.pad(samples, (0, 7_000))[None])[0]
    assert any(np.array_equal(x, expected) for x in data.x[data.y == 0])


def _as_text(path: Path) -> None:
    path.write_text("this is not audio")


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1001])


def _cut_in_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _no_samples(path: Path) -> None:
    _write_wav(path, np.zeros(0, np.int16))


def _eight_kilohertz(path: Path) -> None:
    _write_wav(path, np.zeros(8_000, np.int16), rate=8_000)


def _stereo(path: Path) -> None:
    _write_wav(path, np.zeros(32_000, np.int16), channels=2)


def _eight_bit(path: Path) -> None:
    _write_wav(path, np.zeros(8_000, np.int16), width=1)


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", ["off/00000003_nohash_0.wav", "_background_noise_/0.wav"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_as_text, "not a WAV file"),
        (_cut_short, "cut short"),
        (_cut_in_header, "not a WAV file"),
        (_empty, "not a WAV file"),
        (_no_samples, "holds no samples"),
        (_eight_kilohertz, "8000 Hz"),
        (_stereo, r"2 channel\(s\)"),
        (_eight_bit, "8 bit"),
        (_as_folder, "cannot be read"),
    ],
)
def test_faulty_recordings_are_named(
    commands: Path, name: str, damage: Callable[[Path], None], message: str
) -> None:
    damage(commands / name)
    with pytest.raises(InputError, match=message) as caught:
        load(f"speech-commands:{commands}", "test")
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_listed_file_that_is_absent_is_named(commands: Path) -> None:
    (commands / "off" / "00000003_nohash_0.wav").unlink()
    with pytest.raises(InputError, match=r"00000003_nohash_0\.wav: no such file"):
        load(f"speech-commands:{commands}", "test")


@pytest.mark.parametrize("name", ["testing_list.txt", "validation_list.txt", "_background_noise_", "stop"])
def test_missing_parts_are_named(commands: Path, name: str) -> None:
    part = commands / name
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    with pytest.raises(InputError, match=name):
        load(f"speech-commands:{commands}", "train")


@pytest.mark.parametrize("line", ["../secret/file.wav", "yes", "yes/no/x.wav", "yes/notes.txt"])
def test_wrong_list_entries_are_named(commands: Path, line: str) -> None:
    (commands / "testing_list.txt").write_text(line + "\n")
    with pytest.raises(InputError, match=r"testing_list\.txt: .* is not of the form"):
        load(f"speech-commands:{commands}", "test")


def test_empty_split_is_an_error(commands: Path) -> None:
    (commands / "testing_list.txt").write_text("")
    with pytest.raises(InputError, match="no file of any command in the test split"):
        load(f"speech-commands:{commands}", "test")
