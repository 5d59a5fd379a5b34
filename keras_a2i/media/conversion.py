"""Conversions between stored integers and the floats that models read: int16 audio and uint8 images."""

import numpy as np

from keras_a2i.errors import ConfigError, SourceError

INT16_SCALE = 32_768
"""The int16 value that full scale, 1.0, corresponds to."""


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Rounds a waveform to the 16-bit samples that records store.

    Args:
        waveform: floating-point samples of any shape; full scale is [-1, 1].

    Returns:
        int16 array of the same shape: the samples x 32768, rounded to the nearest and clipped to the int16 range.

    Raises:
        ConfigError: if the samples aren't floating point.
        SourceError: if a sample isn't finite.
    """
    waveform = check_waveform(waveform)
    scaled = np.rint(waveform * waveform.dtype.type(INT16_SCALE))
    return np.clip(scaled, -INT16_SCALE, INT16_SCALE - 1).astype(np.int16)


def from_int16(samples: np.ndarray) -> np.ndarray:
    """Converts 16-bit samples of any shape to float32 in [-1, 1); `to_int16` returns the same samples again.

    Raises:
        ConfigError: if the samples aren't int16.
    """
    samples = np.asarray(samples)
    if samples.dtype != np.int16:
        raise ConfigError(f"samples must be int16. Received: dtype={samples.dtype}")
    return samples.astype(np.float32) / INT16_SCALE


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Converts images in [-1, 1] to uint8: round((x + 1) * 127.5), clipped; uint8 images are returned unchanged."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    return np.clip(np.rint((images.astype(np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def from_uint8(images: np.ndarray) -> np.ndarray:
    """Converts uint8 images of any shape to float32 in [-1, 1]; `to_uint8` returns the same images again.

    Raises:
        ConfigError: if the images aren't uint8.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ConfigError(f"images must be uint8. Received: dtype={images.dtype}")
    return images.astype(np.float32) * np.float32(2 / 255) - 1


def check_waveform(waveform: np.ndarray) -> np.ndarray:
    """Returns the waveform as an array.

    Raises:
        ConfigError: if the samples aren't floating point.
        SourceError: if a sample isn't finite.
    """
    waveform = np.asarray(waveform)
    if not np.issubdtype(waveform.dtype, np.floating):
        raise ConfigError(
            "waveform must be floating point in [-1, 1]. "
            f"Received: dtype={waveform.dtype}. Convert int16 samples with from_int16"
        )
    if not np.isfinite(waveform).all():
        raise SourceError(f"Samples must be finite. Received: NaN or infinite samples in shape={waveform.shape}")
    return waveform
