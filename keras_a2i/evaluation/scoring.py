"""Every metric of a report, each under its own convention, computed together on batches. `METRICS` holds them all."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

import keras_a2i.metrics as metrics
from keras_a2i.evaluation.contenders import Contender
from keras_a2i.evaluation.pairs import Rows, chunks_of, scaled
from keras_a2i.evaluation.report_data import ContenderScores, MetricInfo

HEADLINE = "ssim"
_BATCH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportMetric(MetricInfo):
    """A metric and how to read it.

    Attributes:
        function: (real, generated), float32 (batch, size, size, channels) in [-1, 1], to one value per image.
    """

    function: Callable[[Any, Any], Any]

    @property
    def info(self) -> MetricInfo:
        """How to read it, without the function."""
        return MetricInfo(**{field.name: getattr(self, field.name) for field in dataclasses.fields(MetricInfo)})


METRICS: dict[str, ReportMetric] = {
    metric.id: metric
    for metric in (
        ReportMetric(
            id="ssim",
            title="SSIM",
            convention="structural similarity of the 8-bit images, Gaussian 11 x 11 window, per channel "
            "(tf.image.ssim, max_val 255)",
            better="higher",
            function=metrics.ssim,
        ),
        ReportMetric(
            id="scaled_mse",
            title="MSE x 64",
            convention="mean squared error of images in [-1, 1], times 64 (the paper's loss)",
            better="lower",
            function=metrics.scaled_mse,
        ),
        ReportMetric(
            id="psnr",
            title="PSNR",
            convention="peak signal to noise ratio of 8 bits, dB",
            better="higher",
            function=metrics.psnr,
        ),
        ReportMetric(
            id="sharpness",
            title="sharpness",
            convention="variance of the Laplacian of the grey image, relative to the real image's",
            better="one",
            function=metrics.sharpness,
        ),
        ReportMetric(
            id="spectral_texture",
            title="texture",
            convention="distance of radial power spectra, mean absolute difference of log10 power",
            better="lower",
            brief=False,
            function=metrics.spectral_texture,
        ),
        ReportMetric(
            id="low_luminance_error",
            title="dark error",
            convention="mean absolute error, 0 to 255, on the darkest fifth of the target's pixels",
            better="lower",
            brief=False,
            function=metrics.low_luminance_error,
        ),
        ReportMetric(
            id="histogram_similarity",
            title="histogram",
            convention="Pearson correlation of 256-bin histograms, mean of the channels",
            better="higher",
            function=metrics.histogram_similarity,
        ),
        ReportMetric(
            id="histogram_similarity_joint",
            title="joint histogram",
            convention="Pearson correlation of joint 8 x 8 x 8 colour histograms",
            better="higher",
            brief=False,
            function=lambda y, p: metrics.histogram_similarity(y, p, convention="joint"),
        ),
        ReportMetric(
            id="ssim_uniform",
            title="SSIM, uniform",
            convention="of 8-bit luma, uniform 7 x 7 window, sample covariance (scikit-image)",
            better="higher",
            brief=False,
            function=lambda y, p: metrics.ssim(y, p, convention="uniform"),
        ),
        ReportMetric(
            id="ssim_paper",
            title="SSIM, paper",
            convention="the paper's: grey by BGR weights of images in [-1, 1], range 2, uniform 7 x 7 window",
            better="higher",
            function=lambda y, p: metrics.ssim(y, p, convention="paper"),
        ),
        ReportMetric(
            id="histogram_similarity_paper",
            title="histogram, paper",
            convention="the paper's: 256^3 bins over [0, 256] of values in [-1, 1]; noise scores 0.999, black 1.000",
            better="higher",
            degenerate=True,
            function=lambda y, p: metrics.histogram_similarity(y, p, convention="paper"),
        ),
    )
}


class _Scorer(keras.Model):
    """(real, generated) to all metrics, (batch, metrics): a model, so that every backend compiles it as one."""

    def __init__(self, functions: Sequence[Callable[[Any, Any], Any]]):
        super().__init__(dtype="float32", name="scorer")
        self._functions = tuple(functions)
        self.compile(jit_compile=keras.backend.backend() != "torch")
        self.built = True

    def call(self, inputs: Any) -> Any:
        real, generated = inputs
        return ops.stack([ops.cast(function(real, generated), "float32") for function in self._functions], axis=1)


@functools.lru_cache(maxsize=4)
def _scorer(functions: tuple[Callable[[Any, Any], Any], ...], shape: tuple[int, ...]) -> _Scorer:
    """One model per image shape for all evaluations of a process: to compile it takes longer than to score few images.

    A model that sees two shapes is compiled for an unknown one, of which the metrics can't be computed.
    """
    return _Scorer(functions)


def score_contenders(
    contenders: Sequence[Contender], images: Rows, progress: Callable[[int, int], None] | None = None
) -> list[ContenderScores]:
    """Scores every contender on every held-out pair, a batch of images in memory at a time.

    Args:
        contenders: what to score.
        images: the real images, uint8 (n, size, size, channels), by row number.
        progress: called with (pairs scored, all pairs).
    """
    n, functions = len(images), tuple(metric.function for metric in METRICS.values())
    scorer = _scorer(functions, images.shape[1:])
    values = np.empty((len(contenders), len(METRICS), n), np.float32)
    for rows in chunks_of(n, _BATCH):
        # Filled up, so that one shape is compiled.
        missing = [(0, _BATCH - len(rows)), (0, 0), (0, 0), (0, 0)]
        real = np.pad(scaled(images[rows]), missing)
        for i, contender in enumerate(contenders):
            generated = np.pad(np.asarray(contender.images[rows], np.float32), missing)
            scores = ops.convert_to_numpy(scorer.predict_on_batch((real, generated)))
            values[i][:, rows] = scores[: len(rows)].T
        if progress:
            progress(int(rows[-1]) + 1, n)
    return [
        ContenderScores(
            id=contender.id,
            title=contender.title,
            kind=contender.kind,
            explanation=contender.explanation,
            means=dict(zip(METRICS, rows.mean(axis=1, dtype=np.float64).tolist(), strict=True)),
            values=dict(zip(METRICS, rows.tolist(), strict=True)),
        )
        for contender, rows in zip(contenders, values, strict=True)
    ]
