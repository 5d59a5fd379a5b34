"""Sound to mel-frequency cepstral coefficients as a Keras layer."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError
from keras_a2i.features.mel import cepstral_matrix
from keras_a2i.layers.log_mel import LogMel, safe_log


@keras.saving.register_keras_serializable("keras_a2i")
class MFCC(LogMel):
    """Mel-frequency cepstral coefficients of sound, equal to those of a reference.

    Args:
        sample_rate: of the sound, Hz.
        n_mfcc: coefficients a frame, at most `n_mels`; None takes the convention's: 13, 13, 20.
        convention: "psf" (python_speech_features' `mfcc` on 16-bit samples, to 1e-3; what records hold), "htk"
            (tf.signal, to 1e-5) or "librosa" (`librosa.feature.mfcc`, to 1e-3).
        lifter: length of the sine lifter, 0 for none; None takes 22 for "psf", 0 for the others.
        **kwargs: the other arguments of `LogMel`.

    Call with float (batch, n_samples) in [-1, 1]. Returns float32 (batch, n_frames, n_mfcc).

    Raises:
        ConfigError: as `LogMel`, or if `n_mfcc` or `lifter` is out of range.

    Example:
        >>> MFCC(16_000)(np.zeros((2, 16_000), "float32")).shape
        TensorShape([2, 8, 13])
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        *,
        n_mfcc: int | None = None,
        convention: str = "psf",
        lifter: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(sample_rate, convention=convention, **kwargs)
        self.n_mfcc = self._known.n_mfcc if n_mfcc is None else int(n_mfcc)
        self.lifter = self._known.lifter if lifter is None else int(lifter)
        if not (1 <= self.n_mfcc <= self.n_mels and self.lifter >= 0):
            raise ConfigError(
                "n_mfcc must lie between 1 and n_mels, and lifter be 0 or more. "
                f"Received: n_mfcc={self.n_mfcc}, n_mels={self.n_mels}, lifter={self.lifter}"
            )

    @classmethod
    def from_features(cls, config: FeatureConfig, **kwargs: Any) -> Self:
        """The layer that gives the features of a configuration as records hold them ("psf")."""
        return super().from_features(config, n_mfcc=config.n_mfcc, lifter=config.lifter, **kwargs)

    def call(self, waveform: Any) -> Any:
        power = self._power(waveform)
        log_mel = self._log_mel(power)
        if self.convention == "psf":
            energy = safe_log(ops.sum(power, axis=-1, keepdims=True))
            return ops.concatenate([energy, self._cepstra(log_mel)[..., 1:]], axis=-1)
        # Apart from the mean, the numbers that are summed up are small: silence keeps three more digits.
        mean = ops.mean(log_mel, axis=-1, keepdims=True)
        return self._cepstra(log_mel - mean) + mean * self._matrix().sum(axis=0).astype(np.float32)

    def _cepstra(self, log_mel: Any) -> Any:
        return ops.matmul(log_mel, ops.convert_to_tensor(self._matrix().astype(np.float32)))

    def _matrix(self) -> np.ndarray:
        return cepstral_matrix(
            self.n_mels,
            self.n_mfcc,
            self.lifter,
            orthonormal=self.convention != "htk",
            lifter_from=1 if self.convention == "librosa" else 0,
        )

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return *super().compute_output_shape(input_shape)[:2], self.n_mfcc

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"n_mfcc": self.n_mfcc, "lifter": self.lifter}
