"""The paper's generator: transposed convolutions, each doubling the side."""

import dataclasses
from typing import Self

import keras
from keras import layers

from keras_a2i.config import choice, whole, wholes
from keras_a2i.errors import ConfigError
from keras_a2i.layers import Conv2DTranspose
from keras_a2i.models.generator import Generator, n_doublings, norm_act, stage_width
from keras_a2i.models.initializers import torch_init
from keras_a2i.models.network_part import scale_width


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class TransposedGenerator(Generator):
    """Transposed convolutions with batch normalisation and leaky ReLU.

    Args:
        channels: outputs of every doubling; the last entry repeats for larger images.
        base_size: pixels per side of the first map, 1, 2 or 4.
        base_channels: channels of the first map, computed by a dense layer; 0 uses the latent vector itself
            (`base_size` 1).
        final_scale: factor by which the last convolution enlarges, 2 or 4.
        label_sharpness: see `Generator`.

    Raises:
        ConfigError: if an argument is out of range.

    Reference:
        Vuruma, "Generating Images from Audio Input", table II; the paper's generator has channels (256, 128, 64, 32,
        16, 8, 4), base_size 1, base_channels 0, final_scale 2.
    """

    channels: tuple[int, ...] = wholes((96, 64, 32, 16))
    base_size: int = choice(4, (1, 2, 4))
    base_channels: int = whole(128, low=0)
    final_scale: int = choice(4, (2, 4))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base_channels == 0 and self.base_size != 1:
            raise ConfigError(
                f"base_channels must be a whole number from 1 unless base_size is 1. Received: base_channels=0, "
                f"base_size={self.base_size}"
            )

    def connect_image(
        self, latent: keras.KerasTensor, image_size: int, channels: int, style_units: int = 0
    ) -> keras.KerasTensor:
        base, x = self.base_size, latent
        if self.base_channels:
            x = layers.Dense(base * base * self.base_channels, **torch_init(x.shape[-1]), name="base")(x)
        x = layers.Reshape((base, base, -1), name="to_map")(x)
        if self.base_channels:
            x = norm_act(x, "base")
        for i in range(n_doublings(image_size, base, self.final_scale)):
            x = norm_act(_enlarge(x, stage_width(self.channels, i), 2, f"generator_{i}"), f"generator_{i}")
        return _enlarge(x, channels, self.final_scale, "to_image")

    def _scaled(self, size: str) -> Self:
        if not self.base_channels:
            return super()._scaled(size)
        return dataclasses.replace(
            self,
            channels=tuple(scale_width(width, size) for width in self.channels),
            base_channels=scale_width(self.base_channels, size),
        )


def _enlarge(x: keras.KerasTensor, width: int, scale: int, name: str) -> keras.KerasTensor:
    kernel = 2 * scale
    init = torch_init(width * kernel * kernel)
    return Conv2DTranspose(width, kernel, strides=scale, padding="same", **init, name=name)(x)
