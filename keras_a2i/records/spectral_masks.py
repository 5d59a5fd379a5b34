"""Masks of sound in time and frequency, by tensorflow-io where it is installed, else by the same in TensorFlow."""

import math
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

FRAME, HOP = 512, 256


def mask(waveforms: "tf.Tensor", seed: "tf.Tensor", time: int, frequency: float) -> "tf.Tensor":
    """Silences a stretch of each sound and removes a band of it.

    Without tensorflow-io, place and width come from `seed` alone. tensorflow-io takes no seed: where it is installed
    (extra `io`), its masks come from random numbers that nothing here sets, so two runs differ in their masks, and a
    training that goes on hears others than one that was never interrupted.

    Args:
        waveforms: float32 (batch, n_samples).
        seed: two integers.
        time: longest stretch, samples; 0 for none. Counted in frames of 512 samples, one every 256.
        frequency: widest band as a share of the sample rate, 0 for none; 0.5 is nearly all of it.

    Returns:
        float32 (batch, n_samples).

    Reference:
        Park et al., "SpecAugment", arXiv:1904.08779; tensorflow-io's `audio.time_mask` and `audio.freq_mask`.
    """
    import tensorflow as tf

    n = waveforms.shape[1]
    window = tf.signal.hann_window
    frames = tf.signal.stft(tf.pad(waveforms, ((0, 0), (FRAME, FRAME))), FRAME, HOP, FRAME, window, pad_end=True)
    # Widths are drawn below these bounds, and leave one frame and one bin at least.
    widths = [
        min(math.ceil(time / HOP) + 1, frames.shape[1]) if time else 0,
        min(math.ceil(frequency * FRAME) + 1, frames.shape[2]) if frequency else 0,
    ]
    audio = load_tensorflow_io()
    if audio is None:
        masked = _mask_frames(frames, seed, widths)
    else:
        masked = tf.map_fn(lambda item: _mask_item(audio, item, widths), frames)
    inverse = tf.signal.inverse_stft_window_fn(HOP, window)
    return tf.signal.inverse_stft(masked, FRAME, HOP, FRAME, inverse)[:, FRAME : FRAME + n]


def load_tensorflow_io() -> Any:
    """tensorflow-io's `audio` module where it is installed and loads, else None."""
    try:
        with warnings.catch_warnings():
            # Its decoders and file systems don't load on today's TensorFlow; the masks need neither.
            warnings.filterwarnings("ignore", "unable to load libtensorflow_io|file system plugins are not loaded")
            import tensorflow_io
    except (ImportError, NotImplementedError, OSError):
        return None
    audio = getattr(tensorflow_io, "audio", None)
    return audio if hasattr(audio, "freq_mask") and hasattr(audio, "time_mask") else None


def _mask_item(audio: Any, frames: "tf.Tensor", widths: list[int]) -> "tf.Tensor":
    time, frequency = widths
    frames = audio.time_mask(frames, time) if time else frames
    return audio.freq_mask(frames, frequency) if frequency else frames


def _mask_frames(frames: "tf.Tensor", seed: "tf.Tensor", widths: list[int]) -> "tf.Tensor":
    """Zeroes a run of frames and a run of bins of each item: width below the bound, place anywhere it fits."""
    import tensorflow as tf

    for axis, width in zip((1, 2), widths, strict=True):
        seed = seed + 1
        if not width:
            continue
        batch, count = tf.shape(frames)[0], frames.shape[axis]
        draws = tf.random.stateless_uniform((2, batch, 1), seed)
        length = tf.floor(draws[0] * width)
        start = tf.floor(draws[1] * (count - length))
        place = tf.range(count, dtype=tf.float32)
        keep = tf.logical_or(place < start, place >= start + length)
        # A product: `tf.where` takes six times as long on complex numbers.
        frames *= tf.cast(tf.expand_dims(keep, 3 - axis), frames.dtype)
    return frames
