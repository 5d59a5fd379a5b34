"""The encoder of a moment of speech: the middle of a clip, with some context before and after it."""

import dataclasses
from typing import Self

import keras
import numpy as np
from keras import layers

from keras_a2i.config import FeatureConfig, number, whole, wholes
from keras_a2i.layers import BatchNormalization
from keras_a2i.models.encoder import Encoder
from keras_a2i.models.log_mel_convolutions import log_mel, standardise
from keras_a2i.models.network_part import scale_width

_BANDS = 48
_FRAME, _HOP = 0.025, 0.010
_F_MIN, _F_MAX = 60.0, 5_000.0
_CLIP = 4.0


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeechEncoder(Encoder):
    """Convolutions over the log-mel frames around the middle of the clip, which keep the order of the frames.

    Frames of 25 ms are standardised by the statistics of the training set, so that the level is encoded, and clipped to
    +-4. Nothing is averaged over time, because the image of a mouth belongs to the middle of its clip.

    Args:
        channels: outputs of the three convolutions.
        latent_dim: length of the latent vector.
        context: seconds around the middle of the clip that are used, above 0; a shorter clip is used as a whole.
        feature_noise: standard deviation of the noise added to the bands in training.
        dropout: share of the convolutions' outputs dropped in training, 0 up to below 1.

    Raises:
        ConfigError: if an argument is out of range.
    """

    channels: tuple[int, ...] = wholes((24, 32, 32), length=3)
    latent_dim: int = whole(64)
    context: float = number(0.4, 0, 60, above=True)
    feature_noise: float = number(0.1, 0, 1e6)
    dropout: float = number(0.1, 0, 1, below=True)

    def connect(
        self,
        x: keras.KerasTensor,
        features: FeatureConfig,
        normalization: tuple[np.ndarray, np.ndarray] | None = None,
        name: str = "latent",
    ) -> keras.KerasTensor:
        x = log_mel(features.sample_rate, _FRAME, _HOP, _BANDS, _F_MIN, _F_MAX)(x)
        beside = max(0, x.shape[1] - max(1, round(self.context / _HOP)))
        if beside:
            x = layers.Cropping1D((beside // 2, beside - beside // 2), name="middle")(x)
        x = standardise(x, _CLIP, self.feature_noise)
        x = layers.Reshape((*x.shape[1:], 1), name="encoder_map")(x)
        for i, (width, strides) in enumerate(zip(self.channels, ((1, 2), (2, 2), (2, 2)), strict=True)):
            x = layers.Conv2D(width, 3, strides, "same", use_bias=False, name=f"encoder_{i}")(x)
            x = BatchNormalization(momentum=0.9, name=f"encoder_{i}_norm")(x)
            x = layers.ReLU(name=f"encoder_{i}_act")(x)
        x = layers.Flatten(data_format="channels_last", name="encoder_flat")(x)
        x = layers.Dropout(self.dropout, name="encoder_dropout")(x)
        x = layers.Dense(2 * self.latent_dim, "relu", name="encoder_3")(x)
        return layers.Dense(self.latent_dim, name=name)(x)

    def _scaled(self, size: str) -> Self:
        return dataclasses.replace(
            self,
            channels=tuple(scale_width(width, size) for width in self.channels),
            latent_dim=scale_width(self.latent_dim, size),
        )
