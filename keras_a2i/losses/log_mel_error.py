"""The loss of networks that predict log-mel spectrograms of audio."""

from typing import Any

import keras
from keras import ops

from keras_a2i.layers.log_mel import LogMel

FLOOR = -5.0
"""Lowest log-mel value of a target: about 90 dB below a full-scale sine."""
_LOUDEST = 12.0


@keras.saving.register_keras_serializable(package="keras_a2i")
class LogMelError(keras.losses.Loss):
    """Mean absolute error of a log-mel spectrogram, plus the spectral convergence of its magnitudes.

    The first term gives quiet and loud parts the same weight, the second gives loud parts more weight. Targets below
    -5, which are inaudible beside audio of usual loudness, are set to -5.

    Args:
        sample_rate: Hz of the waveforms.
        convergence_weight: weight of the spectral convergence: the norm of the difference of the mel magnitudes over
            the norm of the true ones.
        reduction: as in Keras.
        name: as in Keras.
        dtype: as in Keras; None is float32.

    Call with waveforms (batch, n_samples) in [-1, 1] and predictions (batch, n_frames, n_mels) of
    `LogMel.for_inversion(sample_rate)`.

    Reference:
        Arık, Jun and Diamos, "Fast spectrogram inversion using multi-head convolutional neural networks", 2018, for
        the spectral convergence.

    Example:
        >>> loss, audio = LogMelError(8000), keras.random.normal((2, 8000))
        >>> float(loss(audio, LogMel.for_inversion(8000)(audio))) < 1e-4
        True
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        convergence_weight: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "log_mel_error",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype or "float32")
        self.sample_rate, self.convergence_weight = sample_rate, convergence_weight
        self._log_mel = LogMel.for_inversion(sample_rate)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the error of every pair, float32 (batch,)."""
        true, predicted = ops.maximum(self._log_mel(y_true), FLOOR), ops.cast(y_pred, "float32")
        error = ops.mean(ops.abs(true - predicted), axis=(1, 2))
        magnitudes, own = ops.exp(true), ops.exp(ops.minimum(predicted, _LOUDEST))
        convergence = _norm(magnitudes - own) / _norm(magnitudes)
        return error + self.convergence_weight * convergence

    def get_config(self) -> dict[str, Any]:
        own = {"sample_rate": self.sample_rate, "convergence_weight": self.convergence_weight}
        return super().get_config() | own


def _norm(x: Any) -> Any:
    # The gradient of a square root is infinite at 0.
    return ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=(1, 2)), 1e-12))
