"""Changing the sample rate and the number of channels of a waveform (soxr, high quality)."""

from typing import Any

import numpy as np


def to_mono(samples: np.ndarray) -> np.ndarray:
    """Averages the channels of float samples (n, channels) or (n,); returns float32 (n,)."""
    samples = np.asarray(samples, dtype=np.float32)
    return samples if samples.ndim == 1 else samples.mean(axis=1)


def resample(waveform: np.ndarray, sample_rate: int, new_rate: int) -> np.ndarray:
    """Resamples a whole mono waveform (n,) from `sample_rate` to `new_rate` Hz; returns float32."""
    if sample_rate == new_rate:
        return waveform.astype(np.float32, copy=False)
    import soxr

    return soxr.resample(waveform.astype(np.float32, copy=False), sample_rate, new_rate).astype(np.float32)


class Resampler:
    """Resamples a stream of blocks in constant memory.

    Args:
        sample_rate: rate of the blocks that it receives, Hz.
        new_rate: rate of the blocks that it returns, Hz.
        channels: 1 for blocks (n,), more for blocks (n, channels).
    """

    def __init__(self, sample_rate: int, new_rate: int, channels: int = 1):
        self._stream: Any = None
        if sample_rate != new_rate:
            import soxr

            self._stream = soxr.ResampleStream(sample_rate, new_rate, channels, dtype="float32")

    def __call__(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Accepts the next float32 samples and returns those that are ready; `last` returns all that remain."""
        if self._stream is None:
            return block
        return self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32), last=last)
