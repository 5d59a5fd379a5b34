"""The encoder of short audio events: words, knocks, barks."""

import dataclasses
import math
from typing import Any, Self

import keras
import numpy as np
from keras import layers

from keras_a2i.config import FeatureConfig, number, whole, wholes
from keras_a2i.features.mel import hertz_to_mel, mel_to_hertz
from keras_a2i.layers import CepstralNormalization, FrameAugmentation, TimeAlign
from keras_a2i.models.encoder import Encoder
from keras_a2i.models.log_mel_convolutions import convolve, log_mel, to_latent
from keras_a2i.models.network_part import scale_width

_FRAMES = 48
_BANDS, _MORE_BANDS = 40, 53
_F_MIN, _F_MAX = 60.0, 4_000.0
"""Edges of the 40 bands in Hz. More bands continue them at the same distance in mel, up to 7.7 kHz."""


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class WordEncoder(Encoder):
    """Convolutions over log-mel frames, which are trimmed to the event and stretched to a common length.

    Frames of 25 ms are standardised by the statistics of the clip, which reduces differences between speakers and
    microphones; in training, time and frequency are warped and masked. The latent vector is computed from the mean and
    the maximum over time of the convolutions' outputs. The encoders of an ensemble differ in two ways. Every second
    encoder trims at a lower level and gives high frequencies more weight: this keeps soft beginnings and ends of words,
    such as an s, which the others trim off. Of four encoders, the first and the last receive frequencies up to 4 kHz,
    the second and the third up to 7.7 kHz or half the sample rate, because high overtones distinguish some sounds and
    are misleading for others.

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
    ensemble: int = whole(2)  # type: ignore[assignment]
    dropout: float = number(0.15, 0, 1, below=True)

    def connect(
        self,
        x: keras.KerasTensor,
        features: FeatureConfig,
        normalization: tuple[np.ndarray, np.ndarray] | None = None,
        name: str = "latent",
    ) -> keras.KerasTensor:
        rate, latents = features.sample_rate, []
        more = max(_BANDS, min(_MORE_BANDS, _bands_below(rate / 2))) if self.ensemble > 1 else _BANDS
        frames = log_mel(rate, 0.025, 0.010, more, _F_MIN, _edge(more))(x)
        for i in range(self.ensemble):
            end = f"_{chr(ord('a') + i)}" if i else ""
            quiet_db, tilt_db = (40.0, 12.0) if i % 2 else (30.0, 0.0)
            n_bands = more if i % 4 in (1, 2) else _BANDS
            trim: dict[str, Any] = {"quiet_db": quiet_db, "tilt_db": tilt_db, "n_bands": n_bands}
            y = TimeAlign(_FRAMES, **trim, jitter=0.08, warp=0.1, name=f"aligned{end}")(frames)
            masks = {"time_mask": 5, "band_mask": 5}
            f_max = min(_edge(n_bands), rate / 2)
            y = FrameAugmentation(f_min=_F_MIN, f_max=f_max, **masks, noise_snr_db=10.0, name=f"augmented{end}")(y)
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


def _edge(n_bands: int) -> float:
    """The upper edge of the last of some bands in Hz."""
    return float(mel_to_hertz(hertz_to_mel(_F_MIN) + _band_distance() * (n_bands + 1)))


def _bands_below(frequency: float) -> int:
    """The number of bands whose upper edges lie at or below a frequency in Hz."""
    return math.floor((hertz_to_mel(frequency) - hertz_to_mel(_F_MIN)) / _band_distance()) - 1


def _band_distance() -> float:
    """The distance of the bands in mel."""
    return float(hertz_to_mel(_F_MAX) - hertz_to_mel(_F_MIN)) / (_BANDS + 1)
