"""The encoder of ambient audio that returns one vector for each frame."""

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

_BANDS = 64
_HOP, _MAX_FRAMES = 0.025, 80


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameEncoder(Encoder):
    """Computes one vector for each log-mel frame, from the frame and its neighbours only.

    Frames are 50 ms long and overlap by half; in clips of more than 2 seconds they are longer, so that there are at
    most 80.

    Nothing is pooled over time: in a mixture of two recordings, the vector of each frame can state which recordings the
    frame contains, and the share of each. Convolutions over frequency and three frames halve the number of bands; then
    one convolution over time computes the vectors. Bands are standardised over the training set, so that the level is
    encoded, and clipped to +-`feature_clip`.

    Args:
        channels: outputs of the three convolutions over frequency and time.
        units: outputs of the convolution over time.
        latent_dim: length of the vector of a frame. The latent vector consists of the vectors of all frames, one after
            the other.
        feature_clip: bound of the standardised bands; 0 disables it.
        feature_noise: standard deviation of the noise added to the bands in training.
        dropout: share of the features of a frame dropped in training, 0 up to below 1.

    Raises:
        ConfigError: if an argument is out of range.
    """

    channels: tuple[int, ...] = wholes((32, 48, 64), length=3)
    units: int = whole(128)
    latent_dim: int = whole(64)
    feature_clip: float = number(4.0, 0, 1e6)
    feature_noise: float = number(0.2, 0, 1e6)
    dropout: float = number(0.3, 0, 1, below=True)

    def connect(
        self,
        x: keras.KerasTensor,
        features: FeatureConfig,
        normalization: tuple[np.ndarray, np.ndarray] | None = None,
        name: str = "latent",
    ) -> keras.KerasTensor:
        hop = max(_HOP, features.n_samples / features.sample_rate / _MAX_FRAMES)
        mel = log_mel(features.sample_rate, 2 * hop, hop, _BANDS, 40.0, features.sample_rate / 2)
        x = standardise(mel(x), self.feature_clip, self.feature_noise)
        x = layers.Reshape((*x.shape[1:], 1), name="encoder_map")(x)
        for i, width in enumerate(self.channels):
            x = layers.Conv2D(width, 3, (1, 2), "same", use_bias=False, name=f"encoder_{i}")(x)
            x = BatchNormalization(momentum=0.9, name=f"encoder_{i}_norm")(x)
            x = layers.ReLU(name=f"encoder_{i}_act")(x)
        x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="encoder_frames")(x)
        x = layers.Dropout(self.dropout, name="encoder_frames_dropout")(x)
        x = layers.Conv1D(self.units, 3, padding="same", use_bias=False, name="encoder_3")(x)
        x = layers.BatchNormalization(momentum=0.9, name="encoder_3_norm")(x)
        x = layers.ReLU(name="encoder_3_act")(x)
        x = layers.Dropout(self.dropout, name="encoder_3_dropout")(x)
        x = layers.Dense(self.latent_dim, name="encoder_4")(x)
        return layers.Reshape((x.shape[1] * x.shape[2],), name=name)(x)

    def _scaled(self, size: str) -> Self:
        # The length of a frame's vector is the generator's query_dim too.
        return dataclasses.replace(
            self,
            channels=tuple(scale_width(width, size) for width in self.channels),
            units=scale_width(self.units, size),
        )
