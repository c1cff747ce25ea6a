"""What happens to a word between mouth and microphone: a room, background noise, distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, lfilter

from odl.data.mfcc import CLIP_SAMPLES, SAMPLE_RATE

Samples = NDArray[np.float64]


def coloured_noise(rng: np.random.Generator, count: int = CLIP_SAMPLES) -> Samples:
    """Noise [count] of root mean square 1 whose spectrum falls as 1/f^s, s drawn from 0 (white) to 2 (brown).

    Its loudness swells slowly by up to 6 dB either way, as that of real backgrounds does.
    """
    slope = rng.uniform(0.0, 2.0)
    frequency = np.fft.rfftfreq(count, 1.0 / SAMPLE_RATE)
    # Below 50 Hz the spectrum is held flat: brown noise would otherwise be all rumble, which no microphone
    # passes.
    shape = np.maximum(frequency, 50.0) ** (-slope / 2.0)
    spectrum = shape * (rng.standard_normal(len(shape)) + 1j * rng.standard_normal(len(shape)))
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, n=count)
    time = np.arange(count) / SAMPLE_RATE
    swell = 6.0 * rng.uniform() * np.sin(2.0 * np.pi * (rng.uniform(0.5, 4.0) * time + rng.uniform()))
    noise = noise * 10.0 ** (swell / 20.0)
    return np.asarray(noise / root_mean_square(noise))


def add_reverberation(
    speech: Samples, decay_seconds: float, level: float, rng: np.random.Generator
) -> Samples:
    """Speech followed by the tail of a room whose sound falls by 60 dB in `decay_seconds`.

    The impulse response is a unit impulse plus exponentially decaying white noise of energy `level`
    (Polack's statistical model of late reverberation, 1988). The result is longer by the tail.
    """
    count = max(1, round(decay_seconds * SAMPLE_RATE))
    decay = 10.0 ** (-3.0 * np.arange(count) / count)
    tail = rng.standard_normal(count) * decay
    tail *= np.sqrt(level) / np.sqrt(np.sum(tail**2))
    response = np.concatenate(([1.0], tail))
    return np.asarray(fftconvolve(speech, response))


def low_pass(samples: Samples, corner_hz: float) -> Samples:
    """First-order Butterworth low pass: -3 dB at the corner, 6 dB per octave above it."""
    numerator, denominator = butter(1, corner_hz, fs=SAMPLE_RATE)
    return np.asarray(lfilter(numerator, denominator, samples))


def root_mean_square(samples: Samples) -> float:
    """Square root of the mean power; 0 for an empty array."""
    return float(np.sqrt(np.mean(samples**2))) if samples.size else 0.0


def place(speech: Samples, start: int, count: int = CLIP_SAMPLES) -> Samples:
    """A silent clip [count] with the speech from sample `start`, maybe negative, cut where it sticks out."""
    clip = np.zeros(count)
    source_first = max(0, -start)
    target_first = max(0, start)
    length = min(len(speech) - source_first, count - target_first)
    if length > 0:
        clip[target_first : target_first + length] = speech[source_first : source_first + length]
    return clip
