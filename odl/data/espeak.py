"""Spoken words from espeak-ng, the speech synthesiser that Debian ships."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, upfirdn

from odl.errors import MissingToolError

PROGRAM = "espeak-ng"
ESPEAK_RATE = 22_050
"""Samples per second of every espeak-ng voice used here."""
_UP, _DOWN = 320, 441
"""22,050 Hz * 320 / 441 = 16,000 Hz."""
_HEADER_BYTES = 44
_QUIET = 0.02
"""Share of the peak below which a sample counts as silence."""
_PAUSE_SAMPLES = ESPEAK_RATE // 5
"""A pause between words lasts 0.35 s or more, the closure of a stop consonant less than 0.1 s."""
_HOW_TO_GET = "install it with: sudo apt-get install espeak-ng"


@dataclass(frozen=True)
class Voice:
    """One way of speaking: an accent ("en-us"), a voice variant ("f3"), words per minute and pitch (0-99)."""

    accent: str
    variant: str
    speed: int
    pitch: int


def _run(arguments: list[str], text: str = "") -> bytes:
    try:
        finished = subprocess.run(
            [PROGRAM, *arguments], input=text.encode(), capture_output=True, check=False, timeout=60
        )
    except FileNotFoundError:
        raise MissingToolError(f"{PROGRAM} is needed to synthesise the keyword set; {_HOW_TO_GET}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingToolError(f"{PROGRAM} cannot be run ({error}); {_HOW_TO_GET}") from None
    if finished.returncode != 0:
        reason = finished.stderr.decode(errors="replace").strip() or f"exit code {finished.returncode}"
        command = " ".join([PROGRAM, *arguments])
        raise MissingToolError(f"`{command}` failed: {reason}; {_HOW_TO_GET}")
    return finished.stdout


def version() -> str:
    """Version of the installed espeak-ng, such as "1.51"; MissingToolError when it is not installed."""
    text = _run(["--version"]).decode(errors="replace")
    found = re.search(r"(\d+\.\d+[\w.\-]*)", text)
    return found.group(1) if found else text.strip()


@lru_cache(maxsize=1)
def installed_variants() -> frozenset[str]:
    """Names of the voice variants that the installed espeak-ng knows.

    An unknown one it would speak with its default voice, without a word.
    """
    listing = _run(["--voices=variant"]).decode(errors="replace")
    return frozenset(re.findall(r"!v/(\S+)", listing))


def synthesise(words: Sequence[str], voice: Voice) -> list[NDArray[np.float64]]:
    """Each word spoken by the voice: 16 kHz, scaled to a peak of 1, the silence around it cut off.

    The same arguments give the same samples. MissingToolError when espeak-ng is missing or does not speak.
    """
    # Starting the program costs more than speaking: all words go in at once, each a paragraph, and are
    # parted at the pauses.
    spoken = _split_at_pauses(_speak("\n\n".join(words), voice))
    if len(spoken) != len(words):
        spoken = [_join(_split_at_pauses(_speak(word, voice))) for word in words]
    return [_finish(samples) for samples in spoken]


def _speak(text: str, voice: Voice) -> NDArray[np.float64]:
    """What espeak-ng makes of the text: samples at 22,050 Hz."""
    name = f"{voice.accent}+{voice.variant}"
    wave = _run(["-v", name, "-s", str(voice.speed), "-p", str(voice.pitch), "--stdout"], text)
    rate = int.from_bytes(wave[24:28], "little")
    body = wave[_HEADER_BYTES:]
    samples = np.frombuffer(body[: len(body) // 2 * 2], dtype="<i2").astype(np.float64)
    if wave[:4] != b"RIFF" or rate != ESPEAK_RATE or not samples.any():
        raise MissingToolError(
            f"{PROGRAM} gave no sound at {ESPEAK_RATE} Hz for {text!r} with the voice {name}; {_HOW_TO_GET}"
        )
    return samples


def _split_at_pauses(samples: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The stretches between pauses, quiet edges cut off."""
    loud = np.flatnonzero(np.abs(samples) > _QUIET * np.abs(samples).max())
    ends = np.flatnonzero(np.diff(loud) > _PAUSE_SAMPLES)
    firsts, lasts = np.append(loud[0], loud[ends + 1]), np.append(loud[ends], loud[-1])
    return [samples[first : last + 1] for first, last in zip(firsts, lasts, strict=True)]


def _join(stretches: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(stretches)


def _finish(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """22,050 Hz to 16 kHz, peak 1."""
    resampled = np.asarray(upfirdn(_low_pass(), samples, _UP, _DOWN))
    return np.asarray(resampled / np.abs(resampled).max())


@lru_cache(maxsize=1)
def _low_pass() -> NDArray[np.float64]:
    """Low pass at 8 kHz for the resampling; scipy's resample_poly would design it anew for every word."""
    return np.asarray(firwin(2 * 10 * _DOWN + 1, 1.0 / _DOWN, window=("kaiser", 5.0)))
