"""Losses under `tf.distribute`, where the gradients of the replicas are summed."""

from typing import Any

import keras


def n_replicas() -> int:
    """Returns the number of replicas that train together, 1 except under `tf.distribute`."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def undo_replica_scaling(loss: Any) -> Any:
    """Returns a mean loss of Keras, which divides by the number of replicas, without that division."""
    count = n_replicas()
    return loss if count == 1 else loss * count
