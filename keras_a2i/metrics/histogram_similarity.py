"""Correlation of colour histograms in three named conventions."""

import functools
from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.metrics.conversion import check_channels, to_8_bit
from keras_a2i.metrics.image_batch import as_image_batches, check_choice, keep_nan
from keras_a2i.metrics.image_metric import ImageMetric, MetricSpec, register_metric

CONVENTIONS = ("channel", "joint", "paper")
_JOINT_BINS = 8
_N_PAPER_BINS = 256**3


def histogram_similarity(y_true: Any, y_pred: Any, bins: int = 256, convention: str = "channel") -> Any:
    """Correlation of the histograms of two images, which doesn't depend on the positions of pixels.

    - "channel": images become 8 bits per channel, `round((x + 1) * 127.5)`, counted in `bins` equal bins over 0 to 255;
      the mean over the channels.
    - "joint": the same 8-bit values, red, green and blue together in 8 x 8 x 8 bins.
    - "paper": as the paper's notebook computes it, which is degenerate: the signed images are counted in 256 x 256 x
      256 bins over [0, 256]. A pixel with a channel below 0 isn't counted; all others are counted in the first bin,
      except for channels that are exactly 1. So nearly any two images score 1: noise, black, the wrong image. Kept for
      comparison with the paper; computed from the 8 bins that aren't always empty.

    Equal histograms score 1, including flat histograms and those of constant images. In "channel" and "joint", a flat
    histogram (the same number of pixels in every bin) scores 0 with any other; in "paper", an empty histogram scores 1
    with any other.

    Args:
        y_true: images (batch, height, width, channels) in [-1, 1]; values outside are clipped. 1 or 3 channels, any
            number for "channel"; one channel counts as three equal ones.
        y_pred: images of the same shape.
        bins: 2 to 256, for "channel" only.
        convention: "channel", "joint" or "paper".

    Returns:
        float32 (batch,) in [-1, 1].

    Raises:
        UsageError: if the shapes differ, `bins` is out of its range or set for another convention than "channel", the
            channels aren't 1 or 3 for "joint" or "paper", or the convention is unknown.

    Reference:
        OpenCV's `calcHist` over [0, 256] and `compareHist` with `HISTCMP_CORREL`, of flattened histograms.
    """
    _check(convention, bins)
    x, y = as_image_batches(y_true, y_pred)
    if convention == "paper":
        return keep_nan(_paper_correlation(_paper_counts(x), _paper_counts(y)), x, y)
    if convention == "channel":
        counts = _channel_counts(x, bins), _channel_counts(y, bins)
    else:
        counts = _joint_counts(x), _joint_counts(y)
    return keep_nan(ops.mean(_correlation(*counts, x.shape[1] * x.shape[2]), axis=-1), x, y)


def _check(convention: str, bins: int) -> None:
    check_choice("convention", convention, CONVENTIONS)
    if isinstance(bins, bool) or not isinstance(bins, int) or not 2 <= bins <= 256:
        raise UsageError(f"bins must be a whole number from 2 to 256. Received: bins={bins!r}")
    if convention != "channel" and bins != 256:
        raise UsageError(
            f"bins must be 256 unless the convention is 'channel': {convention!r} fixes its bins. "
            f"Received: bins={bins!r}"
        )


def _channel_counts(images: Any, bins: int) -> Any:
    return _counts(ops.cast(to_8_bit(images), "int32") * bins // 256, bins)


def _joint_counts(images: Any) -> Any:
    values = ops.cast(to_8_bit(_three_channels(images)), "int32") * _JOINT_BINS // 256
    joint = (values[..., :1] * _JOINT_BINS + values[..., 1:2]) * _JOINT_BINS + values[..., 2:]
    return _counts(joint, _JOINT_BINS**3)


def _paper_counts(images: Any) -> Any:
    """Returns the counts of the bins {0, 1} x {0, 1} x {0, 1} of the notebook's histogram, int32 (batch, 8)."""
    images = _three_channels(images)
    bit = ops.cast(images >= 1, "int32")
    joint = 4 * bit[..., :1] + 2 * bit[..., 1:2] + bit[..., 2:]
    inside = ops.all(images >= 0, axis=-1, keepdims=True)
    return _counts(ops.where(inside, joint, 8), 9)[:, 0, :8]


def _three_channels(images: Any) -> Any:
    check_channels(images)
    return images if images.shape[3] == 3 else ops.repeat(images, 3, axis=3)


def _counts(index: Any, bins: int) -> Any:
    """Counts the numbers 0 to `bins - 1` in (batch, height, width, channels): int32 (batch, channels, bins)."""
    channels, batch = index.shape[3], ops.shape(index)[0]
    histogram = ops.arange(channels, dtype="int32")
    histogram = histogram + channels * ops.reshape(ops.arange(batch, dtype="int32"), (-1, 1, 1, 1))
    where = ops.reshape(index + bins * histogram, (-1,))
    counts = ops.segment_sum(ops.ones_like(where), where, num_segments=batch * channels * bins)
    return ops.reshape(counts, (-1, channels, bins))


def _correlation(counts_x: Any, counts_y: Any, pixels: int) -> Any:
    """Returns the Pearson correlation along the last axis, which holds every bin."""
    equal = ops.all(counts_x == counts_y, axis=-1)
    # Counts minus their mean: scaled first so that float32 holds the sums.
    x, y = (ops.cast(counts, "float32") / pixels - 1 / counts.shape[-1] for counts in (counts_x, counts_y))
    product, square_x, square_y = (ops.sum(a * b, axis=-1) for a, b in ((x, y), (x, x), (y, y)))
    defined = square_x * square_y > 0
    spread = ops.sqrt(ops.where(defined, square_x * square_y, 1.0))
    correlation = ops.where(defined, ops.clip(product / spread, -1.0, 1.0), 0.0)
    return ops.where(equal, 1.0, correlation)


def _paper_correlation(counts_x: Any, counts_y: Any) -> Any:
    """Returns the Pearson correlation over all 256 ** 3 bins, of which 8 hold anything."""
    equal = ops.all(counts_x == counts_y, axis=-1)
    # The notebook's min-max normalization: the lowest bin is empty.
    x, y = (ops.cast(counts, "float32") for counts in (counts_x, counts_y))
    x, y = (counts / ops.maximum(ops.max(counts, axis=-1, keepdims=True), 1.0) for counts in (x, y))

    def covariance(a: Any, b: Any) -> Any:
        return ops.sum(a * b, axis=-1) - ops.sum(a, axis=-1) * ops.sum(b, axis=-1) / _N_PAPER_BINS

    spread = ops.sqrt(covariance(x, x)) * ops.sqrt(covariance(y, y))
    correlation = ops.clip(covariance(x, y) / ops.where(spread > 0, spread, 1.0), -1.0, 1.0)
    return ops.where(ops.logical_or(equal, spread == 0), 1.0, correlation)


@keras.saving.register_keras_serializable(package="keras_a2i")
class HistogramSimilarity(ImageMetric):
    """Mean histogram similarity of the images; see `histogram_similarity` for the conventions.

    `degenerate` is True for "paper": over [0, 256] the signed images fill 8 of 16,777,216 bins, mostly the first alone,
    so that nearly any two images score 1. Report it beside another convention, never as a result.

    Args:
        convention: "channel", "joint" or "paper".
        bins: equal bins over the 8-bit values, 2 to 256, for "channel" only.
        name: as in Keras; None is "histogram_similarity", or "histogram_similarity_<convention>" for any but "channel".
        dtype: as in Keras; None is float32.

    Raises:
        UsageError: if the convention is unknown, or `bins` is out of its range or set for another convention.
    """

    _direction = "up"

    def __init__(self, convention: str = "channel", bins: int = 256, name: str | None = None, dtype: Any = None):
        _check(convention, bins)
        name = name or ("histogram_similarity" if convention == "channel" else f"histogram_similarity_{convention}")
        super().__init__(histogram_similarity, name, dtype, convention=convention, bins=bins)
        self.convention, self.bins = convention, bins

    @property
    def degenerate(self) -> bool:
        """Whether the convention scores nearly any two images 1."""
        return self.convention == "paper"


register_metric(
    MetricSpec(
        id="histogram_similarity",
        title="histogram",
        convention="Pearson correlation of 256-bin histograms, mean of the channels",
        better="higher",
        function=histogram_similarity,
        metric=HistogramSimilarity,
    )
)
register_metric(
    MetricSpec(
        id="histogram_similarity_joint",
        title="joint histogram",
        convention="Pearson correlation of joint 8 x 8 x 8 colour histograms",
        better="higher",
        function=functools.partial(histogram_similarity, convention="joint"),
        metric=functools.partial(HistogramSimilarity, "joint"),
        is_variant=True,
        brief=False,
    )
)
register_metric(
    MetricSpec(
        id="histogram_similarity_paper",
        title="histogram, paper",
        convention="the paper's: 256^3 bins over [0, 256] of values in [-1, 1]; noise scores 0.999, black 1.000",
        better="higher",
        function=functools.partial(histogram_similarity, convention="paper"),
        metric=functools.partial(HistogramSimilarity, "paper"),
        is_variant=True,
        degenerate=True,
    )
)
