"""The encoder of short audio events: words, knocks, barks."""

import dataclasses
from typing import Self

import keras
import numpy as np
from keras import layers

from keras_a2i.config import FeatureConfig, number, whole, wholes
from keras_a2i.layers import CepstralNormalization, FrameAugmentation, TimeAlign
from keras_a2i.models.encoder import Encoder
from keras_a2i.models.log_mel_convolutions import convolve, log_mel, to_latent
from keras_a2i.models.network_part import scale_width

_BANDS, _FRAMES = 40, 48


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class WordEncoder(Encoder):
    """Convolutions over log-mel frames that are trimmed to the event and stretched to a common length.

    Frames of 25 ms are standardised by the statistics of the clip, which reduces differences between speakers and
    microphones; in training, time and frequency are warped and masked. The mean and the maximum over time of the
    convolutions lead to the latent vector. In an ensemble, every second encoder trims at a lower level and weighs high
    frequencies more: this keeps soft beginnings and ends of words, such as an s, that the others trim off.

    Args:
        channels: outputs of the five convolutions.
        latent_dim: length of the latent vector of one encoder.
        ensemble: number of encoders; their latent vectors are concatenated.
        dropout: share of the pooled features dropped in training, 0 up to below 1.

    Raises:
        ConfigError: if an argument is out of range.
    """

    channels: tuple[int, ...] = wholes((24, 48, 96, 96, 128), length=5)
    latent_dim: int = whole(64)
    ensemble: int = whole(4)  # type: ignore[assignment]
    dropout: float = number(0.3, 0, 1, below=True)

    def connect(
        self,
        x: keras.KerasTensor,
        features: FeatureConfig,
        normalization: tuple[np.ndarray, np.ndarray] | None = None,
        name: str = "latent",
    ) -> keras.KerasTensor:
        mel = log_mel(features.sample_rate, 0.025, 0.010, _BANDS, 60.0, 4_000.0)
        frames, latents = mel(x), []
        for i in range(self.ensemble):
            end = f"_{chr(ord('a') + i)}" if i else ""
            quiet_db, tilt_db = (40.0, 12.0) if i % 2 else (30.0, 0.0)
            align = TimeAlign(_FRAMES, quiet_db=quiet_db, tilt_db=tilt_db, jitter=0.08, warp=0.1, name=f"aligned{end}")
            y = align(frames)
            y = FrameAugmentation(f_min=mel.f_min, f_max=mel.f_max, noise_snr_db=5.0, name=f"augmented{end}")(y)
            y = CepstralNormalization(name=f"standardised{end}")(y)
            prefix = f"encoder{end}"
            last = name if self.ensemble == 1 else f"{prefix}_{name}"
            pooled = convolve(y, self.channels, self.dropout, prefix)
            latents.append(to_latent(pooled, self.channels[4], self.latent_dim, self.dropout, last, prefix))
        return layers.Concatenate(name=name)(latents) if self.ensemble > 1 else latents[0]

    def _scaled(self, size: str) -> Self:
        return dataclasses.replace(
            self,
            channels=tuple(scale_width(width, size) for width in self.channels),
            latent_dim=scale_width(self.latent_dim, size),
            ensemble=max(1, self.ensemble // 2) if size == "tiny" else self.ensemble,
        )
