"""The paper's loss as a metric."""

import functools
from typing import Any

import keras

from keras_a2i.losses import BatchScaledMSE
from keras_a2i.metrics.image_batch import as_image_batches
from keras_a2i.metrics.image_metric import ImageMetric, MetricSpec, register_metric


def scaled_mse(y_true: Any, y_pred: Any, batch_size: int = 64) -> Any:
    """Mean squared error of images in [-1, 1], times `batch_size`: `BatchScaledMSE` of every image.

    Args:
        y_true: images (batch, height, width, channels) in [-1, 1].
        y_pred: images of the same shape.
        batch_size: the factor, from 1, whatever the size of the batch. The paper uses 64.

    Returns:
        float32 (batch,), from 0; 4 * `batch_size` for black and white.

    Raises:
        UsageError: if the shapes differ or `batch_size` isn't a whole number from 1.

    Reference:
        Vuruma, "Generating Images from Audio Input", section IV.
    """
    return BatchScaledMSE(batch_size, reduction="none")(*as_image_batches(y_true, y_pred))


@keras.saving.register_keras_serializable(package="keras_a2i")
class ScaledMSE(ImageMetric):
    """Mean squared error of the images times a batch size; see `scaled_mse`.

    Every image has the same weight, while the loss of an epoch is a mean over batches.

    Args:
        batch_size: the factor, from 1.
        name: as in Keras; None is "mse_x<batch_size>".
        dtype: as in Keras; None is float32.

    Raises:
        UsageError: if `batch_size` isn't a whole number from 1.
    """

    _direction = "down"

    def __init__(self, batch_size: int = 64, name: str | None = None, dtype: Any = None):
        self.batch_size = BatchScaledMSE(batch_size).batch_size
        super().__init__(scaled_mse, name or f"mse_x{batch_size}", dtype, batch_size=batch_size)


register_metric(
    MetricSpec(
        id="scaled_mse",
        title="MSE x 64",
        convention="mean squared error of images in [-1, 1], times 64 (the paper's loss)",
        better="lower",
        function=scaled_mse,
        metric=functools.partial(ScaledMSE, name="scaled_mse"),
    )
)
