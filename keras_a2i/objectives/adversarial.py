"""The objective that a discriminator can't tell generated pictures from real ones."""

from typing import Any

import keras
from keras import layers, ops

from keras_a2i.models.image_encoder import image_encoder
from keras_a2i.objectives.objective import Objective, Step

_N_JUDGED = 128
_NOISE = 0.05


class Adversarial(Objective):
    """Hinge losses of a projection discriminator, which sees the picture and what the encoder made of the sound.

    Both sides learn in one step of one optimizer: the discriminator is shown generated pictures that it can't reach
    back through, and the generator is judged by a discriminator that holds still. R1 keeps the discriminator smooth:
    its gradient at real pictures is estimated by what it says of slightly noisy ones.

    Args:
        weight: factor of the loss.
        image_size, channels: of the pictures.
        n_content: length of the latent vector, without style.
        start: share of the training before the objective comes in.
        smoothness: gamma of R1.
        seed: of the noise.

    Reference:
        Miyato and Koyama, "cGANs with projection discriminator", 2018; Mescheder et al., "Which training methods for
        GANs do actually converge?", 2018 (R1); the estimate as in Lin et al., "Diffusion adversarial post-training",
        2025.
    """

    def __init__(
        self,
        weight: float,
        image_size: int,
        channels: int,
        n_content: int,
        start: float = 0.0,
        smoothness: float = 0.1,
        seed: int = 0,
    ):
        super().__init__(weight, "adversarial")
        self._start, self._smoothness = start, smoothness
        self.discriminator = _discriminator(image_size, channels, n_content)
        self._random = keras.random.SeedGenerator(seed)

    def loss(self, step: Step) -> Any:
        real, fake = step.images, step.sampled
        content = ops.stop_gradient(step.content)
        on_real = self.discriminator([real, content])
        on_fake = self.discriminator([ops.stop_gradient(fake), content])
        critic = ops.mean(ops.relu(1 - on_real)) + ops.mean(ops.relu(1 + on_fake))
        noisy = real + _NOISE * keras.random.normal(ops.shape(real), seed=self._random)
        slope = ops.mean(ops.square(self.discriminator([noisy, content]) - on_real)) / _NOISE**2
        still = [ops.stop_gradient(variable.value) for variable in self.discriminator.trainable_variables]
        fixed = [variable.value for variable in self.discriminator.non_trainable_variables]
        verdict, _ = self.discriminator.stateless_call(still, fixed, [fake, content])
        return critic + 0.5 * self._smoothness * slope - ops.mean(verdict)

    def ramp(self, progress: Any) -> Any:
        return ops.cast(progress >= self._start, "float32")


def _discriminator(image_size: int, channels: int, n_content: int) -> keras.Model:
    content = keras.Input((n_content,), name="content")
    looks = image_encoder(image_size, channels, _N_JUDGED)
    image = keras.Input((image_size, image_size, channels), name="image")
    seen = layers.LeakyReLU(0.2, name="seen")(looks(image))
    heard = layers.Dense(_N_JUDGED, use_bias=False, name="heard")(content)
    alone = layers.Dense(1, name="alone")(seen)
    together = layers.Dot(axes=-1, name="together")([seen, heard])
    return keras.Model([image, content], layers.Add(name="verdict")([alone, together]), name="discriminator")
