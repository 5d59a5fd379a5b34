"""What an objective is, and what it is given of a training step."""

import dataclasses
from typing import Any

import keras


@dataclasses.dataclass
class Step:
    """One training step as the objectives see it; tensors of `batch` pairs.

    Attributes:
        images: real pictures, float32 (batch, size, size, channels) in [-1, 1].
        labels: int32 (batch,), or None where the data set gives none.
        content: what the encoder made of the sound, (batch, n).
        generated: pictures of the sounds, as `images`; where there is a style, with the one read off the real picture.
        sampled: pictures of the sounds with a style that was drawn; `generated` itself where there is none.
        style: mean and log variance of the style read off the real pictures, or None.
        progress: share of the training that is done, a scalar from 0 to 1.
    """

    images: Any
    labels: Any
    content: Any
    generated: Any
    sampled: Any
    style: Any
    progress: Any


class Objective(keras.layers.Layer):
    """One thing that a training aims at, with what it has to learn itself.

    Args:
        weight: factor of its loss, above 0.
        name: under which its loss is reported.
    """

    def __init__(self, weight: float, name: str):
        super().__init__(name=name)
        self.weight = weight
        # Whatever it learns is built by its constructor.
        self.built = True

    def loss(self, step: Step) -> Any:
        """The loss of one step before its weight, a scalar."""
        raise NotImplementedError

    def ramp(self, progress: Any) -> Any:
        """Factor of the weight at a moment of the training, 0 to 1."""
        return 1.0
