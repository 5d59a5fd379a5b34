"""A distribution of the style: the variation of the images that the audio doesn't determine."""

from typing import Any

import keras
from keras import ops

from keras_a2i.models.image_encoder import image_encoder
from keras_a2i.objectives.objective import Objective, TrainState, register_objective

_MAX_LOG_VARIANCE = 6.0


@register_objective
class Variational(Objective):
    """Kullback-Leibler divergence of the style, inferred from the real image, from the standard normal distribution.

    The generator receives the style in addition to the encoder's output. In use, without a real image, the style is
    sampled from the normal distribution. The weight rises from 0, because otherwise the style would collapse before it
    carries information.

    Args:
        weight: factor of the loss.
        warmup: fraction of the training in which the weight rises from 0, 0 to 1.
        seed: seed of the samples.
        **kwargs: as `Objective`.

    Reference:
        Sohn et al., "Learning structured output representation using deep conditional generative models", 2015, as in
        AIVAE, but with the style's distribution inferred from the image and not from the audio, which doesn't
        determine it.
    """

    id = "variational"
    needs_style = True

    def __init__(self, weight: float = 1.0, warmup: float = 0.3, seed: int = 0, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self.warmup, self.seed = warmup, seed
        self.encoder: Any = None
        self._seed_generator = keras.random.SeedGenerator(seed)

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        self._require_latent(model)
        self._require(self.encoder is None, "a new instance: this one has been attached to a model before")
        self._require(model.style_units > 0, "a model with style_units above 0. Received: style_units=0")
        self.encoder = image_encoder(model.image.size, model.image.channels, 2 * model.style_units, width=0.5)

    def infer_style(self, images: Any) -> tuple[Any, Any]:
        """Returns mean and log variance, float32 (batch, style_units) each, of the style of real images."""
        mean, log_variance = ops.split(ops.cast(self.encoder(images, training=True), "float32"), 2, axis=-1)
        return mean, _MAX_LOG_VARIANCE * ops.tanh(log_variance / _MAX_LOG_VARIANCE)

    def sample_style(self, mean: Any, log_variance: Any) -> Any:
        """Returns one random sample per distribution, of the shape of `mean`."""
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self._seed_generator)

    def loss(self, state: TrainState) -> Any:
        mean, log_variance = state.style
        per_unit = ops.square(mean) + ops.exp(log_variance) - 1 - log_variance
        return 0.5 * ops.mean(ops.sum(per_unit, axis=-1))

    def ramp(self, progress: Any) -> Any:
        return ops.minimum(progress / self.warmup, 1.0) if self.warmup else 1.0

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"warmup": self.warmup, "seed": self.seed}
