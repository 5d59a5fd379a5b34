"""Error in the darkest part of the real image."""

from typing import Any

import keras
from keras import ops

from keras_a2i.metrics.conversion import to_8_bit, to_8_bit_grey
from keras_a2i.metrics.image_batch import as_image_batches
from keras_a2i.metrics.image_metric import ImageMetric, MetricSpec, register_metric


def low_luminance_error(y_true: Any, y_pred: Any) -> Any:
    """Mean absolute error, in 8-bit levels, on the darkest fifth of the pixels of the real image.

    Darkness is the 8-bit grey of ITU-R BT.601. Pixels that are as dark as the brightest pixel of this fifth are
    included, so that the score doesn't depend on their order; of a flat real image, all pixels are included.

    Args:
        y_true: real images (batch, height, width, 1 or 3) in [-1, 1]; values outside are clipped.
        y_pred: generated images of the same shape.

    Returns:
        float32 (batch,), 0 to 255.

    Raises:
        UsageError: if the shapes differ or the channels aren't 1 or 3.
    """
    x, y = as_image_batches(y_true, y_pred)
    grey = to_8_bit_grey(x)
    level = _level_at(grey, -(-grey.shape[1] * grey.shape[2] // 5))
    dark = ops.cast(grey <= level, "float32")
    error = ops.mean(ops.abs(to_8_bit(x) - to_8_bit(y)), axis=-1)
    return ops.sum(error * dark, axis=(1, 2)) / ops.sum(dark, axis=(1, 2))


def _level_at(grey: Any, rank: int) -> Any:
    """Returns the `rank`-th smallest value of every image, (batch, 1, 1), by eight counts, far faster than sorting."""
    level = ops.zeros_like(grey[:, :1, :1])
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        below = ops.sum(ops.cast(grey < level + bit, "int32"), axis=(1, 2), keepdims=True)
        level = ops.where(below < rank, level + bit, level)
    return level


@keras.saving.register_keras_serializable(package="keras_a2i")
class LowLuminanceError(ImageMetric):
    """Mean error of the images in their darkest part; see `low_luminance_error`.

    Args:
        name: as in Keras.
        dtype: as in Keras; None is float32.
    """

    _direction = "down"

    def __init__(self, name: str = "low_luminance_error", dtype: Any = None):
        super().__init__(low_luminance_error, name, dtype)


register_metric(
    MetricSpec(
        id="low_luminance_error",
        title="dark error",
        convention="mean absolute error, 0 to 255, on the darkest fifth of the pixels of the real image",
        better="lower",
        function=low_luminance_error,
        metric=LowLuminanceError,
        brief=False,
    )
)
