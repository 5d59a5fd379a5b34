"""Encoder, generator and label head of a functional model, found by layer names; goes when `AudioToImage` is there."""

from typing import Any

import keras

from keras_a2i.config import ImageConfig
from keras_a2i.layers import LabelPrototypes, LatentPad

_LATENT = "latent"


def with_parts(model: keras.Model) -> Any:
    """Returns `model`, with the attributes of an `AudioToImage` if it has a layer named "latent"."""
    if hasattr(model, "encoder") or _LATENT not in [layer.name for layer in model.layers]:
        return model
    latent = model.get_layer(_LATENT).output
    model.encoder = keras.Model(model.input, latent, name="encoder")
    model.generator = keras.Model(latent, model.output, name="generator")
    _, size, _, channels = model.output_shape
    model.image = ImageConfig(size=size, channels=channels)
    model.latent_dim = model.encoder.output_shape[-1]
    pads = [layer.units for layer in model.layers if isinstance(layer, LatentPad)]
    model.style_units = pads[0] if pads else 0
    prototypes = [layer for layer in model.layers if isinstance(layer, LabelPrototypes)]
    model.label_head = prototypes[0].head if prototypes else None
    model.n_labels = prototypes[0].n_labels if prototypes else 0
    return model
