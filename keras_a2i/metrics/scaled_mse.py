"""The paper's error, mean squared error times the batch size, as a metric, on any Keras backend."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.metrics.image_batch import as_image_batches


def scaled_mse(y_true: Any, y_pred: Any, batch_size: int = 64) -> Any:
    """Mean squared error of pictures in [-1, 1], times `batch_size`, as `BatchScaledMSE` gives it.

    Args:
        y_true: pictures (batch, height, width, channels) in [-1, 1].
        y_pred: pictures of the same shape.
        batch_size: the factor, from 1, whatever the batch at hand. The paper's is 64.

    Returns:
        float32 (batch,), from 0; 4 * `batch_size` for black and white.

    Raises:
        UsageError: if the shapes differ or `batch_size` isn't a whole number from 1.

    Reference:
        Vuruma, "Generating Images from Audio Input", section IV.
    """
    _check_batch_size(batch_size)
    x, y = as_image_batches(y_true, y_pred)
    return batch_size * ops.mean(ops.square(x - y), axis=(1, 2, 3))


def _check_batch_size(batch_size: int) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise UsageError(f"batch_size must be a whole number from 1. Received: batch_size={batch_size!r}")


@keras.saving.register_keras_serializable(package="keras_a2i")
class ScaledMSE(keras.metrics.MeanMetricWrapper):
    """Mean over the pictures seen of their squared error times a batch size; see `scaled_mse`.

    Its mean is over pictures, so that a short last batch counts no more than its pictures do.

    Args:
        batch_size: the factor, from 1.
        name: as in Keras.
        dtype: as in Keras.

    Raises:
        UsageError: if `batch_size` isn't a whole number from 1.
    """

    def __init__(self, batch_size: int = 64, name: str = "scaled_mse", dtype: Any = None):
        _check_batch_size(batch_size)
        super().__init__(scaled_mse, name=name, dtype=dtype, batch_size=batch_size)
        self.batch_size = batch_size

    def get_config(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size, "name": self.name, "dtype": self.dtype}
