"""Peak signal-to-noise ratio of 8-bit pictures, on any Keras backend."""

from typing import Any

import keras
from keras import ops

from keras_a2i.metrics.eight_bit import eight_bit
from keras_a2i.metrics.image_batch import as_image_batches

CAP = 100.0
"""Decibels of equal pictures, and the most that any two can score."""


def psnr(y_true: Any, y_pred: Any) -> Any:
    """Peak signal-to-noise ratio in decibels: 10 log10(255 ** 2 / mean squared error) of the 8-bit pictures.

    Equal pictures, infinite by the formula, score 100; so does what comes above.

    Args:
        y_true: pictures (batch, height, width, channels) in [-1, 1]; values outside are clipped.
        y_pred: pictures of the same shape.

    Returns:
        float32 (batch,), from 0 (black and white) to 100.

    Raises:
        UsageError: if the shapes differ.

    Reference:
        scikit-image's `peak_signal_noise_ratio` with `data_range` 255.
    """
    x, y = as_image_batches(y_true, y_pred)
    error = ops.mean(ops.square((eight_bit(x) - eight_bit(y)) / 255), axis=(1, 2, 3))
    return -10 * ops.log10(ops.maximum(error, 10 ** (-CAP / 10)))


@keras.saving.register_keras_serializable(package="keras_a2i")
class PSNR(keras.metrics.MeanMetricWrapper):
    """Mean over the pictures seen of their peak signal-to-noise ratio; see `psnr`.

    Args:
        name: as in Keras.
        dtype: as in Keras.
    """

    def __init__(self, name: str = "psnr", dtype: Any = None):
        super().__init__(psnr, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}
