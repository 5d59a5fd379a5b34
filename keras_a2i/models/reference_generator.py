"""A generator that changes a reference image according to a latent vector, with skip connections from the reference."""

import dataclasses
from typing import ClassVar, Self

import keras
from keras import layers

from keras_a2i.config import whole, wholes
from keras_a2i.errors import UsageError
from keras_a2i.layers import BatchNormalization, DepthToSpace
from keras_a2i.models.generator import Generator, n_doublings, norm_act, stage_width
from keras_a2i.models.initializers import SLOPE
from keras_a2i.models.network_part import scale_width

_SMALLEST = 4


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ReferenceGenerator(Generator):
    """Encodes a reference image, such as a face, and decodes it with the changes that the audio determines.

    Strided convolutions halve the reference down to 4 pixels per side. The decoder doubles the side again: every stage
    receives the encoder's map of the same size, and from the latent vector a gain and a shift for every channel. The
    output is added to the reference, so that everything that doesn't depend on the audio stays sharp, and clipped to
    [-1, 1].

    Args:
        channels: outputs of every stage of the decoder; the last entry repeats for larger images.
        encoder_channels: outputs of every strided convolution; the last entry repeats.
        base_channels: channels of the latent vector's map of 4 x 4.
        label_sharpness: see `Generator`.

    Raises:
        ConfigError: if an argument is out of range.

    Reference:
        Ronneberger et al., "U-Net", 2015 (skip connections); Kumar et al., "Robust one shot audio to video
        generation", 2020 (audio and a reference image in front of one generator); Perez et al., "FiLM", 2018 (gain and
        shift).

    Example:
        >>> from keras_a2i.models import AudioToImage, SpeechEncoder
        >>> model = AudioToImage(SpeechEncoder(), ReferenceGenerator(), image_size=32)
        >>> [tensor.name for tensor in model.inputs], model.output_shape
        (['waveform', 'reference'], (None, 32, 32, 3))
    """

    channels: tuple[int, ...] = wholes((64, 64, 48, 32))
    encoder_channels: tuple[int, ...] = wholes((24, 48, 64, 96))
    base_channels: int = whole(32)

    output_activation: ClassVar[str] = "hard_tanh"
    needs_reference: ClassVar[bool] = True

    def connect_image(
        self,
        latent: keras.KerasTensor,
        image_size: int,
        channels: int,
        style_units: int = 0,
        reference: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        if reference is None:
            raise UsageError(
                "reference must be given: this generator changes a reference image. Received: None. Build the model by "
                "AudioToImage, which has the input"
            )
        skips, x = [], reference
        for i in range(n_doublings(image_size, _SMALLEST, 1)):
            width = stage_width(self.encoder_channels, i)
            x = layers.Conv2D(width, 4, strides=2, padding="same", use_bias=False, name=f"reference_{i}")(x)
            x = norm_act(x, f"reference_{i}")
            skips.append(x)
        base = layers.Dense(_SMALLEST * _SMALLEST * self.base_channels, name="base")(latent)
        base = layers.Reshape((_SMALLEST, _SMALLEST, self.base_channels), name="to_map")(base)
        x = layers.Concatenate(name="reference_and_audio")([skips.pop(), base])
        for i, skip in enumerate(reversed(skips)):
            x = _decoder_stage(x, skip, latent, stage_width(self.channels, i), f"generator_{i}")
        # Zero at first: the training starts at the reference itself.
        change = layers.Conv2D(
            4 * channels, 3, padding="same", kernel_initializer="zeros", dtype="float32", name="to_sub_pixels"
        )(x)
        return layers.Add(dtype="float32", name="changed")([reference, DepthToSpace(2, name="change")(change)])

    def _scaled(self, size: str) -> Self:
        return dataclasses.replace(
            self,
            channels=tuple(scale_width(width, size) for width in self.channels),
            encoder_channels=tuple(scale_width(width, size) for width in self.encoder_channels),
            base_channels=scale_width(self.base_channels, size),
        )


def _decoder_stage(
    x: keras.KerasTensor, skip: keras.KerasTensor, latent: keras.KerasTensor, width: int, name: str
) -> keras.KerasTensor:
    """Doubles the side and joins the reference's map of that side, under the control of the latent vector."""
    x = layers.UpSampling2D(interpolation="nearest", name=f"{name}_up")(x)
    x = layers.Concatenate(name=f"{name}_skip")([x, skip])
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=name)(x)
    x = BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    gain = layers.Dense(width, bias_initializer="ones", name=f"{name}_gain")(latent)
    shift = layers.Dense(width, name=f"{name}_shift")(latent)
    x = layers.Multiply(name=f"{name}_scaled")([x, layers.Reshape((1, 1, width), name=f"{name}_gain_map")(gain)])
    x = layers.Add(name=f"{name}_shifted")([x, layers.Reshape((1, 1, width), name=f"{name}_shift_map")(shift)])
    return layers.LeakyReLU(SLOPE, name=f"{name}_act")(x)
