"""Cepstral mean and variance normalization of log-mel frames."""

from typing import Any

import keras
from keras import ops

from keras_a2i.layers.pcen import PCEN


@keras.saving.register_keras_serializable("keras_a2i")
class CepstralNormalization(keras.layers.Layer):
    """Returns log-mel frames in three normalizations by the statistics of the clip, which reduce the effect of speaker
    and microphone.

    The first keeps the shape of the spectrum: mean 0 and standard deviation 1 over the whole clip. The second keeps the
    changes: mean 0 and standard deviation about 1 of every band over time. The third is the `PCEN` of the frames, with
    mean 0 and standard deviation about 1 over the whole clip.

    Args:
        dtype: dtype or policy of the output. The layer computes in float32, which is the default whatever the global
            policy is.
        **kwargs: other arguments of a Keras layer.

    Call with natural logarithms of power, float (batch, frames, bands), the number of frames known. Returns (batch,
    frames, bands, 3).

    Reference:
        Viikki and Laurila, "Cepstral domain segmental feature vector normalization for noise robust speech
        recognition", 1998; here on mel bands.
    """

    def __init__(self, *, dtype: Any = "float32", **kwargs: Any):
        super().__init__(dtype=dtype or "float32", **({"autocast": False} | kwargs))
        self._energy = PCEN(dtype="float32")

    def build(self, input_shape: tuple) -> None:
        self._energy.build(input_shape)
        super().build(input_shape)

    def call(self, frames: Any) -> Any:
        frames = ops.cast(frames, "float32")
        shape = _normalized(frames, (1, 2), 0.1)
        change = _normalized(frames, (1,), 0.5)
        energy = _normalized(self._energy(frames), (1, 2), 0.01)
        return ops.cast(ops.stack([shape, change, energy], axis=-1), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return *input_shape, 3


def _normalized(frames: Any, axes: tuple[int, ...], floor: float) -> Any:
    centred = frames - ops.mean(frames, axis=axes, keepdims=True)
    # Silence has no deviation, where the gradient of a square root is infinite.
    deviation = ops.sqrt(ops.mean(ops.square(centred), axis=axes, keepdims=True) + 1e-6)
    return centred / (deviation + floor)
