"""The part of a model that tells which label its audio has."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_a2i.layers import ExemplarAttention, LabelPrototypes


def find_classifier(model: keras.Model, n_labels: int) -> tuple[keras.layers.Layer, Callable[[Any], Any]] | None:
    """Returns what a model of labelled audio classifies with: the label prototypes, or exemplars with labels.

    Args:
        model: any functional model, or the generator of one.
        n_labels: number of the model's labels.

    Returns:
        The layer, and a function from its input, the latent vectors (batch, latent_dim), to label probabilities,
        float32 (batch, n_labels); or None if the model has no such layer of so many labels.
    """
    for layer in model.layers:
        if isinstance(layer, LabelPrototypes) and layer.n_labels == n_labels:
            return layer, layer.probabilities
        if isinstance(layer, ExemplarAttention) and n_labels > 1 and layer.has_labels(n_labels):
            return layer, functools.partial(layer.probabilities, n_labels=n_labels)
    return None
