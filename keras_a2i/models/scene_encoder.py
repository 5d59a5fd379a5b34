"""The encoder of ambient audio: continuous scenes, whose level and moment are encoded."""

import dataclasses
from typing import Self

import keras
import numpy as np
from keras import layers

from keras_a2i.config import FeatureConfig, number, whole, wholes
from keras_a2i.models.encoder import Encoder
from keras_a2i.models.log_mel_convolutions import convolve, log_mel, standardise, to_latent
from keras_a2i.models.network_part import scale_width

_BANDS = 64


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneEncoder(Encoder):
    """Convolutions over log-mel frames whose bands are standardised over the training set, so that the level is
    encoded.

    Frames are 50 ms long; their values are clipped to +-`feature_clip`. The latent vector is computed from the mean and
    the maximum over time of the convolutions' outputs, and from the mean spectrum.

    Args:
        channels: outputs of the five convolutions.
        latent_dim: length of the latent vector.
        feature_clip: bound of the standardised bands; without it, silence, which is far outside the training data,
            could produce any image. 0 disables it.
        feature_noise: standard deviation of the noise added to the bands in training.
        dropout: share of the pooled features dropped in training, 0 up to below 1.

    Raises:
        ConfigError: if an argument is out of range.
    """

    channels: tuple[int, ...] = wholes((24, 48, 96, 96, 128), length=5)
    latent_dim: int = whole(128)
    feature_clip: float = number(4.0, 0, 1e6)
    feature_noise: float = number(0.05, 0, 1e6)
    dropout: float = number(0.0, 0, 1, below=True)

    def connect(
        self,
        x: keras.KerasTensor,
        features: FeatureConfig,
        normalization: tuple[np.ndarray, np.ndarray] | None = None,
        name: str = "latent",
    ) -> keras.KerasTensor:
        mel = log_mel(features.sample_rate, 0.050, 0.025, _BANDS, 40.0, features.sample_rate / 2)
        x = standardise(mel(x), self.feature_clip, self.feature_noise)
        spectrum = layers.GlobalAveragePooling1D(name="encoder_spectrum")(x)
        x = layers.Reshape((*x.shape[1:], 1), name="encoder_map")(x)
        pooled = [*convolve(x, self.channels, self.dropout), spectrum]
        return to_latent(pooled, self.channels[4], self.latent_dim, self.dropout, name)

    def _scaled(self, size: str) -> Self:
        return dataclasses.replace(
            self,
            channels=tuple(scale_width(width, size) for width in self.channels),
            latent_dim=scale_width(self.latent_dim, size),
        )
