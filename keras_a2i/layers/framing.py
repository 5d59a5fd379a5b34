"""Sound cut into overlapping windows, in the ways of the three conventions."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_a2i.errors import ConfigError


def frame_count(n_samples: int, frame_length: int, hop_length: int, convention: str) -> int:
    """Frames that a sound has.

    Raises:
        ConfigError: if "htk" is given less than a window.
    """
    if convention == "psf":
        return max(1, math.ceil(n_samples / hop_length))
    if convention == "librosa":
        return 1 + n_samples // hop_length
    if n_samples < frame_length:
        raise ConfigError(
            f"Sound must be at least a window long, {frame_length} samples. Received: {n_samples} samples"
        )
    return 1 + (n_samples - frame_length) // hop_length


def frame(x: Any, n_frames: int, frame_length: int, hop_length: int, convention: str, preemphasis: float = 0.0) -> Any:
    """Windows (batch, n_frames, frame_length) of sound (batch, n_samples).

    Args:
        x: float32 (batch, n_samples).
        n_frames: as `frame_count` says.
        frame_length: samples of a window.
        hop_length: samples from one window to the next.
        convention: where windows begin and what fills them, as `LogMel`.
        preemphasis: coefficient of a first-order high pass over the filled-up sound.
    """
    before = frame_length // 2 if convention == "librosa" else 0
    length = (n_frames - 1) * hop_length + frame_length
    # Blocks of the common divisor are copied whole: far fewer indices than samples.
    block = math.gcd(frame_length, hop_length)
    x = x[:, : max(0, length - before)]
    x = ops.pad(x, ((0, 0), (before, length - before - x.shape[1])))
    if preemphasis:
        x = x - preemphasis * ops.pad(x[:, :-1], ((0, 0), (1, 0)))
    blocks = ops.reshape(x, (-1, length // block, block))
    starts = np.arange(n_frames)[:, None] * (hop_length // block)
    index = (starts + np.arange(frame_length // block)).astype(np.int32)
    return ops.reshape(ops.take(blocks, index.ravel(), axis=1), (-1, n_frames, frame_length))
