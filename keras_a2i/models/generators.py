"""Generators: a latent vector to a picture in [-1, 1]."""

import math

import keras
from keras import layers

from keras_a2i.layers import DepthToSpace, DepthToSpaceInitializer, LabelPrototypes, SpatialBias
from keras_a2i.models.initializers import SLOPE, torch_init
from keras_a2i.models.recipe import Recipe

PROTOTYPES = "label_prototypes"
"""Name of the layer that decides between the labels, where a recipe has one."""


def generate_image(
    latent: keras.KerasTensor, recipe: Recipe, image_size: int, channels: int, n_labels: int = 0
) -> keras.KerasTensor:
    """Draws the picture of a latent vector with the recipe's generator.

    Args:
        latent: (batch, n_latent).
        recipe: which generator, and its widths.
        image_size: pixels a side, a power of two from 16 to 512.
        channels: 3 for RGB, 1 for grey.
        n_labels: number of labels, for a recipe that decides between them.

    Returns:
        float32 (batch, image_size, image_size, channels) in [-1, 1]; the layer is named "image".
    """
    if recipe.label_sharpness:
        latent = LabelPrototypes(
            n_labels,
            sharpness=recipe.label_sharpness,
            ensemble=recipe.ensemble,
            style_units=recipe.style_units,
            name=PROTOTYPES,
        )(latent)
    draw = {"transposed": _transposed, "residual": _residual}[recipe.generator]
    return layers.Activation("tanh", dtype="float32", name="image")(draw(latent, recipe, image_size, channels))


def _width(recipe: Recipe, stage: int) -> int:
    return recipe.generator_channels[min(stage, len(recipe.generator_channels) - 1)]


def _transposed(x: keras.KerasTensor, recipe: Recipe, image_size: int, channels: int) -> keras.KerasTensor:
    """The paper's: transposed convolutions, each doubling the side."""
    base = recipe.base_size
    if recipe.base_channels:
        x = layers.Dense(base * base * recipe.base_channels, **torch_init(x.shape[-1]), name="base")(x)
    x = layers.Reshape((base, base, -1), name="to_map")(x)
    if recipe.base_channels:
        x = _norm_act(x, "base")
    for i in range(int(math.log2(image_size // (base * recipe.final_scale)))):
        x = _norm_act(_enlarge(x, _width(recipe, i), 2, f"generator_{i}"), f"generator_{i}")
    return _enlarge(x, channels, recipe.final_scale, "to_image")


def _enlarge(x: keras.KerasTensor, width: int, scale: int, name: str) -> keras.KerasTensor:
    kernel = 2 * scale
    init = torch_init(width * kernel * kernel)
    return layers.Conv2DTranspose(width, kernel, strides=scale, padding="same", **init, name=name)(x)


def _norm_act(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    # PyTorch moves its running variance by the unbiased batch variance, Keras by the biased one: n / (n - 1) apart.
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return layers.LeakyReLU(SLOPE, name=f"{name}_act")(x)


def _residual(latent: keras.KerasTensor, recipe: Recipe, image_size: int, channels: int) -> keras.KerasTensor:
    """Residual blocks of enlarging and convolution up to a half or a quarter of the side, then sub-pixels."""
    base, scale = recipe.base_size, recipe.final_scale
    x = layers.Dense(base * base * recipe.base_channels, name="base")(latent)
    x = layers.Reshape((base, base, recipe.base_channels), name="to_map")(x)
    for i in range(int(math.log2(image_size // (base * scale)))):
        x = _residual_block(x, latent, _width(recipe, i), f"generator_{i}")
    x = _norm_act(SpatialBias(name="to_image_canvas")(x), "to_image")
    initializer = DepthToSpaceInitializer(scale)
    x = layers.Conv2D(
        scale * scale * channels, 3, padding="same", kernel_initializer=initializer, name="to_sub_pixels"
    )(x)
    return DepthToSpace(scale, name="to_image")(x)


def _residual_block(x: keras.KerasTensor, latent: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    """Twice the side: what is there is enlarged, and what the latent vector picks of a learnt scenery added."""
    around = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_around")(x)
    around = layers.UpSampling2D(interpolation="bilinear", name=f"{name}_around_up")(around)
    x = layers.UpSampling2D(interpolation="nearest", name=f"{name}_up")(_norm_act(x, f"{name}_a"))
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_a")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_b_norm")(SpatialBias(name=f"{name}_canvas")(x))
    gain = layers.Reshape((1, 1, width), name=f"{name}_gain_map")(
        layers.Dense(width, bias_initializer="ones", name=f"{name}_gain")(latent)
    )
    x = layers.LeakyReLU(SLOPE, name=f"{name}_b_act")(layers.Multiply(name=f"{name}_picked")([x, gain]))
    x = layers.Conv2D(width, 3, padding="same", name=f"{name}_b")(x)
    return layers.Add(name=f"{name}_sum")([x, around])
