"""The base class of encoders."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import UsageError
from keras_a2i.models.network_part import NetworkPart

INPUT_KINDS = ("features", "waveform")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder(NetworkPart):
    """Maps features (batch, n_features) or a waveform (batch, n_samples) to a latent vector (batch, latent_dim)."""

    @property
    def input_kind(self) -> str:
        """The input of the encoder: "features" or "waveform"."""
        return "waveform"

    @property
    def ensemble(self) -> int:
        """Number of encoders side by side whose latent vectors are concatenated."""
        return 1

    def connect(
        self,
        x: keras.KerasTensor,
        features: FeatureConfig,
        normalization: tuple[np.ndarray, np.ndarray] | None = None,
        name: str = "latent",
    ) -> keras.KerasTensor:
        """Builds the layers and connects them to an input.

        Args:
            x: the input, features (batch, n_features) or a waveform (batch, n_samples) in [-1, 1].
            features: the audio or embedding that the input holds.
            normalization: mean and variance of the training features, each (n_features,); None leaves them unscaled.
            name: name of the last layer.

        Returns:
            The latent vector (batch, latent_dim).
        """
        raise NotImplementedError


def check_normalization(normalization: Any, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a mean and a variance of shape (n_features,), 0 and 1 for None; a variance of 0 becomes 1.

    Raises:
        UsageError: if a shape differs or a value is out of range.
    """
    if normalization is None:
        return np.zeros(n_features), np.ones(n_features)
    mean, variance = (np.asarray(part, dtype=np.float64) for part in normalization)
    if mean.shape != (n_features,) or variance.shape != (n_features,):
        raise UsageError(
            f"normalization must be a mean and a variance of shape ({n_features},) each. "
            f"Received: {mean.shape} and {variance.shape}"
        )
    if not (np.isfinite(mean).all() and np.isfinite(variance).all() and (variance >= 0).all()):
        raise UsageError(
            "normalization must be finite, with a variance of at least 0. Received: other values. "
            "Compute it over finite features"
        )
    # A feature that is constant in training carries no information: unscaled, later values stay finite.
    return mean, np.where(variance > 0, variance, 1.0)
