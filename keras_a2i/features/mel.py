"""Constant matrices of mel features in NumPy: triangular filters by three conventions, and the cepstral transform."""

import functools
import math

import numpy as np


@functools.lru_cache(maxsize=8)
def psf_filters(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float) -> np.ndarray:
    """Returns triangular filters, float64 (n_fft // 2 + 1, n_mels), of equal width in mel, edges rounded to FFT bins.

    Reference:
        python_speech_features 0.6, `get_filterbanks`.
    """
    edges = np.floor((n_fft + 1) * _htk_edges(n_mels, f_min, f_max) / sample_rate)
    filters = np.zeros((n_fft // 2 + 1, n_mels))
    for i, (low, peak, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        rising, falling = np.arange(low, peak), np.arange(peak, high)
        filters[rising.astype(int), i] = (rising - low) / max(peak - low, 1)
        filters[falling.astype(int), i] = (high - falling) / max(high - peak, 1)
    return filters


@functools.lru_cache(maxsize=8)
def htk_filters(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float) -> np.ndarray:
    """Returns filters that are triangles over mel, float32 (n_fft // 2 + 1, n_mels), zero at 0 Hz.

    They are computed in single precision, as the reference does: its filters deviate from the exact ones by 1e-5.

    Reference:
        TensorFlow, `tf.signal.linear_to_mel_weight_matrix`.
    """
    low, high, top = np.float32(f_min), np.float32(f_max), np.float32(sample_rate / 2)
    frequencies = np.linspace(0, top, n_fft // 2 + 1, dtype=np.float32)
    mels = np.linspace(_hertz_to_htk32(low), _hertz_to_htk32(high), n_mels + 2, dtype=np.float32)
    filters = _triangles(_hertz_to_htk32(frequencies), mels)
    filters[0] = 0
    return filters


@functools.lru_cache(maxsize=8)
def cepstral_matrix(n_mels: int, n_mfcc: int, lifter: int = 0, *, orthonormal: bool = True) -> np.ndarray:
    """Returns the matrix of a DCT-II with a lifter's weights, float64 (n_mels, n_mfcc).

    Args:
        n_mels: number of log-mel values of a frame.
        n_mfcc: number of coefficients of a frame.
        lifter: length of the sine lifter, 0 for none.
        orthonormal: whether the first coefficient is also scaled for an orthonormal transform; tf.signal doesn't do so.
    """
    order = np.arange(n_mfcc)
    matrix = np.cos(np.pi / n_mels * np.outer(np.arange(n_mels) + 0.5, order)) * math.sqrt(2 / n_mels)
    if orthonormal:
        matrix[:, 0] /= math.sqrt(2)
    if lifter:
        matrix *= 1 + lifter / 2 * np.sin(np.pi * order / lifter)
    return matrix


def _triangles(positions: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Triangles (len(positions), len(edges) - 2), rising from each edge to the next and falling to the one after."""
    positions = positions[:, None]
    rising = (positions - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - positions) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def _htk_edges(n_mels: int, f_min: float, f_max: float) -> np.ndarray:
    return mel_to_hertz(np.linspace(hertz_to_mel(f_min), hertz_to_mel(f_max), n_mels + 2))


def hertz_to_mel(hertz: np.ndarray | float) -> np.ndarray:
    """Returns the mel of a frequency in Hz, by HTK's scale."""
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def mel_to_hertz(mel: np.ndarray | float) -> np.ndarray:
    """Returns the frequency in Hz of a mel, by HTK's scale."""
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)


def _hertz_to_htk32(hertz: np.ndarray | np.float32) -> np.ndarray:
    return np.asarray(np.float32(1127) * np.log(np.float32(1) + hertz / np.float32(700)))
