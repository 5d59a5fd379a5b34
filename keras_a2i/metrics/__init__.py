"""Picture metrics, as Keras classes and as plain functions; those with several conventions name them."""

from keras_a2i.metrics.histogram_similarity import HistogramSimilarity, histogram_similarity
from keras_a2i.metrics.low_luminance_error import LowLuminanceError, low_luminance_error
from keras_a2i.metrics.psnr import PSNR, psnr
from keras_a2i.metrics.scaled_mse import ScaledMSE, scaled_mse
from keras_a2i.metrics.sharpness import Sharpness, sharpness
from keras_a2i.metrics.spectral_texture import SpectralTexture, spectral_texture
from keras_a2i.metrics.ssim import SSIM, ssim

__all__ = [
    "PSNR",
    "SSIM",
    "HistogramSimilarity",
    "LowLuminanceError",
    "ScaledMSE",
    "Sharpness",
    "SpectralTexture",
    "histogram_similarity",
    "low_luminance_error",
    "psnr",
    "scaled_mse",
    "sharpness",
    "spectral_texture",
    "ssim",
]
