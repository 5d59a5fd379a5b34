"""Logits of labels from the latent vectors of one encoder or of an ensemble."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError


@keras.saving.register_keras_serializable("keras_a2i")
class LabelHead(keras.layers.Layer):
    """One dense layer for each of the concatenated latent vectors of an ensemble.

    Args:
        n_labels: number of labels, from 2.
        ensemble: number of vectors, from 1.
        **kwargs: other arguments of a Keras layer.

    Call with float (batch, ensemble x n). Returns logits (batch, ensemble, n_labels).

    Raises:
        UsageError: if an argument is out of range, or the vectors differ in length.
    """

    def __init__(self, n_labels: int, ensemble: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        if not (n_labels >= 2 and ensemble >= 1):
            raise UsageError(
                "n_labels must be 2 or more, ensemble 1 or more. "
                f"Received: n_labels={n_labels!r}, ensemble={ensemble!r}"
            )
        self.n_labels, self.ensemble = n_labels, ensemble
        self.heads = [
            keras.layers.Dense(n_labels, dtype=self.dtype_policy, name=f"head_{i + 1}") for i in range(ensemble)
        ]

    def build(self, input_shape: tuple) -> None:
        self.n_inputs = input_shape[-1]
        if self.n_inputs % self.ensemble:
            raise UsageError(
                f"The length of the input must be a multiple of ensemble={self.ensemble}. Received: {self.n_inputs}"
            )
        for head in self.heads:
            head.build((None, self.n_inputs // self.ensemble))

    def call(self, vectors: Any) -> Any:
        parts = ops.split(vectors, self.ensemble, axis=-1)
        return ops.stack([head(part) for head, part in zip(self.heads, parts, strict=True)], axis=1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape[0], self.ensemble, self.n_labels

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"n_labels": self.n_labels, "ensemble": self.ensemble}
