"""The objective that leaves room for what the sound doesn't say."""

from typing import Any

import keras
from keras import ops

from keras_a2i.models.image_encoder import image_encoder
from keras_a2i.objectives.objective import Objective, Step

_MOST_LOG_VARIANCE = 6.0


class Variational(Objective):
    """Kullback-Leibler divergence of the style, read off the real picture, from the standard normal distribution.

    The generator is given the style beside what the sound says; without a picture, any draw from the normal
    distribution is a style. The KL's weight rises from 0, or the style would be given up before it says anything.

    Args:
        weight: factor of the loss.
        image_size, channels: of the pictures.
        style_units: length of the style.
        warmup: share of the training in which the weight rises from 0.
        seed: of the draws.

    Reference:
        Sohn et al., "Learning structured output representation using deep conditional generative models", 2015, as in
        AIVAE, but with the style's distribution read off the picture and not off the sound: the sound can't tell it.
    """

    def __init__(
        self, weight: float, image_size: int, channels: int, style_units: int, warmup: float = 0.3, seed: int = 0
    ):
        super().__init__(weight, "variational")
        self.style_units, self._warmup = style_units, warmup
        self.encoder = image_encoder(image_size, channels, 2 * style_units, width=0.5)
        self._random = keras.random.SeedGenerator(seed)

    def read_style(self, images: Any) -> tuple[Any, Any]:
        """Mean and log variance, float32 (batch, style_units) each, of the style of real pictures."""
        mean, log_variance = ops.split(ops.cast(self.encoder(images, training=True), "float32"), 2, axis=-1)
        return mean, _MOST_LOG_VARIANCE * ops.tanh(log_variance / _MOST_LOG_VARIANCE)

    def draw_style(self, mean: Any, log_variance: Any) -> Any:
        """A draw from each of the distributions, as `mean`."""
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self._random)

    def divergence(self, mean: Any, log_variance: Any) -> Any:
        """The KL divergence from the standard normal distribution, mean of the batch, a scalar."""
        each = ops.square(mean) + ops.exp(log_variance) - 1 - log_variance
        return 0.5 * ops.mean(ops.sum(each, axis=-1))

    def loss(self, step: Step) -> Any:
        return self.divergence(*step.style)

    def ramp(self, progress: Any) -> Any:
        return ops.minimum(progress / self._warmup, 1.0) if self._warmup else 1.0
