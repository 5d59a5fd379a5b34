"""Tiny, base and large: one recipe in three widths."""

import dataclasses

from keras_a2i.errors import UsageError
from keras_a2i.models.recipe import Recipe

SIZES = {"tiny": 0.375, "base": 1.0, "large": 2.0}
"""Factor of the widths. Up to 256 pixels: at most 0.5 and 3 million parameters; large is three times base or more."""
_MULTIPLE = 4


def resize(recipe: Recipe, size: str) -> Recipe:
    """The same network with fewer or more channels a layer, and half of an ensemble's encoders in tiny; depth and
    recipe stay.

    Args:
        recipe: of any size.
        size: one of `SIZES`.

    Raises:
        UsageError: if there is no such size, or the recipe is the paper's network.
    """
    if size not in SIZES:
        raise UsageError(f"The size of a model must be one of {list(SIZES)}. Received: {size!r}")
    if size == recipe.size:
        return recipe
    if not recipe.base_channels:
        raise UsageError(
            f"The paper's network has one size. Received: the recipe {recipe.name!r} and the size {size!r}"
        )
    factor = SIZES[size] / SIZES[recipe.size]

    def scaled(width: int) -> int:
        return max(_MULTIPLE, round(width * factor / _MULTIPLE) * _MULTIPLE)

    return dataclasses.replace(
        recipe,
        size=size,
        encoder_units=tuple(map(scaled, recipe.encoder_units)),
        base_channels=scaled(recipe.base_channels),
        generator_channels=tuple(map(scaled, recipe.generator_channels)),
        ensemble=max(1, recipe.ensemble // 2) if size == "tiny" else recipe.ensemble,
    )
