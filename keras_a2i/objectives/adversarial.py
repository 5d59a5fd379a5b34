"""A discriminator that tells real images from generated ones."""

from typing import Any

import keras
from keras import layers, ops

from keras_a2i.models.image_encoder import image_encoder
from keras_a2i.objectives.objective import Objective, TrainState, register_objective

_EMBEDDING_DIM = 128
_NOISE = 0.05


@register_objective
class Adversarial(Objective):
    """Hinge losses of a projection discriminator, which receives the image and the encoder's output.

    Discriminator and generator are updated in one step of one optimizer: the discriminator's loss sends no gradient to
    the generated images, and the generator's loss treats the discriminator's weights as constants. The R1 penalty
    keeps the discriminator smooth: its gradient at real images is estimated from its outputs for slightly noisy ones.

    Args:
        weight: factor of the loss.
        start: fraction of the training after which the objective counts, 0 up to below 1.
        smoothness: gamma of the R1 penalty.
        seed: seed of the noise.
        **kwargs: as `Objective`.

    Reference:
        Miyato and Koyama, "cGANs with projection discriminator", 2018; Mescheder et al., "Which training methods for
        GANs do actually converge?", 2018 (R1); the estimate as in Lin et al., "Diffusion adversarial post-training",
        2025.
    """

    id = "adversarial"
    compares_images = True
    seed_offset = 1

    def __init__(self, weight: float = 1.0, start: float = 0.0, smoothness: float = 0.1, seed: int = 0, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self.start, self.smoothness, self.seed = start, smoothness, seed
        self.discriminator: Any = None
        self._seed_generator = keras.random.SeedGenerator(seed)

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        self._require_latent(model)
        self._require(self.discriminator is None, "to be new: it has been attached to a model before")
        self.discriminator = _discriminator(
            model.image.size, model.image.channels, model.latent_dim - model.style_units
        )

    def loss(self, state: TrainState) -> Any:
        real, fake = state.images, state.sampled
        content = ops.stop_gradient(state.content)
        on_real = ops.cast(self.discriminator([real, content]), "float32")
        on_fake = ops.cast(self.discriminator([ops.stop_gradient(fake), content]), "float32")
        discriminator_loss = ops.mean(ops.relu(1 - on_real)) + ops.mean(ops.relu(1 + on_fake))
        if state.training:
            noisy = real + _NOISE * keras.random.normal(ops.shape(real), seed=self._seed_generator)
            on_noisy = ops.cast(self.discriminator([noisy, content]), "float32")
            slope = ops.mean(ops.square(on_noisy - on_real)) / _NOISE**2
            discriminator_loss = discriminator_loss + 0.5 * self.smoothness * slope
        constants = [ops.stop_gradient(variable.value) for variable in self.discriminator.trainable_variables]
        others = [variable.value for variable in self.discriminator.non_trainable_variables]
        realism, _ = self.discriminator.stateless_call(constants, others, [fake, content])
        return discriminator_loss - ops.mean(ops.cast(realism, "float32"))

    def ramp(self, progress: Any) -> Any:
        return ops.cast(progress >= self.start, "float32")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"start": self.start, "smoothness": self.smoothness, "seed": self.seed}


def _discriminator(image_size: int, channels: int, n_content: int) -> keras.Model:
    content = keras.Input((n_content,), name="content")
    encoder = image_encoder(image_size, channels, _EMBEDDING_DIM)
    image = keras.Input((image_size, image_size, channels), name="image")
    image_embedding = layers.LeakyReLU(0.2, name="image_embedding")(encoder(image))
    audio_embedding = layers.Dense(_EMBEDDING_DIM, use_bias=False, name="audio_embedding")(content)
    unconditional = layers.Dense(1, name="unconditional")(image_embedding)
    conditional = layers.Dot(axes=-1, name="conditional")([image_embedding, audio_embedding])
    return keras.Model([image, content], layers.Add(name="realism")([unconditional, conditional]), name="discriminator")
