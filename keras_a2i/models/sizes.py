"""Tiny, base and large: one preset in three widths."""

import dataclasses

from keras_a2i.errors import UsageError
from keras_a2i.models.preset import Preset

SIZES = {"tiny": 0.375, "base": 1.0, "large": 2.0}
"""Factor of the widths. Up to 256 pixels: at most 0.5 and 3 million parameters; large is three times base or more."""
_MULTIPLE = 4


def resize(preset: Preset, size: str) -> Preset:
    """The same network with fewer or more channels a layer, and half of an ensemble's encoders in tiny; depth and
    recipe stay.

    Args:
        preset: of any size.
        size: one of `SIZES`.

    Raises:
        UsageError: if there is no such size, or the preset is the paper's network.
    """
    if size not in SIZES:
        raise UsageError(f"The size of a model must be one of {list(SIZES)}. Received: {size!r}")
    if size == preset.size:
        return preset
    if not preset.base_channels:
        raise UsageError(
            f"The paper's network has one size. Received: the preset {preset.name!r} and the size {size!r}"
        )
    factor = SIZES[size] / SIZES[preset.size]

    def scaled(width: int) -> int:
        return max(_MULTIPLE, round(width * factor / _MULTIPLE) * _MULTIPLE)

    return dataclasses.replace(
        preset,
        size=size,
        encoder_units=tuple(map(scaled, preset.encoder_units)),
        base_channels=scaled(preset.base_channels),
        generator_channels=tuple(map(scaled, preset.generator_channels)),
        ensemble=max(1, preset.ensemble // 2) if size == "tiny" else preset.ensemble,
    )
