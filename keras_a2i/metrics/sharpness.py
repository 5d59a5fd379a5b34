"""Sharpness of generated pictures as a share of the real ones', on any Keras backend."""

from typing import Any

import keras
from keras import ops

from keras_a2i.metrics.eight_bit import eight_bit_grey
from keras_a2i.metrics.image_batch import as_image_batches

CAP = 100.0
"""The most a picture can score; what a generated picture with detail scores when the real one is flat."""


def sharpness(y_true: Any, y_pred: Any) -> Any:
    """Variance of the Laplacian of the generated picture, divided by the real one's.

    1 is as sharp as the real picture, near 0 blurred, above 1 noisy. It sees each picture by itself: sharp and wrong
    scores 1. Where the real picture is flat, a flat one scores 1 and any other 100, the cap of all ratios.

    Args:
        y_true: real pictures (batch, height, width, 1 or 3) in [-1, 1], at least 3 pixels a side; values outside are
            clipped.
        y_pred: generated pictures of the same shape.

    Returns:
        float32 (batch,), 0 to 100.

    Raises:
        UsageError: if the shapes differ, a side is below 3 pixels, or the channels aren't 1 or 3.

    Reference:
        `cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()` of 8-bit pictures.
    """
    real, generated = (_laplacian_variance(images) for images in as_image_batches(y_true, y_pred, min_size=3))
    flat = ops.where(generated > 0, CAP, 1.0)
    return ops.where(real > 0, ops.minimum(generated / ops.where(real > 0, real, 1.0), CAP), flat)


def _laplacian_variance(images: Any) -> Any:
    grey = eight_bit_grey(images)
    # Whole numbers all the way: a flat picture gives exactly 0.
    padded = ops.pad(grey, [(0, 0), (1, 1), (1, 1)], mode="reflect")
    across, down = padded[:, 1:-1], padded[:, :, 1:-1]
    laplacian = across[:, :, :-2] + across[:, :, 2:] + down[:, :-2] + down[:, 2:] - 4 * grey
    return ops.var(ops.cast(laplacian, "float32"), axis=(1, 2))


@keras.saving.register_keras_serializable(package="keras_a2i")
class Sharpness(keras.metrics.MeanMetricWrapper):
    """Mean over the pictures seen of their sharpness relative to the real picture; see `sharpness`.

    Args:
        name: as in Keras.
        dtype: as in Keras.
    """

    def __init__(self, name: str = "sharpness", dtype: Any = None):
        super().__init__(sharpness, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}
