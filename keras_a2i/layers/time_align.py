"""The loud part of a clip, stretched to a fixed number of frames."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.errors import ConfigError

_EDGE = 0.01


@keras.saving.register_keras_serializable("keras_a2i")
class TimeAlign(keras.layers.Layer):
    """Cuts the loud part out of log-mel frames and stretches it to a fixed number of frames.

    All words, knocks or barks then begin and end at the same frames, whether they are fast or slow, early or late. A
    frame is loud if it is less than `quiet_db` below the loudest frame; the clip is cut one frame before 1 % and one
    frame after 99 % of the summed loudness. Values are relative to the loudest value of the clip, and at most
    `floor_db` below it.

    Args:
        n_frames: number of output frames, from 2.
        floor_db: dB from the loudest value down to the lowest that is returned, above 0.
        quiet_db: dB from the loudest frame down to the quietest frame that counts as loud, above 0.
        tilt_db: dB added to the highest band when loudness is measured, and proportionally less to lower bands, to give
            sounds such as an s more weight.
        jitter: in training, both ends are moved by up to this fraction of the length, 0 up to below 0.5.
        n_bands: number of bands that are used, from the lowest; None uses all.
        warp: in training, time inside is warped by up to this fraction of the length, 0 up to below 0.5.
        seed: seed of the random numbers; None is a random seed.
        dtype: dtype or policy of the output. The layer computes in float32, which is the default whatever the global
            policy is.
        **kwargs: other arguments of a Keras layer.

    Call with log-magnitude mel frames (batch, frames, n_mels), natural logarithm. Returns (batch, n_frames, n_bands),
    natural logarithm of power, between -floor_db / 4.34 and 0.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(
        self,
        n_frames: int = 48,
        *,
        floor_db: float = 60.0,
        quiet_db: float = 30.0,
        tilt_db: float = 0.0,
        jitter: float = 0.0,
        warp: float = 0.0,
        n_bands: int | None = None,
        seed: int | None = None,
        dtype: Any = "float32",
        **kwargs: Any,
    ):
        super().__init__(dtype=dtype or "float32", **({"autocast": False} | kwargs))
        counts = n_frames >= 2 and (n_bands is None or n_bands >= 1)
        if not (counts and min(floor_db, quiet_db) > 0 and 0 <= jitter < 0.5 and 0 <= warp < 0.5):
            raise ConfigError(
                "n_frames must be 2 or more, n_bands 1 or more, floor_db and quiet_db above 0, jitter and warp in "
                f"[0, 0.5). Received: n_frames={n_frames}, n_bands={n_bands}, floor_db={floor_db}, "
                f"quiet_db={quiet_db}, jitter={jitter}, warp={warp}"
            )
        self.quiet_db, self.tilt_db = quiet_db, tilt_db
        self.n_frames, self.floor_db, self.jitter, self.warp, self.seed = n_frames, floor_db, jitter, warp, seed
        self.n_bands = n_bands
        self._seed_generator = keras.random.SeedGenerator(seed)

    def call(self, frames: Any, training: bool = False) -> Any:
        power = 2.0 * ops.cast(frames[..., : self.n_bands], "float32")
        power = power - ops.max(power, axis=(1, 2), keepdims=True)
        first, last = self._ends(power)
        # Constants of numpy: those of `ops.linspace` are seventy operations in a graph.
        share = ops.convert_to_tensor(np.linspace(0.0, 1.0, self.n_frames, dtype="float32")[None])
        if training and self.jitter:
            length = last - first
            first = first + length * self._uniform(ops.shape(frames)[0], 1, self.jitter)
            last = last + length * self._uniform(ops.shape(frames)[0], 1, self.jitter)
        if training and self.warp:
            knots = self._uniform(ops.shape(frames)[0], 4, self.warp)
            share = share + ops.squeeze(interpolate(knots[..., None], 3.0 * share), -1)
        places = ops.clip(first + (last - first) * share, 0.0, frames.shape[1] - 1.0)
        found = interpolate(ops.maximum(power, -self.floor_db * math.log(10) / 10), places)
        return ops.cast(found, self.compute_dtype)

    def _ends(self, power: Any) -> tuple[Any, Any]:
        """Returns the numbers of the first and the last loud frame, (batch, 1) each."""
        tilt = np.linspace(0.0, self.tilt_db * math.log(10) / 10, power.shape[2], dtype="float32")
        level = ops.logsumexp(power + tilt, axis=2) * (10 / math.log(10))
        loud = ops.relu(level - ops.max(level, axis=1, keepdims=True) + self.quiet_db)
        # A cumulative sum as a product with a triangular matrix: not every runtime has an operator for it.
        n = loud.shape[1]
        triangle = ops.triu(ops.ones((n, n), dtype="float32"))
        cumulative = ops.matmul(loud, triangle) / ops.sum(loud, axis=1, keepdims=True)
        first = ops.sum(ops.cast(cumulative < _EDGE, "float32"), axis=1, keepdims=True) - 1.0
        last = ops.sum(ops.cast(cumulative < 1 - _EDGE, "float32"), axis=1, keepdims=True) + 1.0
        return first, last

    def _uniform(self, batch: Any, count: int, bound: float) -> Any:
        return keras.random.uniform((batch, count), -bound, bound, dtype="float32", seed=self._seed_generator)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape[0], self.n_frames, len(range(input_shape[2])[: self.n_bands])

    def get_config(self) -> dict[str, Any]:
        names = ("n_frames", "floor_db", "quiet_db", "tilt_db", "jitter", "warp", "n_bands", "seed")
        return super().get_config() | {name: getattr(self, name) for name in names}


def interpolate(frames: Any, places: Any) -> Any:
    """Interpolates frames (batch, count, channels) linearly at places (batch or 1, n): (batch, n, channels)."""
    count = frames.shape[1]
    weights = ops.relu(1.0 - ops.abs(places[..., None] - ops.arange(count, dtype="float32")))
    return ops.matmul(weights, frames)
