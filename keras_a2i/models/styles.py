"""Styles: random vectors by which several images are generated per clip. Needs no Keras."""

from typing import Any

import numpy as np

from keras_a2i.errors import UsageError

MAX_TEMPERATURE = 4.0


def check_sampling(style_units: int, n: int, temperature: float) -> None:
    """Raises a UsageError unless a model with that style can generate `n` samples at that temperature."""
    if not style_units:
        raise UsageError(
            "samples need a model with a style, such as the recipes exemplars and words-adversarial train. "
            "Received: a model without one"
        )
    if n < 1 or not 0 <= temperature <= MAX_TEMPERATURE:
        raise UsageError(
            f"samples must be 1 or more, and temperature between 0 and {MAX_TEMPERATURE:g}. "
            f"Received: samples={n}, temperature={temperature}"
        )


def check_noise_sampling(n: int, temperature: float) -> None:
    """Raises a UsageError unless a model that generates from noise can generate `n` samples at that temperature."""
    if n < 1 or temperature != 1:
        raise UsageError(
            "samples must be 1 or more, and temperature 1 for a model that generates from noise, the scale that "
            f"it was trained with. Received: samples={n}, {temperature=}"
        )


def check_styles(styles: Any, style_units: int, n: int) -> np.ndarray:
    """Returns styles as float32 (n, style_units).

    Args:
        styles: finite, (n, style_units), or (style_units,) for one style of all images.
        style_units: length of a style.
        n: number of images.

    Raises:
        UsageError: if they have another shape or aren't finite.
    """
    styles = np.asarray(styles, np.float32)
    if styles.shape not in ((n, style_units), (style_units,)) or not np.isfinite(styles).all():
        raise UsageError(
            f"styles must be finite, ({n}, {style_units}) for a style of every image, or ({style_units},) for one of "
            f"all. Received: shape {styles.shape}"
        )
    return np.broadcast_to(styles, (n, style_units))


def draw_styles(style_units: int, n: int, temperature: float, seed: int) -> np.ndarray:
    """Draws `n` styles, float32 (n, style_units), from a normal distribution of standard deviation `temperature`.

    Raises:
        UsageError: if there are no style units, or an argument is out of range.
    """
    check_sampling(style_units, n, temperature)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError(f"seed must be a whole number from 0. Received: seed={seed!r}")
    return (temperature * np.random.default_rng(seed).standard_normal((n, style_units))).astype(np.float32)
