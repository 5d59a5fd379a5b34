"""The output of a Keras model for one batch."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


def predict_batch(model: "keras.Model", inputs: Any) -> np.ndarray:
    """Returns what the model predicts for one batch of inputs, as float32.

    `predict_on_batch` of a model that was built under a distribution strategy returns the outputs of every replica
    for the whole batch, one after the other.

    Args:
        model: the model.
        inputs: an array, or a tuple of one for each of the model's inputs.
    """
    count = len(inputs[0] if isinstance(inputs, tuple) else inputs)
    return np.asarray(model.predict_on_batch(inputs), np.float32)[:count]
