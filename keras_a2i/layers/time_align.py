"""The loud part of a sound, stretched to a fixed number of frames."""

import math
from typing import Any

import keras
from keras import ops

from keras_a2i.errors import ConfigError

_EDGE = 0.01


@keras.saving.register_keras_serializable("keras_a2i")
class TimeAlign(keras.layers.Layer):
    """Cuts out what is loud of log-mel frames and stretches it to so many frames.

    A word, a knock or a bark then begins and ends where every other does, fast or slow, early or late. What lies
    less than `quiet_db` below the loudest frame counts; the cut is a frame outside its first and last hundredth. Values
    are relative to the loudest of the sound and at least `floor_db` below it.

    Args:
        n_frames: frames that come out, 2 or more.
        floor_db: how far below the loudest value the quietest may lie, above 0.
        quiet_db: how far below the loudest frame one still counts, above 0.
        tilt_db: added to the highest band where loudness is judged, less to those below, so that an s counts for more.
        jitter: in training, both ends move by up to this share of the length.
        warp: in training, time inside is bent by up to this share of the length.
        seed: of the random numbers.
        **kwargs: name of the layer.

    Call with log-magnitude mel frames (batch, frames, n_mels), natural logarithm. Returns float32
    (batch, n_frames, n_mels), natural logarithm of power, between -floor_db / 4.34 and 0.

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
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**(kwargs | {"dtype": "float32", "trainable": False}))
        if not (n_frames >= 2 and min(floor_db, quiet_db) > 0 and 0 <= jitter < 0.5 and 0 <= warp < 0.5):
            raise ConfigError(
                "n_frames must be 2 or more, floor_db and quiet_db above 0, jitter and warp in [0, 0.5). Received: "
                f"n_frames={n_frames}, floor_db={floor_db}, quiet_db={quiet_db}, jitter={jitter}, warp={warp}"
            )
        self.quiet_db, self.tilt_db = quiet_db, tilt_db
        self.n_frames, self.floor_db, self.jitter, self.warp, self.seed = n_frames, floor_db, jitter, warp, seed
        self._random = keras.random.SeedGenerator(seed)

    def call(self, frames: Any, training: bool = False) -> Any:
        power = 2.0 * frames
        power -= ops.max(power, axis=(1, 2), keepdims=True)
        first, last = self._ends(power)
        share = ops.reshape(ops.linspace(0.0, 1.0, self.n_frames), (1, -1))
        if training and self.jitter:
            length = last - first
            first += length * self._uniform(ops.shape(frames)[0], 1, self.jitter)
            last += length * self._uniform(ops.shape(frames)[0], 1, self.jitter)
        if training and self.warp:
            knots = self._uniform(ops.shape(frames)[0], 4, self.warp)
            share = share + ops.squeeze(interpolate(knots[..., None], 3.0 * share), -1)
        places = ops.clip(first + (last - first) * share, 0.0, frames.shape[1] - 1.0)
        return interpolate(ops.maximum(power, -self.floor_db * math.log(10) / 10), places)

    def _ends(self, power: Any) -> tuple[Any, Any]:
        """Frames between which the sound is loud, two (batch, 1)."""
        tilt = ops.linspace(0.0, self.tilt_db * math.log(10) / 10, power.shape[2])
        level = ops.logsumexp(power + tilt, axis=2) * (10 / math.log(10))
        loud = ops.relu(level - ops.max(level, axis=1, keepdims=True) + self.quiet_db)
        # Counted by a product with a triangle: a running sum isn't an operator of every runtime.
        n = loud.shape[1]
        so_far = ops.matmul(loud, ops.triu(ops.ones((n, n)))) / ops.sum(loud, axis=1, keepdims=True)
        first = ops.sum(ops.cast(so_far < _EDGE, "float32"), axis=1, keepdims=True) - 1.0
        last = ops.sum(ops.cast(so_far < 1 - _EDGE, "float32"), axis=1, keepdims=True) + 1.0
        return first, last

    def _uniform(self, batch: Any, count: int, bound: float) -> Any:
        return keras.random.uniform((batch, count), -bound, bound, seed=self._random)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape[0], self.n_frames, input_shape[2]

    def get_config(self) -> dict[str, Any]:
        names = ("n_frames", "floor_db", "quiet_db", "tilt_db", "jitter", "warp", "seed")
        return super().get_config() | {name: getattr(self, name) for name in names}


def interpolate(frames: Any, places: Any) -> Any:
    """Values (batch, n, channels) of frames (batch, count, channels), linearly, at places (batch or 1, n)."""
    count = frames.shape[1]
    weights = ops.relu(1.0 - ops.abs(places[..., None] - ops.arange(count, dtype="float32")))
    return ops.matmul(weights, frames)
