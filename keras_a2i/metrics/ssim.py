"""Structural similarity in three named conventions."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_a2i.metrics.conversion import to_8_bit, to_grey
from keras_a2i.metrics.image_batch import as_image_batches, check_choice
from keras_a2i.metrics.image_metric import ImageMetric, MetricSpec, register_metric

RANGE = 2.0
C1 = (0.01 * RANGE) ** 2
C2 = (0.03 * RANGE) ** 2


class _Convention(NamedTuple):
    """Preparation, window, value of black and kind of covariance of a convention, for images in [-1, 1]."""

    prepare: Callable[[Any], Any]
    weights: tuple[float, ...]
    zero: float
    sample: bool


def _luma_of_8_bits(images: Any) -> Any:
    values = ops.clip(images, -1.0, 1.0)
    # The value is that of the 8-bit image, the gradient that of the image itself: rounding has none.
    values = values + ops.stop_gradient(to_8_bit(values) / 127.5 - 1 - values)
    return to_grey(values)[..., None]


def _grey_of_the_notebook(images: Any) -> Any:
    # cv2.COLOR_BGR2GRAY given RGB.
    return to_grey(images, (0.114, 0.587, 0.299))[..., None]


def _gaussian(size: int, sigma: float) -> tuple[float, ...]:
    weights = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    return tuple((weights / weights.sum()).tolist())


_CONVENTIONS = {
    "gaussian": _Convention(lambda images: images, _gaussian(11, 1.5), zero=-1.0, sample=False),
    "uniform": _Convention(_luma_of_8_bits, (1 / 7,) * 7, zero=-1.0, sample=True),
    "paper": _Convention(_grey_of_the_notebook, (1 / 7,) * 7, zero=0.0, sample=True),
}


def ssim(y_true: Any, y_pred: Any, convention: str = "gaussian", *, blur: str = "shifts") -> Any:
    """Structural similarity of images in [-1, 1]; differentiable, so `1 - ssim` serves as a loss.

    K1 is 0.01, K2 0.03; only windows that are completely inside the image are used. The conventions yield different
    values for the same images; don't compare values of different conventions:

    - "gaussian": window of 11 pixels and sigma 1.5, per channel, then the mean. Black has the value 0: the result
      equals `tf.image.ssim` of the 8-bit images with `max_val` 255, or of `y + 1` with `max_val` 2.
    - "uniform": window of 7 x 7 pixels, sample covariance, on the luma (ITU-R BT.601, not rounded) of the 8-bit
      images: scikit-image's `structural_similarity(luma, luma, data_range=255)`.
    - "paper": as the paper's notebook computes it: `structural_similarity(grey, grey, data_range=2)` of signed images,
      whose grey is 0.114 R + 0.587 G + 0.299 B, the weights of BGR on RGB. Mid grey has the value 0, so the luminance
      term has no meaning: black compared with white scores almost -1. Kept for comparison with the paper.

    Args:
        y_true: images (batch, height, width, channels) in [-1, 1], at least as high and wide as the window; 1 or 3
            channels, any number for "gaussian".
        y_pred: images of the same shape.
        convention: "gaussian", "uniform" or "paper".
        blur: how the window is applied, which changes the time and only the last digits of the values: "shifts" adds up
            shifted copies, which suits metrics and XLA; "products" multiplies by matrices; "convolutions" suits a loss
            on TensorFlow without XLA, where the copies take several times as long.

    Returns:
        float32 (batch,), 1 for equal images.

    Raises:
        UsageError: if the shapes differ, a side is smaller than the window, the channels aren't 1 or 3 for "uniform" or
            "paper", or the convention or the kind of blur is unknown.

    Reference:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    x, y = _checked(y_true, y_pred, convention)
    check_choice("blur", blur, _BLURS)
    prepare, weights, zero, sample = _CONVENTIONS[convention]
    x, y = prepare(x), prepare(y)
    mean_x, mean_y, square, product = _BLURS[blur]((x, y, x * x + y * y, x * y), weights)
    pixels = len(weights) ** 2
    unbias = pixels / (pixels - 1) if sample else 1.0
    # Variances don't depend on the value of black: around 0 they lose the fewest digits. Luminance does depend on it.
    covariance = unbias * (product - mean_x * mean_y)
    variances = unbias * (square - mean_x * mean_x - mean_y * mean_y)
    structure = (2 * covariance + C2) / (variances + C2)
    light_x, light_y = mean_x - zero, mean_y - zero
    luminance = (2 * light_x * light_y + C1) / (light_x * light_x + light_y * light_y + C1)
    return ops.mean(luminance * structure, axis=tuple(range(1, len(structure.shape))))


def _checked(y_true: Any, y_pred: Any, convention: str) -> tuple[Any, Any]:
    check_choice("convention", convention, _CONVENTIONS)
    return as_image_batches(y_true, y_pred, min_size=len(_CONVENTIONS[convention].weights))


def _blur_by_shifts(images: tuple[Any, ...], weights: tuple[float, ...]) -> list[Any]:
    """Blurs images (batch, height, width, channels) by a separable window: (batch, rows, columns x channels)."""
    _, height, width, channels = images[0].shape
    # Rows as one axis keep the innermost loop long whatever the number of channels.
    rows = [ops.reshape(image, (-1, height, width * channels)) for image in images]
    # One tensor between the passes: XLA would otherwise fuse them and compute the first once for each weight.
    maps = ops.concatenate([_slide(image, 1, 1, weights) for image in rows], axis=0)
    return ops.split(_slide(maps, 2, channels, weights), len(images), axis=0)


def _slide(image: Any, axis: int, step: int, weights: tuple[float, ...]) -> Any:
    """Applies a symmetric window along axis 1 or 2, whose neighbours are `step` apart, as a sum of shifted copies."""
    window = len(weights)
    size = image.shape[axis] - (window - 1) * step

    def shifted(i: int) -> Any:
        return image[:, i * step : i * step + size] if axis == 1 else image[:, :, i * step : i * step + size]

    total = weights[window // 2] * shifted(window // 2)
    for i in range(window // 2):
        total = total + weights[i] * (shifted(i) + shifted(window - 1 - i))
    return total


def _blur_by_products(images: tuple[Any, ...], weights: tuple[float, ...]) -> list[Any]:
    """As `_blur_by_shifts`, by products with banded matrices: (batch, channels, rows, columns)."""
    _, height, width, channels = images[0].shape
    maps = ops.transpose(ops.concatenate(images, axis=0), (0, 3, 1, 2))
    # All rows of all images in one product.
    across = ops.matmul(ops.reshape(maps, (-1, width)), ops.convert_to_tensor(_band(width, weights).T.copy()))
    across = ops.reshape(across, (-1, channels, height, across.shape[-1]))
    return ops.split(ops.matmul(ops.convert_to_tensor(_band(height, weights)), across), len(images), axis=0)


def _blur_by_convolutions(images: tuple[Any, ...], weights: tuple[float, ...]) -> list[Any]:
    """As `_blur_by_shifts`, by two depthwise convolutions: (batch, rows, columns, channels)."""
    _, height, width, channels = images[0].shape
    # Neighbouring columns as channels fill the lanes of the processor.
    lanes = math.gcd(width, 16) * channels
    window = np.array(weights, np.float32)[:, None, None, None]
    down = ops.convert_to_tensor(np.tile(window, (1, 1, lanes, 1)))
    across = ops.convert_to_tensor(np.tile(window, (1, 1, channels, 1)).transpose(1, 0, 2, 3))
    maps = []
    for image in images:
        rows = ops.reshape(image, (-1, height, width * channels // lanes, lanes))
        rows = ops.depthwise_conv(rows, down, data_format="channels_last")
        rows = ops.reshape(rows, (-1, rows.shape[1], width, channels))
        maps.append(ops.depthwise_conv(rows, across, data_format="channels_last"))
    return maps


_BLURS = {"shifts": _blur_by_shifts, "products": _blur_by_products, "convolutions": _blur_by_convolutions}


def _band(size: int, weights: tuple[float, ...]) -> np.ndarray:
    """Returns the window at each of its positions along `size` pixels, float32 (positions, size)."""
    places = size - len(weights) + 1
    band = np.zeros((places, size), np.float32)
    for i, weight in enumerate(weights):
        band += np.float32(weight) * np.eye(places, size, i, dtype=np.float32)
    return band


def _ssim_one_by_one(y_true: Any, y_pred: Any, convention: str) -> Any:
    """`ssim`, one image at a time: the working set fits the processor's cache, whatever the batch."""
    pair = _checked(y_true, y_pred, convention)
    return ops.map(lambda images: ssim(images[0][None], images[1][None], convention)[0], pair)


@keras.saving.register_keras_serializable(package="keras_a2i")
class SSIM(ImageMetric):
    """Mean structural similarity of the images; see `ssim` for the conventions.

    Args:
        convention: "gaussian", "uniform" or "paper".
        name: as in Keras; None is "ssim", or "ssim_<convention>" for any but "gaussian".
        dtype: as in Keras; None is float32.

    Raises:
        UsageError: if the convention is unknown.

    Example:
        >>> metric = SSIM()
        >>> metric.update_state(np.zeros((2, 16, 16, 3)), np.zeros((2, 16, 16, 3)))
        >>> float(metric.result())
        1.0
    """

    _direction = "up"

    def __init__(self, convention: str = "gaussian", name: str | None = None, dtype: Any = None):
        check_choice("convention", convention, _CONVENTIONS)
        name = name or ("ssim" if convention == "gaussian" else f"ssim_{convention}")
        super().__init__(_ssim_one_by_one, name, dtype, convention=convention)
        self.convention = convention


register_metric(
    MetricSpec(
        id="ssim",
        title="SSIM",
        convention="structural similarity of the 8-bit images, Gaussian 11 x 11 window, per channel "
        "(tf.image.ssim, max_val 255)",
        better="higher",
        function=ssim,
        metric=SSIM,
    )
)
register_metric(
    MetricSpec(
        id="ssim_uniform",
        title="SSIM, uniform",
        convention="of 8-bit luma, uniform 7 x 7 window, sample covariance (scikit-image)",
        better="higher",
        function=functools.partial(ssim, convention="uniform"),
        metric=functools.partial(SSIM, "uniform"),
        is_variant=True,
        brief=False,
    )
)
register_metric(
    MetricSpec(
        id="ssim_paper",
        title="SSIM, paper",
        convention="the paper's: grey by BGR weights of images in [-1, 1], range 2, uniform 7 x 7 window",
        better="higher",
        function=functools.partial(ssim, convention="paper"),
        metric=functools.partial(SSIM, "paper"),
        is_variant=True,
    )
)
