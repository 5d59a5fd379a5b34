"""Spectrograms back into audio in NumPy: linear magnitudes of mel spectra, and a waveform of magnitudes."""

import numpy as np

from keras_a2i.errors import ConfigError

ITERATIONS = 60
MOMENTUM = 0.99
_MEL_ITERATIONS = 80
_TINY = 1e-12
# Of the largest sum of squared windows: what the windows cover less, at both ends of a clip, fades in and out.
_LEAST_COVER = 0.01


def mel_to_linear(mel: np.ndarray, filters: np.ndarray, iterations: int = _MEL_ITERATIONS) -> np.ndarray:
    """Finds magnitudes whose mel spectra are nearest to given ones, by non-negative least squares.

    Multiplicative updates from the spectrum that spreads each band over its bins keep every value at 0 or above, and
    never make the error larger. Bins that no filter covers are 0.

    Args:
        mel: mel magnitudes, 0 or above, (frames, n_mels).
        filters: mel filters (n_bins, n_mels), as of `keras_a2i.features.mel`.
        iterations: number of updates.

    Returns:
        float64 (frames, n_bins).

    Raises:
        ConfigError: if the shapes don't fit, or a value is negative or not finite.

    Reference:
        Lee and Seung, "Algorithms for non-negative matrix factorization", 2001, the update of one factor.
    """
    mel, filters = np.asarray(mel, np.float64), np.asarray(filters, np.float64)
    if mel.ndim != 2 or filters.ndim != 2 or mel.shape[1] != filters.shape[1]:
        raise ConfigError(
            "mel must have the shape (frames, n_mels) and filters (n_bins, n_mels). "
            f"Received: shapes {mel.shape} and {filters.shape}"
        )
    _check_magnitudes("mel", mel)
    cover = filters.sum(axis=1)
    linear = mel @ (filters / np.maximum(filters.sum(axis=0), _TINY)).T
    linear[:, cover == 0] = 0
    wanted = mel @ filters.T
    for _ in range(iterations):
        linear *= wanted / np.maximum(linear @ filters @ filters.T, _TINY)
    return linear


def griffin_lim(
    magnitudes: np.ndarray,
    frame_length: int,
    hop_length: int,
    *,
    iterations: int = ITERATIONS,
    momentum: float = MOMENTUM,
    seed: int = 0,
) -> np.ndarray:
    """Finds a waveform whose spectrogram has given magnitudes, from random phases.

    Frames have periodic Hann windows and aren't centred: the first one starts at sample 0, as in `LogMel` with the
    convention "htk". The first and the last fortieth of a frame's length or so fade, as the windows hardly cover them.

    Args:
        magnitudes: 0 or above, (frames, frame_length // 2 + 1).
        frame_length: samples of a frame and of its FFT.
        hop_length: samples from one frame to the next, at most half of `frame_length`.
        iterations: number of projections.
        momentum: 0 for the original algorithm; 0.99 converges faster and further.
        seed: of the random phases, 0 or more. The same seed gives the same waveform.

    Returns:
        float64 ((frames - 1) * hop_length + frame_length,). It isn't limited to [-1, 1].

    Raises:
        ConfigError: if a shape or value is out of range.

    Reference:
        Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984; Perraudin, Balazs and
        Søndergaard, "A fast Griffin-Lim algorithm", 2013.
    """
    magnitudes = np.asarray(magnitudes, np.float64)
    if magnitudes.ndim != 2 or magnitudes.shape[1] != frame_length // 2 + 1 or not len(magnitudes):
        raise ConfigError(
            f"magnitudes must have the shape (frames, {frame_length // 2 + 1}) for frames of {frame_length} samples. "
            f"Received: shape {magnitudes.shape}"
        )
    if not 1 <= hop_length <= frame_length // 2:
        raise ConfigError(
            f"hop_length must lie between 1 and half of frame_length={frame_length}. Received: hop_length={hop_length}"
        )
    if not 0 <= momentum < 1 or iterations < 1:
        raise ConfigError(
            "momentum must lie in [0, 1) and iterations be at least 1. "
            f"Received: momentum={momentum}, iterations={iterations}"
        )
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more. Received: seed={seed}")
    _check_magnitudes("magnitudes", magnitudes)
    angles = np.random.default_rng(seed).uniform(-np.pi, np.pi, magnitudes.shape)
    estimate = magnitudes * np.exp(1j * angles)
    previous = np.zeros_like(estimate)
    for _ in range(iterations):
        rebuilt = stft(istft(estimate, frame_length, hop_length), frame_length, hop_length)
        ahead = rebuilt + momentum * (rebuilt - previous)
        previous = rebuilt
        estimate = magnitudes * ahead / np.maximum(np.abs(ahead), _TINY)
    return istft(estimate, frame_length, hop_length)


def stft(waveform: np.ndarray, frame_length: int, hop_length: int) -> np.ndarray:
    """Returns the spectra, complex128 (frames, frame_length // 2 + 1), of a waveform under periodic Hann windows.

    A frame starts at sample 0 and at every hop after it while the waveform fills it.
    """
    frames = np.lib.stride_tricks.sliding_window_view(waveform, frame_length)[::hop_length]
    return np.fft.rfft(frames * _hann(frame_length))


def istft(spectra: np.ndarray, frame_length: int, hop_length: int) -> np.ndarray:
    """Returns the waveform whose `stft` is nearest to given spectra; its ends fade, see `griffin_lim`."""
    window = _hann(frame_length)
    frames = np.fft.irfft(spectra, frame_length) * window
    cover = _overlap_add(np.broadcast_to(window**2, frames.shape), hop_length)
    return _overlap_add(frames, hop_length) / np.maximum(cover, _LEAST_COVER * cover.max())


def spectral_convergence(waveform: np.ndarray, magnitudes: np.ndarray, frame_length: int, hop_length: int) -> float:
    """Returns how far the magnitudes of a waveform are from given ones: the norm of the difference over their norm.

    Reference:
        Sturmel and Daudet, "Signal reconstruction from STFT magnitude: a state of the art", 2011.
    """
    own = np.abs(stft(waveform, frame_length, hop_length))
    return float(np.linalg.norm(own - magnitudes) / max(float(np.linalg.norm(magnitudes)), _TINY))


def _overlap_add(frames: np.ndarray, hop_length: int) -> np.ndarray:
    n_frames, frame_length = frames.shape
    result = np.zeros((n_frames - 1) * hop_length + frame_length)
    for i, frame in enumerate(frames):
        result[i * hop_length : i * hop_length + frame_length] += frame
    return result


def _hann(length: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def _check_magnitudes(name: str, values: np.ndarray) -> None:
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ConfigError(f"{name} must be finite and 0 or above. Received: other values")
