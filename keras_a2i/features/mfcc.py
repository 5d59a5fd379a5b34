"""Mel-frequency cepstral coefficients in NumPy."""

import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError
from keras_a2i.features.mel import cepstral_matrix, psf_filters
from keras_a2i.media.conversion import INT16_SCALE, check_waveform

# Largest number of float64 samples in frames that are held at a time: 8 MiB, whatever the batch.
_CHUNK_VALUES = 1 << 20
_EPSILON = np.finfo(np.float64).eps


def mfcc(waveforms: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Computes the mel-frequency cepstral coefficients of a batch.

    A frame starts at every hop; the waveform is padded with silence to the end of the last one. Frames are rectangular,
    and the first coefficient of each is its log energy. Memory beyond the result is bounded, and an item's features
    don't depend on the batch that contains it.

    Args:
        waveforms: float array (batch, n_samples) in [-1, 1] at `config.sample_rate`.
        config: frames, mel filters and coefficients.

    Returns:
        float32 array (batch, n_features), frame-major: all coefficients of the first frame, then those of the next.

    Raises:
        ConfigError: if the array isn't floating point or hasn't the shape (batch, n_samples), or the configuration is
            one of embeddings.
        SourceError: if a sample isn't finite.

    Reference:
        python_speech_features 0.6, `mfcc` with `appendEnergy=True` and no window function, on 16-bit samples with the
        silence appended.
    """
    if config.embedding:
        raise ConfigError(f"config must describe MFCC of audio. Received: {config.description}")
    waveforms = np.asarray(waveforms)
    if waveforms.ndim != 2 or waveforms.shape[1] != config.n_samples:
        raise ConfigError(
            f"waveforms must have the shape (batch, {config.n_samples}), {config.duration:g} s at "
            f"{config.sample_rate} Hz. Received: shape={waveforms.shape}"
        )
    check_waveform(waveforms)
    features = np.empty((len(waveforms), config.n_frames, config.n_mfcc), np.float32)
    n_frames = max(1, min(config.n_frames, _CHUNK_VALUES // config.n_fft))
    n_items = max(1, _CHUNK_VALUES // (n_frames * config.n_fft))
    for item in range(0, len(waveforms), n_items):
        frames = _frames(waveforms[item : item + n_items], config)
        for first in range(0, config.n_frames, n_frames):
            part = slice(first, first + n_frames)
            features[item : item + n_items, part] = _cepstra(frames[:, part], config)
    return features.reshape(len(waveforms), config.n_features)


def _frames(waveforms: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Pre-emphasised frames (items, n_frames, frame_length) as a view."""
    length = (config.n_frames - 1) * config.hop_length + config.frame_length
    signal = np.zeros((len(waveforms), max(length, config.n_samples)))
    signal[:, : config.n_samples] = waveforms
    signal[:, : config.n_samples] *= INT16_SCALE
    signal[:, 1:] -= config.preemphasis * signal[:, :-1]
    frames = np.lib.stride_tricks.sliding_window_view(signal, config.frame_length, axis=1)
    return frames[:, :: config.hop_length][:, : config.n_frames]


def _cepstra(frames: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Coefficients (items, frames, n_mfcc) of frames (items, frames, frame_length)."""
    spectrum = np.fft.rfft(frames, config.n_fft)
    power = (spectrum.real**2 + spectrum.imag**2) / config.n_fft
    energy = power.sum(axis=-1)
    # One matrix product per item, so that its rounding is the same in a batch of any size.
    mel = power @ psf_filters(config.sample_rate, config.n_fft, config.n_mels, 0.0, config.sample_rate / 2)
    mel[mel == 0] = _EPSILON
    energy[energy == 0] = _EPSILON
    cepstra = np.log(mel) @ cepstral_matrix(config.n_mels, config.n_mfcc, config.lifter)
    cepstra[..., 0] = np.log(energy)
    return cepstra
