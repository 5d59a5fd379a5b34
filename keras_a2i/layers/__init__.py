"""Layers from sound to features, inside the graph: training, `tf.data` and exported files run the same code."""

from keras_a2i.layers.log_mel import LogMel
from keras_a2i.layers.mfcc import MFCC

__all__ = ["MFCC", "LogMel"]
