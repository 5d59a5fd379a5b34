"""Initial values and the slope of the paper's network."""

import math

import keras

SLOPE = 0.2
"""Slope of every leaky ReLU below 0."""


def torch_init(fan_in: int) -> dict[str, keras.initializers.Initializer]:
    """Uniform in +-1/sqrt(fan_in), as PyTorch, whose transposed convolutions count outputs x kernel as fan-in."""
    limit = 1 / math.sqrt(fan_in)
    return {
        "kernel_initializer": keras.initializers.RandomUniform(-limit, limit),
        "bias_initializer": keras.initializers.RandomUniform(-limit, limit),
    }
