"""Images, training steps and small models for the tests of objectives, on any backend."""

import types

import keras
import numpy as np
from keras import layers, ops

from keras_a2i.config import ImageConfig
from keras_a2i.layers import LabelPrototypes
from keras_a2i.models import AudioToImage
from keras_a2i.objectives import TrainState


def random_images(n=4, size=32, channels=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, size, size, channels)).astype(np.float32)


def train_state(real, generated, **values):
    """A `TrainState` of arrays, by default with `sampled` as `generated`, half of the training done, the rest None."""
    known = {"inputs": None, "labels": None, "content": None, "sampled": generated, "style": None, "progress": 0.5}
    values = known | values | {"images": real, "generated": generated}
    tensors = {k: ops.convert_to_tensor(value) for k, value in values.items() if isinstance(value, np.ndarray)}
    return TrainState(**(values | tensors))


def attached(objective, autoencoder=None, *, latent_dim=4, size=16, channels=1, **values):
    """The objective, attached to a stand-in for a model of those dimensions."""
    known = {"label_head": None, "n_labels": 0, "style_units": 0, "encoder": object()}
    image = ImageConfig(size=size, channels=channels)
    model = types.SimpleNamespace(**(known | {"latent_dim": latent_dim, "image": image} | values))
    objective.attach(model, autoencoder)
    return objective


def small_model(*, style_units=0, n_labels=0, dropout=0.0, seed=0):
    """An `AudioToImage` of 6 features to 16 x 16 grey images, all weights seeded."""

    def dense(units, number, **options):
        return layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed + number), **options)

    features = keras.Input((6,), name="features")
    x = layers.LayerNormalization()(dense(16, 0)(features))
    x = layers.Dropout(dropout, seed=seed)(layers.LeakyReLU(0.2)(x))
    encoder = keras.Model(features, dense(8, 1)(x))
    latent = keras.Input((8 + style_units,), name="latent")
    x = LabelPrototypes(n_labels, style_units=style_units)(latent) if n_labels else latent
    # A bias would have no gradient but the rounding errors, which Adam makes as large as any other.
    x = layers.BatchNormalization(momentum=0.9)(dense(32, 2, use_bias=False)(x))
    x = dense(256, 3, activation="tanh")(layers.LeakyReLU(0.2)(x))
    generator = keras.Model(latent, layers.Reshape((16, 16, 1), dtype="float32")(x))
    return AudioToImage(encoder, generator, style_units=style_units)
