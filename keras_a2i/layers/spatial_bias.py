"""A learned bias at every position of a feature map."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("keras_a2i")
class SpatialBias(keras.layers.Layer):
    """Adds a learned, input-independent bias to every spatial position.

    With this bias, a static background need not be encoded in the latent vector. The bias is zero at first.

    Args:
        **kwargs: arguments of a Keras layer.

    Call with float (batch, height, width, channels); returns the same shape.
    """

    def build(self, input_shape: tuple) -> None:
        self.canvas = self.add_weight(shape=tuple(input_shape[1:]), initializer="zeros", name="canvas")

    def call(self, x: Any) -> Any:
        return x + self.canvas

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape
