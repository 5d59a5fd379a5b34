"""Zeros in the latent vector for the style: the variation that the audio doesn't determine."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError


@keras.saving.register_keras_serializable("keras_a2i")
class LatentPad(keras.layers.Layer):
    """Appends zeros to a latent vector: the mean of a style that is sampled from a normal distribution.

    With other numbers in place of the zeros, the generator returns another image of the same audio.

    Args:
        units: number of zeros, from 1.
        **kwargs: other arguments of a Keras layer.

    Call with float (batch, n). Returns (batch, n + units).

    Raises:
        UsageError: if `units` isn't a whole number from 1.
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
        return super().get_config() | {"units": self.units}
