"""A model as it is served: with its style as a second input, and the logits of its labels as a second output."""

import itertools
from collections.abc import Callable
from typing import Any

import keras

from keras_a2i.errors import ExportError
from keras_a2i.exporters.formats import ENCODE, GENERATE, IMAGE, LATENT, LOGITS
from keras_a2i.layers import LatentPad
from keras_a2i.models.classifier import find_classifier


def find_style_units(model: keras.Model) -> int:
    """Returns the length of a functional model's style, 0 for a model without one."""
    pad = _find_pad(model)
    return 0 if pad is None else pad.units


def to_serving(model: keras.Model, n_labels: int) -> keras.Model:
    """Returns a functional model that shares the layers of a model and computes all that an export returns.

    Args:
        model: a functional model from features or waveforms (batch, n_inputs) to images.
        n_labels: number of the model's labels; 0 for none.

    Returns:
        A model of a list of inputs: those of `model` and, for a model with a style, the style (batch, style_units), of
        which zeros give the images of `model`. It returns its outputs by name: "image" and, for a model that
        classifies, "logits", float32 (batch, n_labels).
    """
    outputs, pad = {IMAGE: model.outputs[0]}, _find_pad(model)
    classifier = find_classifier(model, n_labels)
    if classifier is not None:
        latent = _node_of(model, classifier[0]).input_tensors[0]
        outputs[LOGITS] = _Logits(*classifier)(latent)
    if pad is None:
        return keras.Model(list(model.inputs), outputs)
    # The two halves, with a style between them in place of the zeros.
    node = _node_of(model, pad)
    inputs = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
    style = keras.Input((pad.units,))
    content = keras.Model(model.inputs[0], node.input_tensors[0], name="encoder")(inputs)
    latent = keras.layers.Concatenate()([content, style])
    return keras.Model([inputs, style], keras.Model(node.output_tensors[0], outputs, name="generator")(latent))


def to_halves(model: keras.Model) -> dict[str, keras.Model]:
    """Returns the encoder and the generator of a functional model by their names, "encode" and "generate".

    The first returns its output as "latent", (batch, latent_dim) with zeros for a style at its end; the second "image".

    Raises:
        ExportError: if the model has no latent vector between them.
    """
    layer = next((each for each in model.layers if each.name == LATENT), None)
    if layer is None:
        raise ExportError(
            "latents=True needs a model with an encoder and a generator of this library. Received: a model without a "
            "latent vector. Leave it out"
        )
    latent = _node_of(model, layer).output_tensors[0]
    return {
        ENCODE: keras.Model([model.inputs[0]], {LATENT: latent}),
        GENERATE: keras.Model([latent], {IMAGE: model.outputs[0]}),
    }


def _find_pad(model: keras.Model) -> LatentPad | None:
    return next((layer for layer in model.layers if isinstance(layer, LatentPad)), None)


def _node_of(model: keras.Model, layer: keras.layers.Layer) -> Any:
    """Returns the call of a layer within the graph of a model; the layer may be part of other models, too."""
    nodes = itertools.chain.from_iterable(model._nodes_by_depth.values())
    return next(node for node in nodes if node.operation is layer)


class _Logits(keras.layers.Layer):
    """The logits of a layer that classifies, as a layer of its own."""

    def __init__(self, classifier: keras.layers.Layer, label_logits: Callable[[Any], Any]):
        super().__init__(dtype="float32", autocast=False, name=LOGITS)
        # Tracked, so that the weights are those of the model.
        self.classifier, self._label_logits = classifier, label_logits

    def call(self, latent: Any) -> Any:
        return self._label_logits(latent)
