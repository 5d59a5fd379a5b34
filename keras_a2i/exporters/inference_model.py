"""The graph of a user's Keras model, without what it was compiled with."""

from typing import Any

import keras
from keras.src.models import Functional

from keras_a2i.errors import UsageError
from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.models.dtype_policy import DTYPE


def is_graph(layer: Any) -> bool:
    """Whether a layer or model is computed by its graph of layers alone: a functional or a built sequential model."""
    if isinstance(layer, keras.Sequential):
        return layer.built and type(layer).call is keras.Sequential.call
    return isinstance(layer, Functional) and type(layer).call is Functional.call


def to_float32(model: keras.Model) -> keras.Model:
    """Returns a model that computes in float32, with the same weights: converters have no kernels for half precision.

    Args:
        model: any model; an `AudioToImage` of another dtype policy is built again, others are returned as they are.
    """
    if not isinstance(model, AudioToImage) or model.compute_dtype == "float32":
        return model
    found = AudioToImage.from_config(model.get_config() | {DTYPE: "float32"})
    found.set_weights(model.get_weights())
    return found


def to_graph(model: keras.Model) -> keras.Model:
    """Returns a functional model with the layers of a model, not compiled.

    Cloning a compiled model restores its loss and its metrics, which fails for those that aren't registered.

    Args:
        model: a functional or a built sequential model with one input, beside which there may be a reference image,
            and one output.

    Raises:
        UsageError: if it is something else.
    """
    if not is_graph(model):
        raise UsageError(
            f"model must be a functional model, or a sequential one that is built. Received: {type(model).__name__}. "
            "Call it on a keras.Input, and pass keras.Model(inputs, outputs)"
        )
    has_reference = len(model.inputs) == 2 and model.inputs[1].name == "reference"
    if not (len(model.inputs) == 1 or has_reference) or len(model.outputs) != 1:
        raise UsageError(
            "model must have one output and one input, or a second input for a reference image. "
            f"Received: {len(model.inputs)} inputs and {len(model.outputs)} outputs"
        )
    inputs = list(model.inputs) if has_reference else model.inputs[0]
    return keras.Model(inputs, model.outputs[0], name=model.name)
