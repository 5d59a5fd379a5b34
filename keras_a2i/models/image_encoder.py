"""A small encoder of images, trained on the user's own images."""

import math

import keras
from keras import layers

from keras_a2i.models.initializers import SLOPE

FEATURES = "features_"
"""Prefix of the names of the layers whose outputs serve as features of an image."""
_SMALLEST = 4
_WIDTHS = (24, 48, 64, 96)


def image_encoder(image_size: int, channels: int, n_outputs: int, width: float = 1.0) -> keras.Model:
    """Builds strided convolutions from an image to a vector.

    Args:
        image_size: pixels per side, a power of two from 16 to 512.
        channels: 3 for RGB, 1 for grey.
        n_outputs: length of the vector.
        width: factor of the number of channels.

    Returns:
        A functional model: "image" (batch, size, size, channels) in [-1, 1] to "vector" (batch, n_outputs). The feature
        maps, each with half the side of the previous map, are the outputs of the layers named "features_0",
        "features_1" and so on.
    """
    image = keras.Input((image_size, image_size, channels), name="image")
    x = image
    for i in range(int(math.log2(image_size // _SMALLEST))):
        # Large images are reduced first, with few channels.
        filters = round(width * _WIDTHS[min(i, len(_WIDTHS) - 1)])
        x = layers.Conv2D(filters, 4, strides=2, padding="same", data_format="channels_last", name=f"picture_{i}")(x)
        x = layers.LeakyReLU(SLOPE, name=f"{FEATURES}{i}")(x)
    x = layers.Flatten(data_format="channels_last", name="picture_flat")(x)
    return keras.Model(image, layers.Dense(n_outputs, name="vector")(x), name="image_encoder")
