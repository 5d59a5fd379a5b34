"""Keras layers for audio features, latent vectors and images, the same in training and in exported files."""

from keras_a2i.layers.attentive_pooling import AttentivePooling
from keras_a2i.layers.batch_normalization import BatchNormalization
from keras_a2i.layers.cepstral_normalization import CepstralNormalization
from keras_a2i.layers.depth_to_space import DepthToSpace, DepthToSpaceInitializer
from keras_a2i.layers.exemplar_attention import ExemplarAttention
from keras_a2i.layers.exemplar_mosaic import ExemplarMosaic
from keras_a2i.layers.frame_augmentation import FrameAugmentation
from keras_a2i.layers.label_head import LabelHead
from keras_a2i.layers.label_prototypes import LabelPrototypes
from keras_a2i.layers.latent_pad import LatentPad
from keras_a2i.layers.log_mel import LogMel
from keras_a2i.layers.mfcc import MFCC
from keras_a2i.layers.patch_decoder import PatchDecoder
from keras_a2i.layers.pcen import PCEN
from keras_a2i.layers.spatial_bias import SpatialBias
from keras_a2i.layers.style_sampling import StyleSampling
from keras_a2i.layers.time_align import TimeAlign
from keras_a2i.layers.transposed_convolution import Conv2DTranspose
from keras_a2i.serialization import register

__all__ = [
    "MFCC",
    "PCEN",
    "AttentivePooling",
    "BatchNormalization",
    "CepstralNormalization",
    "Conv2DTranspose",
    "DepthToSpace",
    "DepthToSpaceInitializer",
    "ExemplarAttention",
    "ExemplarMosaic",
    "FrameAugmentation",
    "LabelHead",
    "LabelPrototypes",
    "LatentPad",
    "LogMel",
    "PatchDecoder",
    "SpatialBias",
    "StyleSampling",
    "TimeAlign",
]

register()
