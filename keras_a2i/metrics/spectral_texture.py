"""Distance of radial power spectra: the energy of the texture, scale by scale."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.metrics.conversion import to_8_bit, to_grey
from keras_a2i.metrics.image_batch import as_image_batches
from keras_a2i.metrics.image_metric import ImageMetric, MetricSpec, register_metric

FLOOR = 1 / 12
"""Power that rounding to 8 bits adds at every frequency, which hides what lies below."""


def spectral_texture(y_true: Any, y_pred: Any) -> Any:
    """Mean absolute difference of the log10 radial power spectra; 0 is the same texture, 1 ten times the power.

    The grey image (ITU-R BT.601 luma of the 8-bit values) has power `|FFT| ** 2 / (height * width)`. Frequencies are
    grouped by `round(sqrt(fx ** 2 + fy ** 2) * n)`, fx and fy in cycles per pixel, n the shorter side; groups 1 to n //
    2 are compared, with equal weights. Brightness (group 0) and the corners above half the sampling rate are ignored.
    The power of a group is the mean over its frequencies, plus 1/12, the noise of rounding, which keeps the logarithm
    of flat images finite: two flat images score 0. Phases are ignored: a shifted texture scores near 0.

    Args:
        y_true: images (batch, height, width, 1 or 3) in [-1, 1], at least 2 pixels high and wide; values outside are
            clipped.
        y_pred: images of the same shape.

    Returns:
        float32 (batch,), from 0.

    Raises:
        UsageError: if the shapes differ, a side is below 2 pixels, or the channels aren't 1 or 3.

    Reference:
        Durall et al., "Watch your up-convolution", 2020 (azimuthal average); the FFT is `numpy.fft.fft2`.
    """
    x, y = as_image_batches(y_true, y_pred, min_size=2)
    difference = ops.log10(_radial_power(x) + FLOOR) - ops.log10(_radial_power(y) + FLOOR)
    return ops.mean(ops.abs(difference), axis=1)


def _radial_power(images: Any) -> Any:
    """Returns the mean power of every group of frequencies, (batch, min(height, width) // 2)."""
    grey = to_grey(to_8_bit(images))
    _, height, width = grey.shape
    # Without the mean, whose power would drown the rest in float32.
    real, imaginary = ops.rfft(grey - ops.mean(grey, axis=(1, 2), keepdims=True))
    real, imaginary = ops.fft((ops.transpose(real, (0, 2, 1)), ops.transpose(imaginary, (0, 2, 1))))
    group, share, groups = _radial_groups(height, width)
    power = ops.reshape(ops.square(real) + ops.square(imaginary), (-1, group.size)) * ops.convert_to_tensor(share)
    sums = ops.segment_sum(ops.transpose(power), ops.convert_to_tensor(group), num_segments=groups + 1)
    return ops.transpose(sums[1:])


def _radial_groups(height: int, width: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns group and share of (width // 2 + 1, height) frequencies, and the number of groups; 0 doesn't count."""
    across, down = np.fft.rfftfreq(width)[:, None], np.fft.fftfreq(height)[None]
    side = min(height, width)
    group = np.rint(np.hypot(across, down) * side).astype(np.int32)
    group[group > side // 2] = 0
    # The spectrum of real numbers is symmetric: the columns that aren't computed repeat those between.
    twice = np.where((across == 0) | (across == 0.5), 1.0, 2.0) * np.ones_like(down)
    sizes = np.bincount(group.ravel(), weights=twice.ravel())
    share = twice / sizes[group] / (height * width)
    return group.ravel(), share.ravel().astype(np.float32), side // 2


@keras.saving.register_keras_serializable(package="keras_a2i")
class SpectralTexture(ImageMetric):
    """Mean distance of the radial power spectra of the images; see `spectral_texture`.

    Args:
        name: as in Keras.
        dtype: as in Keras; None is float32.
    """

    _direction = "down"

    def __init__(self, name: str = "spectral_texture", dtype: Any = None):
        super().__init__(spectral_texture, name, dtype)


register_metric(
    MetricSpec(
        id="spectral_texture",
        title="texture",
        convention="distance of radial power spectra, mean absolute difference of log10 power",
        better="lower",
        function=spectral_texture,
        metric=SpectralTexture,
        brief=False,
    )
)
