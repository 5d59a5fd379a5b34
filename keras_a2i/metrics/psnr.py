"""Peak signal-to-noise ratio of 8-bit images."""

from typing import Any

import keras
from keras import ops

from keras_a2i.metrics.conversion import to_8_bit
from keras_a2i.metrics.image_batch import as_image_batches
from keras_a2i.metrics.image_metric import ImageMetric, MetricSpec, register_metric

CAP = 100.0
"""Decibels of equal images, and the highest score."""


def psnr(y_true: Any, y_pred: Any) -> Any:
    """Peak signal-to-noise ratio in decibels: 10 log10(255 ** 2 / mean squared error) of the 8-bit images.

    Values above 100, and equal images, for which the formula is infinite, score 100.

    Args:
        y_true: images (batch, height, width, channels) in [-1, 1]; values outside are clipped.
        y_pred: images of the same shape.

    Returns:
        float32 (batch,), from 0 (black and white) to 100.

    Raises:
        UsageError: if the shapes differ.

    Reference:
        scikit-image's `peak_signal_noise_ratio` with `data_range` 255.
    """
    x, y = as_image_batches(y_true, y_pred)
    error = ops.mean(ops.square((to_8_bit(x) - to_8_bit(y)) / 255), axis=(1, 2, 3))
    return -10 * ops.log10(ops.maximum(error, 10 ** (-CAP / 10)))


@keras.saving.register_keras_serializable(package="keras_a2i")
class PSNR(ImageMetric):
    """Mean peak signal-to-noise ratio of the images; see `psnr`.

    Args:
        name: as in Keras.
        dtype: as in Keras; None is float32.
    """

    _direction = "up"

    def __init__(self, name: str = "psnr", dtype: Any = None):
        super().__init__(psnr, name, dtype)


register_metric(
    MetricSpec(
        id="psnr",
        title="PSNR",
        convention="peak signal-to-noise ratio of 8 bits, dB",
        better="higher",
        function=psnr,
        metric=PSNR,
    )
)
