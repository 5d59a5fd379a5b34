"""Every metric of a report, each under its own convention, computed together on batches."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import keras_a2i.metrics as metrics
from keras_a2i.evaluation.baselines import Predictor
from keras_a2i.evaluation.pairs import Pairs, scaled
from keras_a2i.evaluation.report_data import MetricInfo, PredictorScores

HEADLINE = "ssim"
_BATCH = 32

METRICS: tuple[tuple[MetricInfo, Callable[[Any, Any], Any]], ...] = (
    (
        MetricInfo(
            name="ssim",
            title="SSIM",
            convention="structural similarity of the 8-bit pictures, Gaussian 11 x 11 window, a channel at a time "
            "(tf.image.ssim, max_val 255)",
            better="higher",
        ),
        metrics.ssim,
    ),
    (
        MetricInfo(
            name="mse_x64",
            title="MSE x 64",
            convention="mean squared error of pictures in [-1, 1], times 64 (the paper's loss)",
            better="lower",
        ),
        metrics.scaled_mse,
    ),
    (
        MetricInfo(name="psnr", title="PSNR", convention="peak signal to noise ratio of 8 bits, dB", better="higher"),
        metrics.psnr,
    ),
    (
        MetricInfo(
            name="sharpness",
            title="sharpness",
            convention="variance of the Laplacian of the grey picture, relative to the real picture's",
            better="one",
        ),
        metrics.sharpness,
    ),
    (
        MetricInfo(
            name="texture",
            title="texture",
            convention="distance of radial power spectra, mean absolute difference of log10 power",
            better="lower",
        ),
        metrics.spectral_texture,
    ),
    (
        MetricInfo(
            name="dark_error",
            title="dark error",
            convention="mean absolute error, 0 to 255, on the darkest fifth of the target's pixels",
            better="lower",
        ),
        metrics.low_luminance_error,
    ),
    (
        MetricInfo(
            name="histogram",
            title="histogram",
            convention="Pearson correlation of 256-bin histograms, mean of the channels",
            better="higher",
        ),
        metrics.histogram_similarity,
    ),
    (
        MetricInfo(
            name="histogram_joint",
            title="joint histogram",
            convention="Pearson correlation of joint 8 x 8 x 8 colour histograms",
            better="higher",
        ),
        lambda y, p: metrics.histogram_similarity(y, p, convention="joint"),
    ),
    (
        MetricInfo(
            name="ssim_uniform",
            title="SSIM, uniform",
            convention="of 8-bit luma, uniform 7 x 7 window, sample covariance (scikit-image)",
            better="higher",
        ),
        lambda y, p: metrics.ssim(y, p, convention="uniform"),
    ),
    (
        MetricInfo(
            name="ssim_paper",
            title="SSIM, paper",
            convention="the paper's: grey by BGR weights of pictures in [-1, 1], range 2, uniform 7 x 7 window",
            better="higher",
        ),
        lambda y, p: metrics.ssim(y, p, convention="paper"),
    ),
    (
        MetricInfo(
            name="histogram_paper",
            title="histogram, paper",
            convention="the paper's: 256^3 bins over [0, 256] of values in [-1, 1]; noise scores 0.999, black 1.000",
            better="higher",
            degenerate=True,
        ),
        lambda y, p: metrics.histogram_similarity(y, p, convention="paper"),
    ),
)


@tf.function(jit_compile=True)
def _all_metrics(real: tf.Tensor, generated: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.cast(function(real, generated), tf.float32) for _, function in METRICS])


def score_predictors(
    predictors: Sequence[Predictor], held_out: Pairs, on_scored: Callable[[int, int], None] | None = None
) -> list[PredictorScores]:
    """Scores every predictor on every held-out pair.

    Args:
        predictors: what to score.
        held_out: the pairs.
        on_scored: called with (predictors scored, all).
    """
    real = scaled(held_out.images)
    found = []
    for number, predictor in enumerate(predictors):
        parts = [_score(real[i : i + _BATCH], predictor.pictures[i : i + _BATCH]) for i in range(0, len(real), _BATCH)]
        values = np.concatenate(parts, axis=1)
        names = [info.name for info, _ in METRICS]
        found.append(
            PredictorScores(
                name=predictor.name,
                kind=predictor.kind,
                explanation=predictor.explanation,
                means=dict(zip(names, values.mean(axis=1, dtype=np.float64).tolist(), strict=True)),
                values=dict(zip(names, values.tolist(), strict=True)),
            )
        )
        if on_scored:
            on_scored(number + 1, len(predictors))
    return found


def _score(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """All metrics of a batch, filled up so that XLA compiles once: (metrics, n)."""
    missing = [(0, _BATCH - len(real)), (0, 0), (0, 0), (0, 0)]
    return _all_metrics(np.pad(real, missing), np.pad(generated, missing)).numpy()[:, : len(real)]
