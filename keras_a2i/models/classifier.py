"""The part of a model that tells which label its audio has."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.models.model_file import ModelMetadata

_BATCH = 64


def find_classifier(model: Any, n_labels: int) -> tuple[keras.layers.Layer, Callable[[Any], Any]] | None:
    """Returns what a model of labelled audio classifies with: the label prototypes, or exemplars with labels.

    Args:
        model: any functional model, or the generator of one.
        n_labels: number of the model's labels.

    Returns:
        The layer, and a function from its input, the latent vectors (batch, latent_dim), to the logits of the labels,
        float32 (batch, n_labels); or None if the model has no such layer of so many labels.
    """
    # Imported here: whoever imports this module first has the layers register `AudioToImage` meanwhile.
    from keras_a2i.layers import LabelPrototypes
    from keras_a2i.layers.stored_exemplars import StoredExemplars

    for layer in getattr(model, "layers", ()):
        if isinstance(layer, LabelPrototypes) and layer.n_labels == n_labels:
            return layer, layer.label_logits
        if isinstance(layer, StoredExemplars) and n_labels > 1 and layer.has_labels(n_labels):
            return layer, functools.partial(layer.label_logits, n_labels=n_labels)
    return None


def can_classify(model: Any) -> bool:
    """Whether a model is an `AudioToImage` that classifies."""
    return find_classifier(getattr(model, "generator", None), getattr(model, "n_labels", 0)) is not None


def name_labels(model: Any, metadata: ModelMetadata) -> ModelMetadata:
    """Returns metadata that has one label for each logit of a model, so that exports and predictors return them all.

    Args:
        model: an `AudioToImage`, or a functional model with label prototypes.
        metadata: of the model. Labels of another number, such as none, are replaced by the model's own or, where it has
            only their number, by "0", "1" and so on; those of a model that doesn't classify stay.
    """
    n_labels = _count_labels(model)
    if n_labels in (0, len(metadata.labels)):
        return metadata
    labels = getattr(model, "labels", ()) or tuple(str(i) for i in range(n_labels))
    return dataclasses.replace(metadata, labels=labels)


def _count_labels(model: Any) -> int:
    from keras_a2i.layers import LabelPrototypes

    if can_classify(model):
        return model.n_labels
    prototypes = (layer for layer in getattr(model, "layers", ()) if isinstance(layer, LabelPrototypes))
    return next((layer.n_labels for layer in prototypes), 0)


def classify(model: Any, inputs: Any) -> np.ndarray:
    """Computes the logits of the labels, float32 (n, n_labels), from a model's inputs (n, n_inputs), 64 at a time.

    The encoder is called as it is: a function compiled for a few batches would cost more than it saves.

    Args:
        model: an `AudioToImage` that `can_classify`.
        inputs: features or waveforms.
    """
    found = find_classifier(model.generator, model.n_labels)
    assert found is not None
    _, label_logits = found
    parts = [
        ops.convert_to_numpy(label_logits(model.encoder(inputs[i : i + _BATCH], training=False)))
        for i in range(0, len(inputs), _BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, model.n_labels), np.float32)
