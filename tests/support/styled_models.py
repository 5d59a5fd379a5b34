"""Small models with a style that know labels: one with exemplars, one with a label head."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_a2i.models import AudioToImage, DenseEncoder, ExemplarGenerator, ResidualGenerator, adapt_exemplars

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
