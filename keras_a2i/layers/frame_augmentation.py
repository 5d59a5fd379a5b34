"""Log-mel frames changed a little in training: another vocal tract, masks in time and frequency."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.errors import ConfigError
from keras_a2i.layers.time_align import interpolate

_SNR_RANGE_DB = 35.0
_TILT, _TILT_KNOTS = 1.5, 4


@keras.saving.register_keras_serializable("keras_a2i")
class FrameAugmentation(keras.layers.Layer):
    """Changes mel frames in training and passes them on as they are otherwise.

    Args:
        f_min, f_max: Hz that the first and last mel band begin and end at (HTK's scale).
        warp: all frequencies scaled by up to exp(+-warp), as of a longer or shorter vocal tract.
        time_mask: up to so many frames set to the sound's mean.
        band_mask: up to so many bands set to the sound's mean.
        noise_snr_db: noise of a spectrum drawn at random, between so many dB and 35 dB more below the sound; None adds
            none. The frames must then be logarithms of power.
        seed: of the random numbers.
        **kwargs: name of the layer.

    Call with float32 (batch, frames, bands); the same comes out.

    Raises:
        ConfigError: if an argument is out of range.

    Reference:
        Jaitly and Hinton, "Vocal tract length perturbation", 2013; Park et al., "SpecAugment", arXiv:1904.08779.
    """

    def __init__(
        self,
        *,
        f_min: float,
        f_max: float,
        warp: float = 0.15,
        time_mask: int = 8,
        band_mask: int = 8,
        noise_snr_db: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**(kwargs | {"dtype": "float32", "trainable": False}))
        if not (0 <= f_min < f_max and 0 <= warp < 1 and time_mask >= 0 and band_mask >= 0):
            raise ConfigError(
                "f_min must lie below f_max, warp in [0, 1), masks be 0 or more. Received: "
                f"f_min={f_min}, f_max={f_max}, warp={warp}, time_mask={time_mask}, band_mask={band_mask}"
            )
        self.f_min, self.f_max, self.warp, self.seed = f_min, f_max, warp, seed
        self.time_mask, self.band_mask, self.noise_snr_db = time_mask, band_mask, noise_snr_db
        self._random = keras.random.SeedGenerator(seed)

    def call(self, frames: Any, training: bool = False) -> Any:
        if not training:
            return frames
        frames = self._with_noise(frames) if self.noise_snr_db is not None else frames
        frames = self._warped(frames) if self.warp else frames
        mean = ops.mean(frames, axis=(1, 2), keepdims=True)
        keep = self._keep(frames, 1, self.time_mask)[:, :, None] * self._keep(frames, 2, self.band_mask)[:, None, :]
        return mean + (frames - mean) * keep

    def _with_noise(self, frames: Any) -> Any:
        batch, n_bands = ops.shape(frames)[0], frames.shape[2]
        power = ops.exp(frames)
        low, high = self.noise_snr_db, self.noise_snr_db + _SNR_RANGE_DB
        snr_db = keras.random.uniform((batch, 1, 1), low, high, seed=self._random)
        level = ops.mean(power, axis=(1, 2), keepdims=True) * 10.0 ** (-snr_db / 10)
        knots = keras.random.uniform((batch, _TILT_KNOTS, 1), -_TILT, _TILT, seed=self._random)
        places = ops.reshape(ops.linspace(0.0, _TILT_KNOTS - 1.0, n_bands), (1, -1))
        tilt = ops.transpose(ops.exp(interpolate(knots, places)), (0, 2, 1))
        # The power of noise in a band is distributed exponentially.
        drawn = -ops.log(keras.random.uniform(ops.shape(frames), 1e-6, 1.0, seed=self._random))
        return ops.log(power + level * tilt * drawn)

    def _warped(self, frames: Any) -> Any:
        n_bands = frames.shape[2]
        low, high = (1127 * math.log1p(hertz / 700) for hertz in (self.f_min, self.f_max))
        centres = low + (high - low) * np.arange(1, n_bands + 1) / (n_bands + 1)
        hertz = (700 * np.expm1(centres / 1127)).astype(np.float32)
        scale = ops.exp(keras.random.uniform((ops.shape(frames)[0], 1), -self.warp, self.warp, seed=self._random))
        mels = 1127 * ops.log1p(hertz * scale / 700)
        bands = ops.clip((mels - low) / (high - low) * (n_bands + 1) - 1, 0.0, n_bands - 1.0)
        return ops.transpose(interpolate(ops.transpose(frames, (0, 2, 1)), bands), (0, 2, 1))

    def _keep(self, frames: Any, axis: int, widest: int) -> Any:
        """0 within a run of each item, 1 elsewhere, (batch, length of the axis)."""
        shape, length = (ops.shape(frames)[0], 1), frames.shape[axis]
        width = keras.random.uniform(shape, 0.0, float(widest), seed=self._random)
        start = keras.random.uniform(shape, seed=self._random) * (length - width)
        place = ops.arange(length, dtype="float32")
        return 1.0 - ops.cast(ops.logical_and(place >= start, place < start + width), "float32")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("f_min", "f_max", "warp", "time_mask", "band_mask", "noise_snr_db", "seed")
        return super().get_config() | {name: getattr(self, name) for name in names}
