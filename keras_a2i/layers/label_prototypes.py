"""From what a sound says to what its label looks like: a decision between the labels."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.layers.label_head import LabelHead


@keras.saving.register_keras_serializable("keras_a2i")
class LabelPrototypes(keras.layers.Layer):
    """Puts a learnt prototype of each label in place of a vector, mixed by how likely the vector says each.

    A generator that draws from the vector itself learns from sounds that it has heard, which say their label clearly.
    One that lies between two labels, as of a new speaker, would be drawn as neither. Here the shares are sharpened:
    the likelier label is drawn, and only where two are nearly as likely a mixture. Where the vector is that of an
    ensemble, the geometric mean of its members' probabilities decides.

    No gradient passes: the decision is taught by whoever compares `head`'s logits with labels, not by pictures.

    Args:
        n_labels: how many, 2 or more.
        sharpness: power that the probabilities are raised to, above 0.
        ensemble: number of vectors in one, 1 or more.
        style_units: numbers at the end that pass as they are, 0 or more.
        **kwargs: name of the layer.

    Call with float (batch, ensemble x n + style_units). Returns (batch, n + style_units).

    Raises:
        UsageError: if an argument is out of range.

    Reference:
        Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep ensembles",
        arXiv:1612.01474.
    """

    def __init__(
        self, n_labels: int, *, sharpness: float = 4.0, ensemble: int = 1, style_units: int = 0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        if not (sharpness > 0 and style_units >= 0):
            raise UsageError(
                "sharpness must be above 0, style_units 0 or more. "
                f"Received: sharpness={sharpness!r}, style_units={style_units!r}"
            )
        self.n_labels, self.sharpness, self.ensemble, self.style_units = n_labels, sharpness, ensemble, style_units
        self.head = LabelHead(n_labels, ensemble, dtype=self.dtype_policy, name="head")

    def build(self, input_shape: tuple) -> None:
        n = input_shape[-1] - self.style_units
        self.head.build((None, n))
        self.prototypes = self.add_weight(
            shape=(self.n_labels, n // self.ensemble),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="prototypes",
        )

    def call(self, vector: Any) -> Any:
        n = self.head.n_inputs
        logits = ops.cast(ops.stop_gradient(self.head(vector[:, :n])), "float32")
        likely = ops.mean(ops.log_softmax(logits), axis=1)
        shares = ops.cast(ops.softmax(self.sharpness * likely), vector.dtype)
        drawn = ops.matmul(shares, ops.cast(self.prototypes, vector.dtype))
        return ops.concatenate([drawn, vector[:, n:]], axis=-1) if self.style_units else drawn

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n = input_shape[-1] - self.style_units
        return *input_shape[:-1], n // self.ensemble + self.style_units

    def get_config(self) -> dict[str, Any]:
        names = ("n_labels", "sharpness", "ensemble", "style_units")
        return super().get_config() | {name: getattr(self, name) for name in names}
