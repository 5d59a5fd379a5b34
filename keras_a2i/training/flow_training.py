"""The model that is fitted for the recipe audio-token: an embedder in front of a frozen Stable Diffusion 3 model."""

import statistics
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.models.token_diffusion import TokenDiffusion
from keras_a2i.models.token_embedder import TokenEmbedder

_VALIDATION_SEED = 1


class FlowTraining(keras.Model):
    """Trains an embedder by the flow loss of a frozen diffusion model: plain `compile(optimizer)` and `fit`.

    Fit it on (inputs, images). Noise and noise levels are drawn anew in every step, the levels from a logit-normal
    distribution; validation uses the same in every epoch.

    Args:
        embedder: the model that is trained in place.
        diffusion: the model whose loss it is trained by; it stays as it is.
        seed: seed of the noise.

    Attributes:
        changing_variables: the variables without those of the diffusion model.
    """

    def __init__(self, embedder: TokenEmbedder, diffusion: TokenDiffusion, seed: int = 0):
        super().__init__(name="flow_training", autocast=False)
        self.embedder = embedder
        self.backbone = diffusion.backbone
        self._diffusion = diffusion
        self.random = keras.random.SeedGenerator(seed)
        self.built = True

    @property
    def changing_variables(self) -> list[keras.Variable]:
        return [*self.embedder.variables, self.random.state]

    def compile(self, optimizer: keras.optimizers.Optimizer, **kwargs: Any) -> None:
        """Compiles as a Keras model does, with a scaled loss where gradients pass through float16."""
        if self._diffusion.has_float16:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        super().compile(optimizer=optimizer, **kwargs)
        # TensorFlow traces a step twice that creates variables.
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.embedder(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        n, shape = ops.shape(y)[0], self._diffusion.latent_shape
        seed = self.random if training else _VALIDATION_SEED
        noise = keras.random.normal((n, *shape), seed=seed)
        if training:
            levels = ops.sigmoid(keras.random.normal((n,), seed=seed))
        else:
            levels = ops.take(_LEVELS, ops.arange(n) % len(_LEVELS))
        return self._diffusion.flow_loss(y_pred, y, noise, levels)


def _spread_levels(n: int) -> np.ndarray:
    """Noise levels at even quantiles of the distribution that training draws them from, in a fixed random order."""
    normal = [statistics.NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)]
    return np.random.default_rng(0).permutation(1 / (1 + np.exp(-np.array(normal)))).astype(np.float32)


_LEVELS = _spread_levels(128)
