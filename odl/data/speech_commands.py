"""Google Speech Commands from its unpacked folder, as the twelve-class keyword task.

Source of the task: Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018
(arXiv:1804.03209), section 7: ten commands, every other word is "unknown", stretches of the background
recordings are "silence". As there, the lists in the folder decide which speakers belong to which split, and
"unknown" and "silence" are as frequent as one command.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from odl.data.dataset import Dataset
from odl.data.mfcc import CLIP_SAMPLES, COEFFICIENTS, FRAMES, SAMPLE_RATE, mfcc
from odl.errors import InputError

COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN = "unknown"
SILENCE = "silence"
CLASSES = (*COMMANDS, UNKNOWN, SILENCE)
OTHER_WORDS = (
    "backward", "bed", "bird", "cat", "dog", "eight", "five", "follow", "forward", "four", "happy",
    "house", "learn", "marvin", "nine", "one", "seven", "sheila", "six", "three", "tree", "two", "visual",
    "wow", "zero",
)  # fmt: skip
"""The words of version 2 that are not commands."""

NOISE_FOLDER = "_background_noise_"
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
SPLITS = ("train", *LISTS)
_CLIPS_AT_ONCE = 256


@dataclass(frozen=True)
class _Clip:
    """One second to read: a word's file from its start, or a stretch of a noise recording, turned down."""

    path: Path
    label: int
    first: int = 0
    volume: float = 1.0


def load(
    folder: Path, split: str, seed: int = 0, *, progress: Callable[[int, int], None] | None = None
) -> Dataset:
    """One split ("train", "validation", "test") as normalised MFCC: x float32 [N, 1, 49, 10], y int64 [N].

    `seed` draws the "unknown" files, the stretches of noise and the order. InputError names the file or
    folder that is missing, is no WAV, is cut short, or is not 16 kHz, mono, 16 bit.
    """
    if split not in SPLITS:
        raise InputError(f"Speech Commands has no split {split!r}; there are: {', '.join(SPLITS)}")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that Speech Commands was unpacked into")
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    clips = _choose(folder, split, rng)
    clips = [clips[i] for i in rng.permutation(len(clips))]
    x = np.empty((len(clips), 1, FRAMES, COEFFICIENTS), dtype=np.float32)
    for first in range(0, len(clips), _CLIPS_AT_ONCE):
        part = clips[first : first + _CLIPS_AT_ONCE]
        x[first : first + len(part)] = mfcc(np.stack([_samples(clip) for clip in part]))
        if progress is not None:
            progress(first + len(part), len(clips))
    y = np.array([clip.label for clip in clips], dtype=np.int64)
    return Dataset(name="speech-commands", x=x, y=y, classes=CLASSES)


def read_wav(path: Path) -> NDArray[np.float64]:
    """Samples in -1..1 of a 16 kHz, mono, 16 bit WAV file; InputError names a file that is anything else."""
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            frames = file.getnframes()
            data = file.readframes(frames)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (wave.Error, EOFError) as error:
        reason = str(error) or "the file ends too early"
        raise InputError(f"{path}: not a WAV file that can be read ({reason})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if (rate, channels, width) != (SAMPLE_RATE, 1, 2):
        raise InputError(
            f"{path}: {rate} Hz, {channels} channel(s), {8 * width} bit; "
            f"needed are {SAMPLE_RATE} Hz, 1 channel, 16 bit"
        )
    if len(data) != 2 * frames:
        raise InputError(f"{path}: cut short, its header says {frames} samples but it holds {len(data) // 2}")
    if frames == 0:
        raise InputError(f"{path}: holds no samples")
    return np.frombuffer(data, dtype="<i2").astype(np.float64) / 32_768.0


def _samples(clip: _Clip) -> NDArray[np.float64]:
    """One second [16000]: longer files are cut off, shorter ones padded with zeros at the end."""
    samples = read_wav(clip.path)[clip.first : clip.first + CLIP_SAMPLES]
    return np.pad(samples, (0, CLIP_SAMPLES - len(samples))) * clip.volume


def _choose(folder: Path, split: str, rng: np.random.Generator) -> list[_Clip]:
    """Clips of a split: all commands, and as many of "unknown" and "silence" as of a command on average."""
    lists = {name: _read_list(folder / file) for name, file in LISTS.items()}
    words = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(("_", ".")))
    missing = [command for command in COMMANDS if command not in words]
    if missing:
        raise InputError(f"{folder}: no folder for the word(s) {', '.join(missing)}; is it Speech Commands?")
    if split == "train":
        elsewhere = frozenset(entry for listed in lists.values() for entry in listed)
        names = [f"{word}/{p.name}" for word in words for p in sorted((folder / word).glob("*.wav"))]
        names = [name for name in names if name not in elsewhere]
    else:
        names = lists[split]
    spoken = [_Clip(folder / name, _label(name)) for name in names]
    commands = [clip for clip in spoken if clip.label < len(COMMANDS)]
    others = [clip for clip in spoken if clip.label == CLASSES.index(UNKNOWN)]
    if not commands:
        raise InputError(f"{folder}: no file of any command in the {split} split")
    share = -(-len(commands) // len(COMMANDS))
    chosen = rng.permutation(len(others))[:share]
    return commands + [others[i] for i in np.sort(chosen)] + _silence(folder / NOISE_FOLDER, share, rng)


def _silence(folder: Path, count: int, rng: np.random.Generator) -> list[_Clip]:
    """Random stretches of the background recordings, each at a random volume."""
    recordings = sorted(folder.glob("*.wav"))
    if not recordings:
        raise InputError(f"{folder}: no background recordings (*.wav) there")
    lengths = [len(read_wav(path)) for path in recordings]
    clips: list[_Clip] = []
    for _ in range(count):
        which = int(rng.integers(len(recordings)))
        first = int(rng.integers(max(1, lengths[which] - CLIP_SAMPLES + 1)))
        clips.append(_Clip(recordings[which], CLASSES.index(SILENCE), first, float(rng.uniform())))
    return clips


def _label(name: str) -> int:
    word = PurePosixPath(name).parts[0]
    return CLASSES.index(word if word in COMMANDS else UNKNOWN)


def _read_list(path: Path) -> list[str]:
    """Entries ("word/file.wav") of one of the folder's split lists, without repeats, in order."""
    try:
        lines = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; it says which recordings belong to which split") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    for line in lines:
        parts = PurePosixPath(line).parts
        if len(parts) != 2 or ".." in parts or not line.endswith(".wav"):
            raise InputError(f"{path}: {line!r} is not of the form word/file.wav")
    return list(dict.fromkeys(lines))
