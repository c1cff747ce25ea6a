"""MFCC front end: one second of 16 kHz speech becomes the 49 x 10 picture that the DS-CNN reads.

Steps and where their formulas come from:

* frames of 40 ms every 20 ms, periodic Hann window, 1,024-point DFT, power spectrum (sizes, 40 mel bands
  from 20 to 4,000 Hz and 10 coefficients as in the keyword spotting benchmark of MLPerf Tiny);
* mel scale `mel(f) = 1127 ln(1 + f / 700)` (Young et al., The HTK Book, version 3.4, section 5.4), triangular
  bands of unit height, equally spaced and half overlapping in mel;
* natural logarithm of the band energies, then the orthonormal DCT-II over the bands (Davis and Mermelstein,
  "Comparison of parametric representations for monosyllabic word recognition in continuously spoken
  sentences", IEEE Trans. ASSP 28(4), 1980), of which the first ten coefficients are kept;
* `(coefficient - MEAN) / DEVIATION` with fixed constants. Nothing is measured on the data at hand, so a
  device and the host that feed the same samples see the same numbers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.sparse
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Samples per second the front end expects."""
CLIP_SAMPLES = SAMPLE_RATE
"""Samples of one clip: one second."""
FRAME_SAMPLES = 640
"""40 ms."""
HOP_SAMPLES = 320
"""20 ms."""
FRAMES = 1 + (CLIP_SAMPLES - FRAME_SAMPLES) // HOP_SAMPLES
"""Frames that fit whole in a clip: 49."""
FFT_POINTS = 1_024
MEL_BANDS = 40
LOWEST_HZ = 20.0
HIGHEST_HZ = 4_000.0
COEFFICIENTS = 10
ENERGY_FLOOR = 1e-6
"""Added to every band energy before the logarithm; a digitally silent clip stays finite."""

MEAN = np.array([-18.0, 4.7, 1.6, -0.4, -0.3, 0.0, 0.0, 0.2, 0.1, 0.0])
"""Subtracted from each coefficient: rounded means over synthesised speech, clean and noisy."""
DEVIATION = np.array([20.0, 6.0, 3.6, 3.8, 3.0, 2.7, 2.2, 1.9, 1.8, 1.8])
"""Divides each coefficient: rounded standard deviations over the same."""

_CLIPS_AT_ONCE = 64
_BINS_USED = 1 + int(HIGHEST_HZ * FFT_POINTS / SAMPLE_RATE)


def hertz_to_mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Frequency in Hz to mel (HTK Book, section 5.4)."""
    return np.asarray(1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0))


def mel_to_hertz(mel: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Inverse of :func:`hertz_to_mel`."""
    return np.asarray(700.0 * np.expm1(np.asarray(mel, dtype=np.float64) / 1127.0))


def band_edges() -> NDArray[np.float64]:
    """The 42 edges of the mel bands in Hz: band b rises from edge b to its centre b + 1, falls to b + 2."""
    lowest, highest = hertz_to_mel(np.array([LOWEST_HZ, HIGHEST_HZ]))
    return mel_to_hertz(np.linspace(lowest, highest, MEL_BANDS + 2))


@lru_cache(maxsize=1)
def mel_weights() -> NDArray[np.float64]:
    """Weights [513 DFT bins, 40 bands] that sum a power spectrum into bands; slopes are straight in mel."""
    bins = hertz_to_mel(np.arange(FFT_POINTS // 2 + 1, dtype=np.float64) * (SAMPLE_RATE / FFT_POINTS))
    edges = hertz_to_mel(band_edges())
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (centre - left)
    falling = (right - bins[:, None]) / (right - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights.setflags(write=False)
    return weights


def _band_energies(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power spectra [N, 49, 257] to mel band energies [N, 49, 40]."""
    # Sparse, as a bin lies in two bands at most; and its order of sums is fixed, unlike that of a threaded
    # BLAS.
    weights = scipy.sparse.csr_array(mel_weights()[:_BINS_USED])
    return np.asarray(power.reshape(-1, _BINS_USED) @ weights).reshape(*power.shape[:2], MEL_BANDS)


def _power_spectrum(clips: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clips [N, 16000] to power spectra [N, 49, 257] up to the highest mel band."""
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES)
    frames = np.lib.stride_tricks.sliding_window_view(clips, FRAME_SAMPLES, axis=-1)[:, ::HOP_SAMPLES]
    spectrum = np.asarray(scipy.fft.rfft(frames * window, n=FFT_POINTS, axis=-1))[..., :_BINS_USED]
    return np.asarray(spectrum.real**2 + spectrum.imag**2)


def raw_mfcc(clips: NDArray[np.floating]) -> NDArray[np.float64]:
    """Coefficients before normalisation: clips [N, 16000] in -1..1 to [N, 49, 10].

    Raises ValueError when a clip has another length or holds a value that is not finite.
    """
    samples = np.asarray(clips, dtype=np.float64)
    if samples.ndim != 2 or samples.shape[1] != CLIP_SAMPLES:
        raise ValueError(f"MFCC needs clips of shape [N, {CLIP_SAMPLES}], got {list(samples.shape)}")
    if not np.isfinite(samples).all():
        raise ValueError("MFCC needs finite samples, got NaN or infinity")
    result = np.empty((len(samples), FRAMES, COEFFICIENTS))
    for first in range(0, len(samples), _CLIPS_AT_ONCE):  # bounds the memory the spectra take
        part = slice(first, first + _CLIPS_AT_ONCE)
        energies = _band_energies(_power_spectrum(samples[part]))
        cepstrum = scipy.fft.dct(np.log(energies + ENERGY_FLOOR), type=2, norm="ortho", axis=-1)
        result[part] = cepstrum[..., :COEFFICIENTS]
    return result


def mfcc(clips: NDArray[np.floating]) -> NDArray[np.float32]:
    """Normalised MFCC of clips [N, 16000] in -1..1: float32 [N, 1, 49, 10] (channel, time, coefficient).

    Raises ValueError as `raw_mfcc` does.
    """
    return np.asarray((raw_mfcc(clips) - MEAN) / DEVIATION, dtype=np.float32)[:, None]
