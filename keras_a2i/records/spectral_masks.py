"""Masks of audio in time and frequency: by tensorflow-io where it is installed, else by the same in TensorFlow."""

import math
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

FRAME, HOP = 512, 256


def mask(waveforms: "tf.Tensor", seed: "tf.Tensor", time: int, frequency: float) -> "tf.Tensor":
    """Silences an interval of each clip and removes a band of it.

    Without tensorflow-io, position and width are a function of `seed`. tensorflow-io accepts no seed: where it is
    installed (extra `io`), two runs differ in their masks, and a resumed training has other masks than an uninterrupted
    one.

    Args:
        waveforms: float32 (batch, n_samples).
        seed: int (2,).
        time: the longest interval in samples, 0 for none. It is counted in frames of 512 samples, one every 256.
        frequency: the widest band as a fraction of the sample rate, 0 for none; 0.5 is nearly all of it.

    Returns:
        float32 (batch, n_samples).

    Reference:
        Park et al., "SpecAugment", arXiv:1904.08779; tensorflow-io's `audio.time_mask` and `audio.freq_mask`.
    """
    import tensorflow as tf

    n_samples = waveforms.shape[1]
    padded = tf.pad(waveforms, ((0, 0), (FRAME, FRAME)))
    frames = tf.signal.stft(padded, FRAME, HOP, FRAME, tf.signal.hann_window, pad_end=True)
    # Widths are drawn below these limits. At least one frame and one bin remain.
    n_frames = min(math.ceil(time / HOP) + 1, frames.shape[1]) if time else 0
    n_bins = min(math.ceil(frequency * FRAME) + 1, frames.shape[2]) if frequency else 0
    audio = load_tensorflow_io()
    if audio is None:
        frames = _mask_axis(frames, seed + 1, axis=1, limit=n_frames)
        frames = _mask_axis(frames, seed + 2, axis=2, limit=n_bins)
    else:
        if n_frames:
            frames = tf.map_fn(lambda item: audio.time_mask(item, n_frames), frames)
        if n_bins:
            frames = tf.map_fn(lambda item: audio.freq_mask(item, n_bins), frames)
    inverse = tf.signal.inverse_stft_window_fn(HOP, tf.signal.hann_window)
    return tf.signal.inverse_stft(frames, FRAME, HOP, FRAME, inverse)[:, FRAME : FRAME + n_samples]


def load_tensorflow_io() -> Any:
    """tensorflow-io's `audio` module where it is installed and loads, else None."""
    try:
        with warnings.catch_warnings():
            # Its decoders and file systems don't load on today's TensorFlow; the masks need neither.
            warnings.filterwarnings("ignore", "unable to load libtensorflow_io|file system plugins are not loaded")
            from tensorflow_io import audio
    except (ImportError, NotImplementedError, OSError):
        return None
    return audio


def _mask_axis(frames: "tf.Tensor", seed: "tf.Tensor", axis: int, limit: int) -> "tf.Tensor":
    """Zeroes a run along an axis of each item, at any position, of a width below the limit; 0 masks nothing."""
    import tensorflow as tf

    if not limit:
        return frames
    batch, count = tf.shape(frames)[0], frames.shape[axis]
    draws = tf.random.stateless_uniform((2, batch, 1), seed)
    width = tf.floor(draws[0] * limit)
    start = tf.floor(draws[1] * (count - width))
    position = tf.range(count, dtype=tf.float32)
    keep = tf.logical_or(position < start, position >= start + width)
    # A product: `tf.where` needs six times as long on complex numbers.
    return frames * tf.cast(tf.expand_dims(keep, 3 - axis), frames.dtype)
