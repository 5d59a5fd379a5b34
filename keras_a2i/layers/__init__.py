"""Layers from sound to features and from latent vectors to pictures, run alike in training and in exported files."""

from keras_a2i.layers.aligned_frames import AlignedFrames
from keras_a2i.layers.canvas import Canvas
from keras_a2i.layers.frame_augmentation import FrameAugmentation
from keras_a2i.layers.frame_normalization import FrameNormalization
from keras_a2i.layers.label_head import LabelHead
from keras_a2i.layers.label_prototypes import LabelPrototypes
from keras_a2i.layers.log_mel import LogMel
from keras_a2i.layers.mfcc import MFCC
from keras_a2i.layers.style_units import StyleUnits
from keras_a2i.layers.sub_pixel import SubPixel, SubPixelInitializer

__all__ = [
    "MFCC",
    "AlignedFrames",
    "Canvas",
    "FrameAugmentation",
    "FrameNormalization",
    "LabelHead",
    "LabelPrototypes",
    "LogMel",
    "StyleUnits",
    "SubPixel",
    "SubPixelInitializer",
]
