"""Styles: what is drawn at random to generate several images per clip. Needs no Keras."""

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


def draw_styles(style_units: int, n: int, temperature: float, seed: int) -> np.ndarray:
    """Draws `n` styles, float32 (n, style_units), from a normal distribution of standard deviation `temperature`.

    Raises:
        UsageError: if there are no style units, or an argument is out of range.
    """
    check_sampling(style_units, n, temperature)
    return (temperature * np.random.default_rng(seed).standard_normal((n, style_units))).astype(np.float32)
