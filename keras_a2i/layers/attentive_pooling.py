"""A weighted mean over time, whose weights are computed from the averaged vectors."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError


@keras.saving.register_keras_serializable("keras_a2i")
class AttentivePooling(keras.layers.Layer):
    """Mean of vectors over time, weighted by a softmax of scores that two dense layers compute from each vector.

    Args:
        units: outputs of the first dense layer, from 1; its activation is tanh.
        **kwargs: other arguments of a Keras layer.

    Call with float (batch, n, d). Returns (batch, d).

    Raises:
        UsageError: if `units` is out of range.

    Reference:
        Yariv et al., "AudioToken", 2023, section 3; its pooling is the unary part of factor graph attention (Schwartz,
        Schwing and Hazan, 2019).
    """

    def __init__(self, units: int = 128, **kwargs: Any):
        super().__init__(**kwargs)
        if units < 1:
            raise UsageError(f"units must be 1 or more. Received: units={units!r}")
        self.units = units
        self.hidden = keras.layers.Dense(units, "tanh", dtype=self.dtype_policy, name="hidden")
        self.score = keras.layers.Dense(1, dtype=self.dtype_policy, name="score")

    def build(self, input_shape: tuple) -> None:
        self.hidden.build(input_shape)
        self.score.build((*input_shape[:-1], self.units))

    def call(self, vectors: Any) -> Any:
        weights = ops.softmax(self.score(self.hidden(vectors)), axis=1)
        return ops.sum(weights * vectors, axis=1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape[0], input_shape[2]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units}
