"""A waveform cut into overlapping frames."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_a2i.errors import ConfigError


def frame_count(n_samples: int, frame_length: int, hop_length: int, convention: str) -> int:
    """Returns the number of frames of a waveform.

    Raises:
        ConfigError: if the convention is "htk" and the waveform is shorter than a frame.
    """
    if convention == "psf":
        return max(1, math.ceil(n_samples / hop_length))
    if n_samples < frame_length:
        raise ConfigError(
            f"The waveform must have at least {frame_length} samples, the length of a frame. "
            f"Received: {n_samples} samples"
        )
    return 1 + (n_samples - frame_length) // hop_length


def frame(x: Any, n_frames: int, frame_length: int, hop_length: int, preemphasis: float = 0.0) -> Any:
    """Returns the frames (batch, n_frames, frame_length) of a waveform, which is cut or padded with zeros to fit.

    Args:
        x: float32 (batch, n_samples).
        n_frames: number of frames, as `frame_count` returns it.
        frame_length: samples of a frame.
        hop_length: samples from one frame to the next.
        preemphasis: coefficient of a first-order high pass over the padded waveform.
    """
    length = (n_frames - 1) * hop_length + frame_length
    # Blocks of the common divisor are copied whole: far fewer indices than samples.
    block = math.gcd(frame_length, hop_length)
    x = x[:, :length]
    x = ops.pad(x, ((0, 0), (0, length - x.shape[1])))
    if preemphasis:
        x = x - preemphasis * ops.pad(x[:, :-1], ((0, 0), (1, 0)))
    blocks = ops.reshape(x, (-1, length // block, block))
    starts = np.arange(n_frames)[:, None] * (hop_length // block)
    index = (starts + np.arange(frame_length // block)).astype(np.int32)
    return ops.reshape(ops.take(blocks, index.ravel(), axis=1), (-1, n_frames, frame_length))
