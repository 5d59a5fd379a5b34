"""Frames without what belongs to the speaker and the microphone rather than to what is said."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_a2i")
class CepstralNormalization(keras.layers.Layer):
    """Two views of log-mel frames, each standardised by the sound's own statistics.

    The first keeps the shape of the spectrum: mean 0 and deviation 1 over the whole sound. The second is what changes:
    mean 0 and deviation about 1 of each band over time (as cepstral mean and variance normalisation, in bands).

    Args:
        **kwargs: name of the layer.

    Call with float32 (batch, frames, bands). Returns float32 (batch, frames, bands, 2).
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**(kwargs | {"dtype": "float32", "trainable": False}))

    def call(self, frames: Any) -> Any:
        shape = _standardised(frames, (1, 2), 0.1)
        change = _standardised(frames, (1,), 0.5)
        return ops.stack([shape, change], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return *input_shape, 2


def _standardised(frames: Any, axes: tuple[int, ...], least: float) -> Any:
    centred = frames - ops.mean(frames, axis=axes, keepdims=True)
    # Silence has no deviation, and a root no gradient there.
    deviation = ops.sqrt(ops.mean(ops.square(centred), axis=axes, keepdims=True) + 1e-6)
    return centred / (deviation + least)
