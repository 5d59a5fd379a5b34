"""Augmentation of log-mel frames: vocal tract length, masks in time and frequency, noise."""

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
    """Augments log-mel frames in training; otherwise returns them unchanged.

    Args:
        f_min, f_max: lower edge of the first and upper edge of the last mel band in Hz (HTK's scale).
        warp: all frequencies are scaled by up to exp(+-warp), as by a longer or shorter vocal tract.
        time_mask: maximum number of consecutive frames that are set to the mean of the clip.
        band_mask: maximum number of consecutive bands that are set to the mean of the clip.
        noise_snr_db: lowest signal-to-noise ratio in dB of added noise with a random spectrum; the highest is 35 dB
            more. None adds none. The frames must be logarithms of power.
        seed: seed of the random numbers; None is a random one.
        dtype: dtype or policy of the output. The layer computes in float32, which is the default whatever the global
            policy is.
        **kwargs: other arguments of a Keras layer.

    Call with float (batch, frames, bands); returns the same shape.

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
        dtype: Any = "float32",
        **kwargs: Any,
    ):
        super().__init__(dtype=dtype or "float32", **({"autocast": False} | kwargs))
        if not (0 <= f_min < f_max and 0 <= warp < 1 and time_mask >= 0 and band_mask >= 0):
            raise ConfigError(
                "f_min must lie below f_max, warp in [0, 1), and masks be 0 or more. Received: "
                f"f_min={f_min}, f_max={f_max}, warp={warp}, time_mask={time_mask}, band_mask={band_mask}"
            )
        self.f_min, self.f_max, self.warp, self.seed = f_min, f_max, warp, seed
        self.time_mask, self.band_mask, self.noise_snr_db = time_mask, band_mask, noise_snr_db
        self._seed_generator = keras.random.SeedGenerator(seed)

    def call(self, frames: Any, training: bool = False) -> Any:
        frames = ops.cast(frames, "float32")
        if training:
            if self.noise_snr_db is not None:
                frames = self._with_noise(frames, self.noise_snr_db)
            frames = self._warped(frames) if self.warp else frames
            mean = ops.mean(frames, axis=(1, 2), keepdims=True)
            keep_frames, keep_bands = self._mask(frames, 1, self.time_mask), self._mask(frames, 2, self.band_mask)
            frames = mean + (frames - mean) * (keep_frames[:, :, None] * keep_bands[:, None, :])
        return ops.cast(frames, self.compute_dtype)

    def _uniform(self, shape: Any, low: float, high: float) -> Any:
        return keras.random.uniform(shape, low, high, dtype="float32", seed=self._seed_generator)

    def _with_noise(self, frames: Any, min_snr_db: float) -> Any:
        batch, n_bands = ops.shape(frames)[0], frames.shape[2]
        power = ops.exp(frames)
        snr_db = self._uniform((batch, 1, 1), min_snr_db, min_snr_db + _SNR_RANGE_DB)
        level = ops.mean(power, axis=(1, 2), keepdims=True) * 10.0 ** (-snr_db / 10)
        knots = self._uniform((batch, _TILT_KNOTS, 1), -_TILT, _TILT)
        # Constants of numpy: those of `ops.linspace` are seventy operations in a graph.
        places = ops.convert_to_tensor(np.linspace(0.0, _TILT_KNOTS - 1.0, n_bands, dtype="float32")[None])
        tilt = ops.transpose(ops.exp(interpolate(knots, places)), (0, 2, 1))
        # The power of noise in a band is distributed exponentially.
        noise = -ops.log(self._uniform(ops.shape(frames), 1e-6, 1.0))
        return ops.log(power + level * tilt * noise)

    def _warped(self, frames: Any) -> Any:
        n_bands = frames.shape[2]
        low, high = (1127 * math.log1p(hertz / 700) for hertz in (self.f_min, self.f_max))
        centres = low + (high - low) * np.arange(1, n_bands + 1) / (n_bands + 1)
        hertz = ops.convert_to_tensor((700 * np.expm1(centres / 1127)).astype(np.float32))
        scale = ops.exp(self._uniform((ops.shape(frames)[0], 1), -self.warp, self.warp))
        mels = 1127 * ops.log1p(hertz * scale / 700)
        bands = ops.clip((mels - low) / (high - low) * (n_bands + 1) - 1, 0.0, n_bands - 1.0)
        return ops.transpose(interpolate(ops.transpose(frames, (0, 2, 1)), bands), (0, 2, 1))

    def _mask(self, frames: Any, axis: int, max_width: int) -> Any:
        """Returns 0 within one random run per clip and 1 elsewhere, (batch, length of the axis)."""
        shape, length = (ops.shape(frames)[0], 1), frames.shape[axis]
        width = self._uniform(shape, 0.0, float(max_width))
        start = self._uniform(shape, 0.0, 1.0) * (length - width)
        place = ops.arange(length, dtype="float32")
        return 1.0 - ops.cast(ops.logical_and(place >= start, place < start + width), "float32")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("f_min", "f_max", "warp", "time_mask", "band_mask", "noise_snr_db", "seed")
        return super().get_config() | {name: getattr(self, name) for name in names}
