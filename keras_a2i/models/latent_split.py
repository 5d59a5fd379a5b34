"""A model cut in two at its latent vector: what hears, and what draws."""

import keras

from keras_a2i.models.encoders import LATENT


def split_at_latent(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cuts a functional model at the output of its layer named "latent".

    Args:
        model: a model of this library; the halves share its weights.

    Returns:
        The encoder, input to latent vector, and the generator, latent vector to picture.

    Raises:
        ValueError: if it has no such layer, or its picture depends on its input otherwise than by the latent vector.
    """
    latent = model.get_layer(LATENT).output
    return keras.Model(model.inputs, latent, name="encoder"), keras.Model(latent, model.outputs, name="generator")
