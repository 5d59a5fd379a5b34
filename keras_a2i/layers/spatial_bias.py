"""What lies at each place of a map, whatever the input."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("keras_a2i")
class SpatialBias(keras.layers.Layer):
    """Adds a learnt map: scenery that doesn't move needn't be drawn from the latent vector each time.

    Args:
        **kwargs: name of the layer.

    Call with float (batch, height, width, channels); the same comes out. The map begins as zeros.
    """

    def build(self, input_shape: tuple) -> None:
        self.canvas = self.add_weight(shape=input_shape[1:], initializer="zeros", name="canvas")

    def call(self, x: Any) -> Any:
        return x + self.canvas

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape
