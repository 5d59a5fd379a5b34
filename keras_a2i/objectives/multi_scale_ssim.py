"""Structural dissimilarity on several scales."""

from typing import Any

import keras
from keras import ops

from keras_a2i.metrics import ssim
from keras_a2i.metrics.image_batch import as_image_batches
from keras_a2i.objectives.compiled_loss import can_compile, compiled_loss
from keras_a2i.objectives.objective import ImageObjective, TrainState, register_objective

_MIN_SIZE = 11
_N_SCALES = 3
_MIN_SHIFTED_SIZE = 128
"""From this side in pixels, XLA adds up shifted copies faster than it multiplies by matrices."""


@register_objective
class MultiScaleSSIM(ImageObjective):
    """1 - SSIM, averaged over up to three scales, each half the size of the one before.

    Scales smaller than SSIM's window of 11 pixels are left out.

    Args:
        weight: factor of the loss.
        **kwargs: as `Objective`.

    Reference:
        Wang et al., "Multiscale structural similarity for image quality assessment", 2003; here the mean of the scales.
    """

    id = "ssim"

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        return _dissimilarity(y_true, y_pred, by_xla=False)

    def loss(self, state: TrainState) -> Any:
        if not state.training or not can_compile(state.generated):
            return super().loss(state)
        return compiled_loss(_mean_dissimilarity, *as_image_batches(state.images, state.generated))


def _mean_dissimilarity(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(_dissimilarity(y_true, y_pred, by_xla=True))


def _dissimilarity(y_true: Any, y_pred: Any, by_xla: bool) -> Any:
    """Returns 1 - SSIM, the mean of the scales, float32 (batch,); `by_xla` within a compiled loss."""
    values = []
    for _ in range(_N_SCALES):
        values.append(1 - ssim(y_true, y_pred, blur=_fastest_blur(y_true.shape[1], by_xla)))
        if y_true.shape[1] // 2 < _MIN_SIZE:
            break
        y_true, y_pred = (ops.average_pool(images, 2, 2, data_format="channels_last") for images in (y_true, y_pred))
    return sum(values) / len(values)


def _fastest_blur(size: int, by_xla: bool) -> str:
    if by_xla:
        return "shifts" if size >= _MIN_SHIFTED_SIZE else "products"
    return "convolutions" if keras.backend.backend() == "tensorflow" else "products"
