"""Picture similarity metrics, as Keras classes and as plain functions."""

from keras_a2i.metrics.histogram_similarity import HistogramSimilarity, histogram_similarity
from keras_a2i.metrics.ssim import SSIM, ssim

__all__ = ["SSIM", "HistogramSimilarity", "histogram_similarity", "ssim"]
