"""Sharpness of generated images, relative to that of the real ones."""

from typing import Any

import keras
from keras import ops

from keras_a2i.metrics.conversion import to_8_bit_grey
from keras_a2i.metrics.image_batch import as_image_batches, keep_nan
from keras_a2i.metrics.image_metric import ImageMetric, MetricSpec, register_metric

CAP = 100.0
"""The highest score, and that of a generated image with detail if the real one is flat."""


def sharpness(y_true: Any, y_pred: Any) -> Any:
    """Variance of the Laplacian of the generated image, divided by that of the real one.

    1 is as sharp as the real image, near 0 is blurred, above 1 is noisy. The images aren't compared otherwise: a sharp,
    but wrong image scores 1. If the real image is flat, a flat generated image scores 1 and any other 100, the upper
    limit of all ratios.

    Args:
        y_true: real images (batch, height, width, 1 or 3) in [-1, 1], at least 3 pixels high and wide; values outside
            are clipped.
        y_pred: generated images of the same shape.

    Returns:
        float32 (batch,), 0 to 100.

    Raises:
        UsageError: if the shapes differ, a side is below 3 pixels, or the channels aren't 1 or 3.

    Reference:
        `cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()` of 8-bit images.
    """
    images = as_image_batches(y_true, y_pred, min_size=3)
    real, generated = map(_laplacian_variance, images)
    if_flat = 1.0 + (CAP - 1.0) * ops.cast(generated > 0, "float32")
    ratio = ops.where(real > 0, ops.minimum(generated / ops.where(real > 0, real, 1.0), CAP), if_flat)
    return keep_nan(ratio, *images)


def _laplacian_variance(images: Any) -> Any:
    grey = to_8_bit_grey(images)
    # Integers until here: the variance of a flat image is exactly 0.
    padded = ops.pad(grey, [(0, 0), (1, 1), (1, 1)], mode="reflect")
    across, down = padded[:, 1:-1], padded[:, :, 1:-1]
    laplacian = across[:, :, :-2] + across[:, :, 2:] + down[:, :-2] + down[:, 2:] - 4 * grey
    return ops.var(ops.cast(laplacian, "float32"), axis=(1, 2))


@keras.saving.register_keras_serializable(package="keras_a2i")
class Sharpness(ImageMetric):
    """Mean sharpness of the images, relative to the real ones; see `sharpness`.

    Args:
        name: as in Keras.
        dtype: as in Keras; None is float32.
    """

    def __init__(self, name: str = "sharpness", dtype: Any = None):
        super().__init__(sharpness, name, dtype)


register_metric(
    MetricSpec(
        id="sharpness",
        title="sharpness",
        convention="variance of the Laplacian of the grey image, relative to that of the real image",
        better="one",
        function=sharpness,
        metric=Sharpness,
    )
)
