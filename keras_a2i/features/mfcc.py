"""Mel-frequency cepstral coefficients in NumPy, and the 16-bit samples they are computed from."""

import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError, SourceError
from keras_a2i.features.mel import cepstral_matrix, psf_filters

FULL_SCALE = 32_768
# float64 values of windowed sound held at a time: 8 MiB, whatever the batch.
_CHUNK_VALUES = 1 << 20
_EPSILON = np.finfo(np.float64).eps


def pcm16(waveform: np.ndarray) -> np.ndarray:
    """Rounds a waveform to the 16-bit samples that records store.

    Args:
        waveform: floating-point samples of any shape; full scale is [-1, 1].

    Returns:
        int16 array of the same shape, the samples x 32768 rounded to the nearest and clipped to the int16 range.

    Raises:
        ConfigError: if the samples aren't floating point.
        SourceError: if a sample isn't finite.
    """
    waveform = np.asarray(waveform)
    _require_floating(waveform)
    _require_finite(waveform)
    return np.clip(np.rint(waveform * waveform.dtype.type(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def from_pcm16(samples: np.ndarray) -> np.ndarray:
    """Turns 16-bit samples of any shape into float32 in [-1, 1); `pcm16` gives back the same samples.

    Raises:
        ConfigError: if the samples aren't int16.
    """
    samples = np.asarray(samples)
    if samples.dtype != np.int16:
        raise ConfigError(f"Samples must be int16. Received: dtype={samples.dtype}")
    return samples.astype(np.float32) / FULL_SCALE


def mfcc(waveforms: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Computes the mel-frequency cepstral coefficients of a batch.

    A window starts at every hop; the sound is filled with silence to the end of the last one. Windows are rectangular,
    and the first coefficient of each is its log energy. Memory beyond the result stays bounded, and an
    item's features don't depend on the batch it is in.

    Args:
        waveforms: float array (batch, n_samples) in [-1, 1] at `config.sample_rate`.
        config: windows, mel filters and coefficients.

    Returns:
        float32 array (batch, n_features), window-major: all coefficients of the first window, then the next's.

    Raises:
        ConfigError: if the array isn't floating point or hasn't the shape (batch, n_samples), or the configuration is
            one of embeddings.
        SourceError: if a sample isn't finite.

    Reference:
        python_speech_features 0.6, `mfcc` with `appendEnergy=True` and no window function, on 16-bit samples with the
        silence appended.
    """
    if config.embedding:
        raise ConfigError(f"MFCC need a configuration of sound. Received: {config.description}")
    waveforms = np.asarray(waveforms)
    if waveforms.ndim != 2 or waveforms.shape[1] != config.n_samples:
        raise ConfigError(
            f"Waveforms must have the shape (batch, {config.n_samples}): {config.duration:g} s at "
            f"{config.sample_rate} Hz. Received: shape={waveforms.shape}"
        )
    _require_floating(waveforms)
    _require_finite(waveforms)
    features = np.empty((len(waveforms), config.n_frames, config.n_mfcc), np.float32)
    n_frames = max(1, min(config.n_frames, _CHUNK_VALUES // config.n_fft))
    n_items = max(1, _CHUNK_VALUES // (n_frames * config.n_fft))
    for item in range(0, len(waveforms), n_items):
        windows = _windows(waveforms[item : item + n_items], config)
        for first in range(0, config.n_frames, n_frames):
            part = slice(first, first + n_frames)
            features[item : item + n_items, part] = _cepstra(windows[:, part], config)
    return features.reshape(len(waveforms), config.n_features)


def _require_floating(waveforms: np.ndarray) -> None:
    if not np.issubdtype(waveforms.dtype, np.floating):
        raise ConfigError(
            f"Waveforms must be floating point in [-1, 1]; from_pcm16 turns int16 into that. "
            f"Received: dtype={waveforms.dtype}"
        )


def _require_finite(waveforms: np.ndarray) -> None:
    if not np.isfinite(waveforms).all():
        raise SourceError(f"Samples must be finite. Received: NaN or infinite samples in shape={waveforms.shape}")


def _windows(waveforms: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Pre-emphasised windows (items, n_frames, frame_length) as a view."""
    length = (config.n_frames - 1) * config.hop_length + config.frame_length
    signal = np.zeros((len(waveforms), max(length, config.n_samples)))
    signal[:, : config.n_samples] = waveforms
    signal[:, : config.n_samples] *= FULL_SCALE
    signal[:, 1:] -= config.preemphasis * signal[:, :-1]
    windows = np.lib.stride_tricks.sliding_window_view(signal, config.frame_length, axis=1)
    return windows[:, :: config.hop_length][:, : config.n_frames]


def _cepstra(windows: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Coefficients (items, windows, n_mfcc) of windows (items, windows, frame_length)."""
    spectrum = np.fft.rfft(windows, config.n_fft)
    power = (spectrum.real**2 + spectrum.imag**2) / config.n_fft
    energy = power.sum(axis=-1)
    # One matrix product an item, so that its rounding is the same in a batch of any size.
    mel = power @ _filters(config)
    mel[mel == 0] = _EPSILON
    energy[energy == 0] = _EPSILON
    cepstra = np.log(mel) @ cepstral_matrix(config.n_mels, config.n_mfcc, config.lifter)
    cepstra[..., 0] = np.log(energy)
    return cepstra


def _filters(config: FeatureConfig) -> np.ndarray:
    return psf_filters(config.sample_rate, config.n_fft, config.n_mels, 0.0, config.sample_rate / 2)
