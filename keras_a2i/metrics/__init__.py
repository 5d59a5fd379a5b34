"""Image metrics, as Keras classes and as functions, and their registry."""

# ruff: noqa: I001 (the order of the imports is that of the registry)
from keras_a2i.metrics.image_metric import METRICS, ImageMetric, MetricSpec, register_metric
from keras_a2i.metrics.ssim import SSIM, ssim
from keras_a2i.metrics.scaled_mse import ScaledMSE, scaled_mse
from keras_a2i.metrics.psnr import PSNR, psnr
from keras_a2i.metrics.sharpness import Sharpness, sharpness
from keras_a2i.metrics.spectral_texture import SpectralTexture, spectral_texture
from keras_a2i.metrics.low_luminance_error import LowLuminanceError, low_luminance_error
from keras_a2i.metrics.histogram_similarity import HistogramSimilarity, histogram_similarity
from keras_a2i.serialization import register

__all__ = [
    "METRICS",
    "PSNR",
    "SSIM",
    "HistogramSimilarity",
    "ImageMetric",
    "LowLuminanceError",
    "MetricSpec",
    "ScaledMSE",
    "Sharpness",
    "SpectralTexture",
    "histogram_similarity",
    "low_luminance_error",
    "psnr",
    "register_metric",
    "scaled_mse",
    "sharpness",
    "spectral_texture",
    "ssim",
]

register()
