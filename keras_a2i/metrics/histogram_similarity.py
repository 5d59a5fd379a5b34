"""Correlation of 8-bit histograms, channel by channel, on any Keras backend."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.metrics.picture_batch import as_picture_batches


def histogram_similarity(y_true: Any, y_pred: Any, bins: int = 256) -> Any:
    """Pearson correlation of the pictures' histograms, the mean over their channels.

    Pictures become 8 bits a channel, `round((x + 1) * 127.5)`, counted in `bins` equal bins over 0 to 255. Equal
    histograms score 1, flat ones and constant pictures included; a histogram with as many pixels in each bin correlates
    with no other, which scores 0. Where pixels lie plays no part.

    Args:
        y_true: pictures (batch, height, width, channels) in [-1, 1]; values outside are clipped.
        y_pred: pictures of the same shape.
        bins: 2 to 256.

    Returns:
        float32 (batch,) in [-1, 1].

    Raises:
        UsageError: if the shapes differ or `bins` is out of its range.

    Reference:
        OpenCV's `calcHist` over [0, 256] and `compareHist` with `HISTCMP_CORREL`, one channel at a time.
    """
    _check_bins(bins)
    x, y = as_picture_batches(y_true, y_pred)
    counts_x, counts_y = _histograms(x, bins), _histograms(y, bins)
    equal = ops.all(counts_x == counts_y, axis=-1)
    pixels = x.shape[1] * x.shape[2]
    # Whole numbers of pixels less their mean share: scaled first so that float32 holds the sums.
    x, y = (ops.cast(counts, "float32") / pixels - 1 / bins for counts in (counts_x, counts_y))
    spread = ops.sqrt(ops.sum(x * x, axis=-1)) * ops.sqrt(ops.sum(y * y, axis=-1))
    correlation = ops.sum(x * y, axis=-1) / ops.where(spread > 0, spread, 1.0)
    return ops.mean(ops.where(equal, 1.0, ops.clip(correlation, -1.0, 1.0)), axis=-1)


def _check_bins(bins: int) -> None:
    if isinstance(bins, bool) or not isinstance(bins, int) or not 2 <= bins <= 256:
        raise UsageError(f"bins must be a whole number from 2 to 256. Received: bins={bins!r}")


def _histograms(images: Any, bins: int) -> Any:
    """Counts of 8-bit values, int32 (batch, channels, bins)."""
    channels, batch = images.shape[3], ops.shape(images)[0]
    values = ops.cast(ops.clip(ops.round((images + 1) * 127.5), 0, 255), "int32")
    histogram = ops.arange(channels) + channels * ops.reshape(ops.arange(batch), (-1, 1, 1, 1))
    where = ops.reshape(values * bins // 256 + bins * histogram, (-1,))
    counts = ops.segment_sum(ops.ones_like(where), where, num_segments=batch * channels * bins)
    return ops.reshape(counts, (-1, channels, bins))


@keras.saving.register_keras_serializable(package="keras_a2i")
class HistogramSimilarity(keras.metrics.MeanMetricWrapper):
    """Mean histogram similarity of the pictures seen; see `histogram_similarity`.

    Args:
        bins: equal bins over the 8-bit values, 2 to 256.
        name: as in Keras.
        dtype: as in Keras.

    Raises:
        UsageError: if `bins` is out of its range.
    """

    def __init__(self, bins: int = 256, name: str = "histogram_similarity", dtype: Any = None):
        _check_bins(bins)
        super().__init__(histogram_similarity, name=name, dtype=dtype, bins=bins)
        self.bins = bins

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "bins": self.bins}
