"""The output of a Keras model for one batch, and for a few of them."""

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


def predict_eagerly(model: "keras.Model", inputs: np.ndarray, batch_size: int = 32) -> np.ndarray:
    """Returns what a small model predicts for a few batches, as float32.

    `predict` would trace a function first, which takes longer than it saves.

    Args:
        model: the model.
        inputs: an array (n, ...), n 1 or more.
        batch_size: number of inputs at a time.
    """
    from keras import ops

    batches = (inputs[i : i + batch_size] for i in range(0, len(inputs), batch_size))
    found = [ops.convert_to_numpy(model(batch, training=False)) for batch in batches]
    return np.concatenate(found).astype(np.float32, copy=False)
