"""A classifier that replaces a latent vector by a learned prototype of its label."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.layers.label_head import LabelHead


@keras.saving.register_keras_serializable("keras_a2i")
class LabelPrototypes(keras.layers.Layer):
    """Classifies a latent vector, and replaces it by the learned prototypes of the labels, weighted by probability.

    A generator is trained on audio of known speakers, whose labels are clear. The embedding of an unseen speaker is
    often between two classes and would produce an image of neither. Therefore this layer sharpens the probabilities:
    the output is the prototype of the most probable label, or a mixture if two labels are nearly equally probable. An
    ensemble classifies by the geometric mean of its members' probabilities.

    No gradient reaches the input or the classifier: `head` is trained on labels (`LabelCrossentropy`), not on images.

    Args:
        n_labels: number of labels, from 2.
        sharpness: exponent of the probabilities, above 0.
        ensemble: number of concatenated vectors, from 1.
        style_units: numbers at the end of the input that are passed through, from 0.
        **kwargs: other arguments of a Keras layer.

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

    def label_logits(self, vector: Any) -> Any:
        """Returns the logits of the labels for the argument of a call, float32 (batch, n_labels).

        They are the mean over the ensemble, whose softmax is the geometric mean of the members' probabilities.
        """
        return ops.mean(ops.cast(self.head(vector[:, : self.head.n_inputs]), "float32"), axis=1)

    def call(self, vector: Any) -> Any:
        n = self.head.n_inputs
        logits = ops.cast(ops.stop_gradient(self.head(vector[:, :n])), "float32")
        log_probabilities = ops.mean(ops.log_softmax(logits), axis=1)
        weights = ops.cast(ops.softmax(self.sharpness * log_probabilities), vector.dtype)
        prototype = ops.matmul(weights, ops.cast(self.prototypes, vector.dtype))
        return ops.concatenate([prototype, vector[:, n:]], axis=-1) if self.style_units else prototype

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n = input_shape[-1] - self.style_units
        return *input_shape[:-1], n // self.ensemble + self.style_units

    def get_config(self) -> dict[str, Any]:
        names = ("n_labels", "sharpness", "ensemble", "style_units")
        return super().get_config() | {name: getattr(self, name) for name in names}
