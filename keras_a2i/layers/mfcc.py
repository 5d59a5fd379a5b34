"""Mel-frequency cepstral coefficients of a waveform as a Keras layer."""

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
    """Mel-frequency cepstral coefficients of a waveform, equal to those of a reference library.

    Args:
        sample_rate: sample rate of the waveform in Hz.
        n_mfcc: coefficients per frame, at most `n_mels`; None is 13.
        convention: "psf" (python_speech_features' `mfcc` on 16-bit samples, to 1e-3; the features of records) or "htk"
            (tf.signal, to 1e-5).
        lifter: length of the sine lifter, 0 for none; None is 22 for "psf", 0 for "htk".
        **kwargs: the other arguments of `LogMel`.

    Call with float (batch, n_samples) in [-1, 1]. Returns (batch, n_frames, n_mfcc).

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
        """Returns the layer that computes the features of records with that configuration ("psf")."""
        return super().from_features(config, n_mfcc=config.n_mfcc, lifter=config.lifter, **kwargs)

    def call(self, waveform: Any) -> Any:
        spectrum = self._spectrum(waveform)
        log_mel = self._log_mel(spectrum)
        matrix = cepstral_matrix(self.n_mels, self.n_mfcc, self.lifter, orthonormal=self.convention == "psf")
        cepstra = ops.convert_to_tensor(matrix.astype(np.float32))
        if self.convention == "psf":
            energy = safe_log(ops.sum(spectrum, axis=-1, keepdims=True))
            found = ops.concatenate([energy, ops.matmul(log_mel, cepstra)[..., 1:]], axis=-1)
        else:
            # Without their mean, the summands are small: silence keeps three more digits.
            mean = ops.mean(log_mel, axis=-1, keepdims=True)
            sums = ops.convert_to_tensor(matrix.sum(axis=0).astype(np.float32))
            found = ops.matmul(log_mel - mean, cepstra) + mean * sums
        return ops.cast(found, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return *super().compute_output_shape(input_shape)[:2], self.n_mfcc

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"n_mfcc": self.n_mfcc, "lifter": self.lifter}
