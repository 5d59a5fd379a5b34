"""The clip of audio for every frame of a video, and smoothing over frames.

Positions are computed from the frame's number in exact fractions, so that nothing drifts however long the audio is.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from keras_a2i.media.clips import cut_clips_at

# Beyond three standard deviations a Gaussian adds less than 0.3 %.
_REACH = 3


def frame_start(frame: int, fps: Fraction, sample_rate: int) -> int:
    """Returns the sample, rounded to the nearest, at which a frame begins to be shown."""
    return math.floor(Fraction(frame * sample_rate) / fps + Fraction(1, 2))


def clip_start(frame: int, fps: Fraction, sample_rate: int, n_samples: int) -> int:
    """Returns the first sample of the clip centred on a frame's middle, rounded to the nearest; may be negative."""
    middle = Fraction((2 * frame + 1) * sample_rate, 2) / fps
    return math.floor(middle - Fraction(n_samples, 2) + Fraction(1, 2))


def slide_clips(
    blocks: Iterable[np.ndarray], sample_rate: int, n_samples: int, fps: Fraction, batch_size: int
) -> Iterator[np.ndarray]:
    """Cuts audio into one clip for each frame, padded with silence before its beginning and after its end.

    Frame k is shown from k/fps to (k+1)/fps. There are as many frames as begin before the audio ends, at least one.

    Args:
        blocks: the audio in consecutive blocks (n,), float32 in [-1, 1]; held no longer than a clip needs it.
        sample_rate: Hz of the audio.
        n_samples: length of a clip.
        fps: frames per second.
        batch_size: number of clips yielded together.

    Yields:
        float32 (n, n_samples), n = `batch_size` but for the last batch.
    """
    clips = cut_clips_at(
        blocks,
        n_samples,
        lambda frame: clip_start(frame, fps, sample_rate, n_samples),
        lambda frame: frame_start(frame, fps, sample_rate),
    )
    while batch := list(itertools.islice(clips, batch_size)):
        yield np.stack(batch)


def smooth_frames(batches: Iterable[np.ndarray], sigma: float) -> Iterator[np.ndarray]:
    """Averages every frame's values with its neighbours' by a Gaussian: symmetric, so nothing is delayed.

    It needs frames up to three standard deviations ahead. At both ends the weights of the frames that exist sum to one.

    Args:
        batches: values of consecutive frames (n, n_values), such as latent vectors.
        sigma: the Gaussian's standard deviation in frames, above 0.

    Yields:
        float32 (n, n_values) of the same frames in the same order; no batch is larger than the largest received.
    """
    reach = math.ceil(_REACH * sigma)
    held: np.ndarray | None = None
    first, done, batch_size = 0, 0, 1

    def smooth(stop: int) -> np.ndarray:
        """Returns the frames from `done` up to `stop`, from what is held."""
        assert held is not None
        distance = np.arange(first, first + len(held)) - np.arange(done, stop)[:, None]
        weights = np.where(np.abs(distance) <= reach, np.exp(-0.5 * (distance / sigma) ** 2), 0.0)
        weights /= weights.sum(axis=1, keepdims=True)
        return (weights @ held).astype(np.float32)

    for batch in batches:
        batch_size = max(batch_size, len(batch))
        held = batch if held is None else np.concatenate([held, batch])
        ready = first + len(held) - reach
        if ready > done:
            yield smooth(ready)
            done = ready
            past = max(0, done - reach - first)
            held, first = held[past:], first + past
    if held is None:
        return
    end = first + len(held)
    while done < end:
        stop = min(end, done + batch_size)
        yield smooth(stop)
        done = stop
