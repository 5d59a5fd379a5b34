"""Layers from sound to features, inside the graph: training, `tf.data` and exported files run the same code."""

from keras_a2i.layers.aligned_frames import AlignedFrames
from keras_a2i.layers.frame_augmentation import FrameAugmentation
from keras_a2i.layers.frame_normalization import FrameNormalization
from keras_a2i.layers.log_mel import LogMel
from keras_a2i.layers.mfcc import MFCC

__all__ = ["MFCC", "AlignedFrames", "FrameAugmentation", "FrameNormalization", "LogMel"]
