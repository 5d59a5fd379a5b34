"""Losses of large images that XLA computes on TensorFlow, within a training step that XLA doesn't compile."""

from collections.abc import Callable
from typing import Any

import keras

from keras_a2i.objectives.replicas import n_replicas

_MIN_SIZE = 64
"""Side in pixels of the smallest images for which the shorter steps outweigh a second of compiling."""


def can_compile(images: Any) -> bool:
    """Whether `compiled_loss` serves for these generated images: in a graph of TensorFlow, on one device, the CPU.

    On a GPU, XLA can lack parts of a CUDA installation, and in eager execution it would compile every step.
    """
    if keras.backend.backend() != "tensorflow" or images.shape[1] < _MIN_SIZE or n_replicas() > 1:
        return False
    import tensorflow as tf

    return not tf.executing_eagerly() and not tf.config.list_physical_devices("GPU")


def compiled_loss(loss_fn: Callable[[Any, Any], Any], y_true: Any, y_pred: Any) -> Any:
    """Returns a loss that XLA computes together with its gradient, so that dozens of operations become a few loops.

    The convolutions of a training step take longer under XLA than without it on a CPU, so that a step isn't compiled as
    a whole; a loss of elementwise operations takes a fraction of the time.

    Args:
        loss_fn: from (y_true, y_pred) to a scalar, without weights or random numbers.
        y_true: real images, which receive no gradient.
        y_pred: generated images.
    """
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def with_gradient(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            loss = loss_fn(y_true, y_pred)
        return loss, tape.gradient(loss, y_pred)

    @tf.custom_gradient
    def loss_of(y_pred: Any) -> tuple[Any, Callable[[Any], Any]]:
        loss, gradient = with_gradient(y_true, y_pred)
        return loss, lambda upstream: upstream * gradient

    return loss_of(y_pred)
