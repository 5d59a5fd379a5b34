"""A discriminator that distinguishes real images from generated ones."""

from typing import Any

import keras
from keras import layers, ops

from keras_a2i.errors import UsageError
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

    With `frame_pairs`, the discriminator receives two consecutive images at once, with the encoder's outputs of both,
    so that it distinguishes real changes over time from generated ones. Consecutive pairs of a batch must then be
    neighbours in time, as for `TemporalDifference`: `fit` shuffles single pairs until `start`, and pairs of neighbours
    from there.

    Args:
        weight: factor of the loss.
        start: fraction of the training after which the objective is added to the loss, 0 up to below 1.
        smoothness: gamma of the R1 penalty.
        frame_pairs: whether the discriminator receives pairs of consecutive images.
        seed: seed of the noise.
        **kwargs: as `Objective`.

    Reference:
        Miyato and Koyama, "cGANs with projection discriminator", 2018; Mescheder et al., "Which training methods for
        GANs do actually converge?", 2018 (R1); the estimate as in Lin et al., "Diffusion adversarial post-training",
        2025. Pairs of frames as in Kumar et al., "Robust one shot audio to video generation", 2020.
    """

    id = "adversarial"
    compares_images = True
    seed_offset = 1

    def __init__(
        self,
        weight: float = 1.0,
        start: float = 0.0,
        smoothness: float = 0.1,
        frame_pairs: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(weight, **kwargs)
        if not isinstance(frame_pairs, bool):
            raise UsageError(f"frame_pairs must be true or false. Received: frame_pairs={frame_pairs!r}")
        self.start, self.smoothness, self.frame_pairs, self.seed = start, smoothness, frame_pairs, seed
        self.needs_neighbours = frame_pairs
        self.discriminator: Any = None
        self._seed_generator = keras.random.SeedGenerator(seed)

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        self._require_latent(model)
        self._require(self.discriminator is None, "a new instance: this one has been attached to a model before")
        frames = 2 if self.frame_pairs else 1
        self.discriminator = _discriminator(
            model.image.size, frames * model.image.channels, frames * (model.latent_dim - model.style_units)
        )

    def loss(self, state: TrainState) -> Any:
        real, fake, content = state.images, state.sampled, ops.stop_gradient(state.content)
        if self.frame_pairs:
            real, fake, content = map(_in_pairs, (real, fake, content))
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
        settings = {"start": self.start, "smoothness": self.smoothness, "frame_pairs": self.frame_pairs}
        return super().get_config() | settings | {"seed": self.seed}


def _in_pairs(values: Any) -> Any:
    """Joins every two consecutive rows (batch, ..., n) to one (batch // 2, ..., 2 n)."""
    count = ops.shape(values)[0] // 2 * 2
    return ops.concatenate([values[0:count:2], values[1:count:2]], axis=-1)


def _discriminator(image_size: int, channels: int, n_content: int) -> keras.Model:
    content = keras.Input((n_content,), name="content")
    encoder = image_encoder(image_size, channels, _EMBEDDING_DIM)
    image = keras.Input((image_size, image_size, channels), name="image")
    image_embedding = layers.LeakyReLU(0.2, name="image_embedding")(encoder(image))
    audio_embedding = layers.Dense(_EMBEDDING_DIM, use_bias=False, name="audio_embedding")(content)
    unconditional = layers.Dense(1, name="unconditional")(image_embedding)
    conditional = layers.Dot(axes=-1, name="conditional")([image_embedding, audio_embedding])
    return keras.Model([image, content], layers.Add(name="realism")([unconditional, conditional]), name="discriminator")
