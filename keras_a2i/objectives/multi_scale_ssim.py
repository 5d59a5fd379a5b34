"""Structural dissimilarity on several scales."""

from typing import Any

from keras import ops

from keras_a2i.metrics import ssim
from keras_a2i.objectives.objective import ImageObjective, register_objective

_MIN_SIZE = 11
_N_SCALES = 3


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
        values = []
        for _ in range(_N_SCALES):
            values.append(1 - ssim(y_true, y_pred, by_product=True))
            if y_true.shape[1] // 2 < _MIN_SIZE:
                break
            y_true, y_pred = (
                ops.average_pool(images, 2, 2, data_format="channels_last") for images in (y_true, y_pred)
            )
        return sum(values) / len(values)
