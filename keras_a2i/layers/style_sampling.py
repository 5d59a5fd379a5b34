"""A random style from an inferred distribution, with the divergence of that distribution as a loss."""

from typing import Any

import keras
from keras import ops

_MAX_LOG_VARIANCE = 6.0


@keras.saving.register_keras_serializable("keras_a2i")
class StyleSampling(keras.layers.Layer):
    """Draws a style in training and returns its mean otherwise; adds a loss that pulls the styles to a standard normal.

    Args:
        weight: weight of the Kullback-Leibler divergence from the standard normal distribution, in nats per pair.
        seed: seed of the draws.
        dtype: dtype or policy of the output. The layer computes in float32, which is the default whatever the global
            policy is.
        **kwargs: other arguments of a Keras layer.

    Call with means and log variances side by side, (batch, 2 * style_units). Returns float (batch, style_units).

    Reference:
        Kingma and Welling, "Auto-encoding variational Bayes", 2014; Sohn, Lee and Yan, "Learning structured output
        representation using deep conditional generative models", 2015.
    """

    def __init__(self, weight: float = 1.0, seed: int = 0, dtype: Any = "float32", **kwargs: Any):
        super().__init__(dtype=dtype or "float32", **({"autocast": False} | kwargs))
        self.weight, self.seed = weight, seed
        self._seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        mean, log_variance = ops.split(ops.cast(x, "float32"), 2, axis=-1)
        log_variance = _MAX_LOG_VARIANCE * ops.tanh(log_variance / _MAX_LOG_VARIANCE)
        per_unit = ops.square(mean) + ops.exp(log_variance) - 1 - log_variance
        self.add_loss(self.weight * 0.5 * ops.mean(ops.sum(per_unit, axis=-1)))
        if training:
            noise = keras.random.normal(ops.shape(mean), dtype="float32", seed=self._seed_generator)
            mean = mean + ops.exp(0.5 * log_variance) * noise
        return ops.cast(mean, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return *input_shape[:-1], input_shape[-1] // 2

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"weight": self.weight, "seed": self.seed}
