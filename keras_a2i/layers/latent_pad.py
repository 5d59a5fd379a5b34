"""Room in the latent vector for what the sound doesn't say."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError


@keras.saving.register_keras_serializable("keras_a2i")
class LatentPad(keras.layers.Layer):
    """Puts zeros after a latent vector: the mean of a style that is drawn from a normal distribution.

    What is given the vector with other numbers in their place draws another picture of the same sound.

    Args:
        units: how many, 1 or more.
        **kwargs: name of the layer.

    Call with float (batch, n). Returns (batch, n + units).

    Raises:
        UsageError: if `units` is below 1.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(units, int) or isinstance(units, bool) or units < 1:
            raise UsageError(f"units must be a whole number from 1. Received: units={units!r}")
        self.units = units

    def call(self, content: Any) -> Any:
        return ops.pad(content, ((0, 0), (0, self.units)))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape[0], input_shape[1] + self.units

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
