"""Small models with a style: one with exemplars and one with a label head, which know labels, and a mosaic."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.models import (
    AudioToImage,
    DenseEncoder,
    ExemplarGenerator,
    FrameEncoder,
    MosaicGenerator,
    ResidualGenerator,
    adapt_exemplars,
)

LABELS = ("bell", "drum", "horn")


def exemplar_model(input: str = "features") -> AudioToImage:
    """A model that selects among six stored images of 32 pixels, two of each label, and has 4 style units.

    Its input is the features of a clip, or a second of audio, of which the envelope counts.
    """
    keras.utils.set_random_seed(0)
    model = AudioToImage(
        DenseEncoder(units=(16, 8), normalize=False) if input == "features" else _envelope_encoder(),
        ExemplarGenerator(n_exemplars=6, sharpness=40.0, spread=0.1, width=8, blocks=1),
        image_size=32,
        style_units=4,
        labels=LABELS,
    )
    images = np.random.default_rng(0).uniform(-1, 1, (6, *model.image.shape)).astype(np.float32)
    adapt_exemplars(model, images, np.array([0, 0, 1, 1, 2, 2]))
    return model


def mosaic_model() -> AudioToImage:
    """A mosaic of six stored images of 32 pixels, two of each of three recordings, with 4 style units, for a second."""
    keras.utils.set_random_seed(0)
    model = AudioToImage(
        FrameEncoder(channels=(8, 8, 8), units=16, latent_dim=8),
        MosaicGenerator(n_exemplars=6, query_dim=8, softness=0.05, detail_softness=0.05, width=8, blocks=1),
        image_size=32,
        features=FeatureConfig(),
        style_units=4,
    )
    images = np.random.default_rng(0).uniform(-1, 1, (6, *model.image.shape)).astype(np.float32)
    adapt_exemplars(model, images, sources=np.array([0, 0, 1, 1, 2, 2]))
    return model


def prototype_model(labels: Sequence[str] = LABELS) -> AudioToImage:
    """A model of features that classifies into three labels, which may have no names, and generates from the prototype
    of the label and 4 style units."""
    keras.utils.set_random_seed(0)
    return AudioToImage(
        DenseEncoder(units=(16, 8), normalize=False),
        ResidualGenerator(channels=(8,), base_channels=8, label_sharpness=2.0),
        image_size=32,
        style_units=4,
        labels=labels,
        n_labels=3,
    )


def _envelope_encoder() -> keras.Model:
    clip = keras.Input((16_000,), name="waveform")
    envelope = keras.layers.AveragePooling1D(2000)(keras.ops.abs(clip)[..., None])
    return keras.Model(clip, keras.layers.Dense(8)(keras.layers.Flatten()(envelope)))
