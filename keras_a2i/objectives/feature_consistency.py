"""Images from which the audio's vector and the style can be recovered."""

from typing import Any

import keras
from keras import ops

from keras_a2i.models.image_encoder import image_encoder
from keras_a2i.objectives.objective import Objective, TrainState, register_objective

_NOISE = 0.1
_LEAST_VARIANCE = 1e-6


@register_objective
class FeatureConsistency(Objective):
    """Error of an image encoder that recovers, from images with a random style, the audio's vector and the style.

    The image encoder is trained together with the generator. The error of the audio's vector keeps all samples of a
    clip consistent with the audio; the error of the style keeps samples diverse, because two styles must not yield the
    same image. Both errors are relative to the variance, so that a constant prediction has an error of 1. Noise on the
    images prevents the generator from hiding the information in invisible details.

    Use the objective together with `Variational`, which draws the styles, and an objective that compares images.

    Args:
        weight: factor of the loss.
        seed: seed of the noise.
        **kwargs: as `Objective`.

    Reference:
        Named after Yang, Su and Wang, "Diverse audio-to-image generation via semantics and feature consistency", 2020;
        the recovery of what an image was drawn from is that of Zhu et al., "Toward multimodal image-to-image
        translation" (BicycleGAN), 2017, and Chen et al., "InfoGAN", 2016.
    """

    id = "consistency"
    seed_offset = 2

    def __init__(self, weight: float = 1.0, seed: int = 0, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self.seed = seed
        self.encoder: Any = None
        self._seed_generator = keras.random.SeedGenerator(seed)

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        self._require_latent(model)
        self._require(self.encoder is None, "a new instance: this one has been attached to a model before")
        self._require(model.style_units > 0, "a model with style_units above 0. Received: style_units=0")
        self.encoder = image_encoder(model.image.size, model.image.channels, model.latent_dim, width=0.5)

    def loss(self, state: TrainState) -> Any:
        self._require(state.sampled_style is not None, "the objective variational in the same training")
        images = state.sampled
        if state.training:
            images = images + _NOISE * keras.random.normal(ops.shape(images), seed=self._seed_generator)
        found = ops.cast(self.encoder(images, training=True), "float32")
        content = ops.cast(ops.stop_gradient(state.content), "float32")
        n = content.shape[-1]
        semantics = ops.mean(ops.square(found[:, :n] - content)) / (
            ops.mean(ops.var(content, axis=0)) + _LEAST_VARIANCE
        )
        return semantics + ops.mean(ops.square(found[:, n:] - ops.cast(state.sampled_style, "float32")))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.seed}
