"""A generator of residual blocks, with a learned bias at every position for a static background."""

import dataclasses
from typing import Self

import keras
from keras import layers

from keras_a2i.config import choice, whole, wholes
from keras_a2i.layers import BatchNormalization, DepthToSpace, DepthToSpaceInitializer, SpatialBias
from keras_a2i.models.generator import Generator, n_doublings, norm_act, stage_width
from keras_a2i.models.initializers import SLOPE
from keras_a2i.models.network_part import scale_width


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualGenerator(Generator):
    """Residual blocks, which double the side of the map up to a half or a quarter of the image, and a depth-to-space
    step.

    Args:
        channels: outputs of every block; the last entry repeats for larger images.
        base_size: pixels per side of the first map, 1, 2 or 4.
        base_channels: channels of the first map, computed by a dense layer.
        final_scale: factor of the depth-to-space step, 2 or 4.
        label_sharpness: see `Generator`.

    Raises:
        ConfigError: if an argument is out of range.
    """

    channels: tuple[int, ...] = wholes((64, 64, 48, 32, 16))
    base_size: int = choice(4, (1, 2, 4))
    base_channels: int = whole(96)
    final_scale: int = choice(2, (2, 4))

    def connect_image(
        self, latent: keras.KerasTensor, image_size: int, channels: int, style_units: int = 0
    ) -> keras.KerasTensor:
        base, scale = self.base_size, self.final_scale
        x = layers.Dense(base * base * self.base_channels, name="base")(latent)
        x = layers.Reshape((base, base, self.base_channels), name="to_map")(x)
        for i in range(n_doublings(image_size, base, scale)):
            x = _residual_block(x, latent, stage_width(self.channels, i), f"generator_{i}")
        x = norm_act(SpatialBias(name="to_image_canvas")(x), "to_image")
        x = layers.Conv2D(
            scale * scale * channels,
            3,
            padding="same",
            kernel_initializer=DepthToSpaceInitializer(scale),
            name="to_sub_pixels",
        )(x)
        return DepthToSpace(scale, name="to_image")(x)

    def _scaled(self, size: str) -> Self:
        return dataclasses.replace(
            self,
            channels=tuple(scale_width(width, size) for width in self.channels),
            base_channels=scale_width(self.base_channels, size),
        )


def _residual_block(x: keras.KerasTensor, latent: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    """Doubles the side: adds to the enlarged map what the latent vector selects from a learned scenery."""
    around = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_around")(x)
    around = layers.UpSampling2D(interpolation="bilinear", name=f"{name}_around_up")(around)
    x = layers.UpSampling2D(interpolation="nearest", name=f"{name}_up")(norm_act(x, f"{name}_a"))
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_a")(x)
    x = BatchNormalization(momentum=0.9, name=f"{name}_b_norm")(SpatialBias(name=f"{name}_canvas")(x))
    gain = layers.Reshape((1, 1, width), name=f"{name}_gain_map")(
        layers.Dense(width, bias_initializer="ones", name=f"{name}_gain")(latent)
    )
    x = layers.LeakyReLU(SLOPE, name=f"{name}_b_act")(layers.Multiply(name=f"{name}_picked")([x, gain]))
    x = layers.Conv2D(width, 3, padding="same", name=f"{name}_b")(x)
    return layers.Add(name=f"{name}_sum")([x, around])
