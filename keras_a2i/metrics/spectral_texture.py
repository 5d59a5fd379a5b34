"""Distance of radial power spectra: how far the texture's energy lies off, scale by scale, on any Keras backend."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.metrics.eight_bit import eight_bit, weighted_grey
from keras_a2i.metrics.image_batch import as_image_batches

FLOOR = 1 / 12
"""Power that rounding to 8 bits adds at every frequency: what lies below can't be told from it."""


def spectral_texture(y_true: Any, y_pred: Any) -> Any:
    """Mean absolute difference of the log10 radial power spectra; 0 is the same texture, 1 ten times the power.

    The grey picture (ITU-R BT.601 luma of the 8-bit values) has power `|FFT| ** 2 / (height * width)`. Frequencies are
    grouped by `round(sqrt(fx ** 2 + fy ** 2) * n)`, fx and fy in cycles a pixel, n the shorter side; groups 1 to n // 2
    count, each once. Brightness (group 0) and the corners above half the sampling rate don't. The power of a group is
    the mean over its frequencies, plus 1/12, the noise of rounding, which keeps flat pictures finite: two flat
    ones score 0. Phase plays no part: a shifted texture scores near 0.

    Args:
        y_true: pictures (batch, height, width, 1 or 3) in [-1, 1], at least 2 pixels a side; values outside are
            clipped.
        y_pred: pictures of the same shape.

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
    """Mean power of each group of frequencies: (batch, min(height, width) // 2)."""
    grey = weighted_grey(eight_bit(images))
    _, height, width = grey.shape
    # Without the mean, whose power would drown the rest in float32.
    real, imaginary = ops.rfft(grey - ops.mean(grey, axis=(1, 2), keepdims=True))
    real, imaginary = ops.fft((ops.transpose(real, (0, 2, 1)), ops.transpose(imaginary, (0, 2, 1))))
    group, share, groups = _radial_groups(height, width)
    power = ops.reshape(ops.square(real) + ops.square(imaginary), (-1, group.size)) * share
    sums = ops.segment_sum(ops.transpose(power), ops.convert_to_tensor(group), num_segments=groups + 1)
    return ops.transpose(sums[1:])


def _radial_groups(height: int, width: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Group and share of each of the (width // 2 + 1, height) frequencies; group 0 takes what doesn't count."""
    across, down = np.fft.rfftfreq(width)[:, None], np.fft.fftfreq(height)[None]
    side = min(height, width)
    group = np.rint(np.hypot(across, down) * side).astype(np.int32)
    group[group > side // 2] = 0
    # A real picture's spectrum is symmetric: the columns that aren't computed repeat those between.
    twice = np.where((across == 0) | (across == 0.5), 1.0, 2.0) * np.ones_like(down)
    sizes = np.bincount(group.ravel(), weights=twice.ravel())
    share = twice / sizes[group] / (height * width)
    return group.ravel(), share.ravel().astype(np.float32), side // 2


@keras.saving.register_keras_serializable(package="keras_a2i")
class SpectralTexture(keras.metrics.MeanMetricWrapper):
    """Mean over the pictures seen of the distance of their radial power spectra; see `spectral_texture`.

    Args:
        name: as in Keras.
        dtype: as in Keras.
    """

    def __init__(self, name: str = "spectral_texture", dtype: Any = None):
        super().__init__(spectral_texture, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}
