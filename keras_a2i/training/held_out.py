"""Scores of held-out pictures: XLA compiles the metrics, which makes them about ten times as fast on a CPU."""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from keras_a2i.metrics import histogram_similarity, ssim

SCORES = ("mse", "ssim", "histogram_similarity")
"""What `score_pictures` gives, in order."""


@tf.function(jit_compile=True, reduce_retracing=False)
def _scores(real: tf.Tensor, generated: tf.Tensor) -> tf.Tensor:
    error = tf.reduce_mean(tf.square(real - generated), axis=[1, 2, 3])
    return tf.stack([error, ssim(real, generated), histogram_similarity(real, generated)])


def score_pictures(real: np.ndarray, generated: np.ndarray, batch_size: int) -> np.ndarray:
    """Scores a batch of pictures, filled up to `batch_size` so that XLA compiles once for all batches.

    Args:
        real: float32 (n, size, size, channels) in [-1, 1], n at most `batch_size`.
        generated: pictures of the same shape.
        batch_size: pictures the compiled function takes.

    Returns:
        float32 (3, n): mean squared error, SSIM and histogram similarity of each picture.
    """
    missing = [(0, batch_size - len(real)), (0, 0), (0, 0), (0, 0)]
    pair = (np.pad(np.asarray(images, np.float32), missing) for images in (real, generated))
    return _scores(*pair).numpy()[:, : len(real)]


def score_batches(
    predict: Callable[[np.ndarray], np.ndarray], batches: Iterable[tuple[np.ndarray, np.ndarray]], batch_size: int
) -> np.ndarray:
    """Scores a model on batches of (input, picture in [-1, 1]); returns float32 (3, pictures), see `score_pictures`."""
    return np.concatenate([score_pictures(y, predict(x), batch_size) for x, y in batches], axis=1)
