"""Structural similarity in the convention of `tf.image.ssim` on 8-bit pictures, on any Keras backend."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.metrics.picture_batch import as_picture_batches

WINDOW = 11
SIGMA = 1.5
RANGE = 2.0
C1 = (0.01 * RANGE) ** 2
C2 = (0.03 * RANGE) ** 2


def ssim(y_true: Any, y_pred: Any) -> Any:
    """Structural similarity of pictures in [-1, 1]; differentiable, so `1 - ssim` serves as a loss.

    Gaussian window of 11 pixels and sigma 1.5, K1 0.01, K2 0.03, windows that lie wholly inside, each channel by
    itself, then the mean. Black counts as 0: it equals `tf.image.ssim` of the 8-bit pictures with `max_val` 255, or of
    `y + 1` with 2. Taken of values around 0, as in the paper, the luminance term has no meaning.

    Args:
        y_true: pictures (batch, height, width, channels) in [-1, 1], at least 11 pixels a side.
        y_pred: pictures of the same shape.

    Returns:
        float32 (batch,), 1 for equal pictures.

    Raises:
        UsageError: if the shapes differ or a side is below 11 pixels.

    Reference:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    x, y = as_picture_batches(y_true, y_pred, min_size=WINDOW)
    _, height, width, channels = x.shape
    # Rows as one axis keep the innermost loop long whatever the number of channels.
    x, y = (ops.reshape(image, (-1, height, width * channels)) for image in (x, y))
    # One tensor between the passes: XLA would otherwise fuse them and compute the first 11 times.
    maps = ops.concatenate([_blur(image, 1, 1) for image in (x, y, x * x + y * y, x * y)], axis=0)
    mean_x, mean_y, square, product = ops.split(_blur(maps, 2, channels), 4, axis=0)
    # Variances don't depend on where black lies: taken around 0 they lose the fewest digits. Luminance does.
    structure = (2 * (product - mean_x * mean_y) + C2) / (square - mean_x * mean_x - mean_y * mean_y + C2)
    light_x, light_y = mean_x + 1, mean_y + 1
    luminance = (2 * light_x * light_y + C1) / (light_x * light_x + light_y * light_y + C1)
    return ops.mean(luminance * structure, axis=(1, 2))


def _blur(image: Any, axis: int, step: int) -> Any:
    """Gaussian window along an axis (1 or 2) whose neighbours are `step` apart, as a sum of shifted copies."""
    size = image.shape[axis] - (WINDOW - 1) * step
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    weights = (weights / weights.sum()).tolist()

    def shifted(i: int) -> Any:
        return image[:, i * step : i * step + size] if axis == 1 else image[:, :, i * step : i * step + size]

    total = weights[WINDOW // 2] * shifted(WINDOW // 2)
    for i in range(WINDOW // 2):
        total = total + weights[i] * (shifted(i) + shifted(WINDOW - 1 - i))
    return total


def _ssim_one_by_one(y_true: Any, y_pred: Any) -> Any:
    """`ssim`, a picture at a time: what is at work fits the processor's cache, whatever the batch."""
    pair = as_picture_batches(y_true, y_pred, min_size=WINDOW)
    return ops.map(lambda images: ssim(images[0][None], images[1][None])[0], pair)


@keras.saving.register_keras_serializable(package="keras_a2i")
class SSIM(keras.metrics.MeanMetricWrapper):
    """Mean structural similarity of the pictures seen; see `ssim` for the convention.

    Args:
        name: as in Keras.
        dtype: as in Keras.

    Example:
        >>> metric = SSIM()
        >>> metric.update_state(np.zeros((2, 16, 16, 3)), np.zeros((2, 16, 16, 3)))
        >>> float(metric.result())
        1.0
    """

    def __init__(self, name: str = "ssim", dtype: Any = None):
        super().__init__(_ssim_one_by_one, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}
