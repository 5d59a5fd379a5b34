"""Random changes of the audio during training, as a step of the `tf.data` pipeline.

The augmentation is a step of the pipeline and not a layer (as `layers.FrameAugmentation`, which changes log-mel frames
inside a model), for three reasons. It works with any model, which is then saved and exported without it. Its random
values depend only on the seed, the epoch and the number of the batch, so that a resumed training repeats them without a
random state in its checkpoint. And the masks of tensorflow-io are TensorFlow operations, which a layer can't use on JAX
and PyTorch.
"""

import dataclasses
import math
from typing import TYPE_CHECKING

from keras_a2i.config import Settings
from keras_a2i.errors import ConfigError
from keras_a2i.records.spectral_masks import mask

if TYPE_CHECKING:
    import tensorflow as tf

NOISE_RANGE_DB = 30.0
MIX_RANGE_DB = 20.0
SILENCE = 1e-12
"""Mean square below which a waveform counts as silent: less than the rounding to 16 bits."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation(Settings):
    """How the audio is changed during training. By default, all changes are off. Random values are drawn for every
    clip.

    Args:
        gain_db: largest change of the level, up or down, 0 to 60 dB.
        noise_snr_db: adds white noise at a signal-to-noise ratio between this value and 30 dB more, -20 to 100 dB; None
            is off.
        time_shift: largest shift of the audio, earlier or later, 0 to 10 seconds; silence fills the gap.
        speed: changes the speed, and the pitch with it, by a factor between 1 / (1 + speed) and 1 + speed, 0 to 1,
            about the middle of the clip; silence fills the ends of a faster clip.
        mix_snr_db: adds another clip of the batch, softer by between this value and 20 dB more, -20 to 100 dB; None is
            off.
        time_mask: longest interval that is silenced, 0 to 10 seconds; its edges fade over 512 samples.
        frequency_mask: widest frequency band that is removed, 0 to 48,000 Hz.

    Raises:
        ConfigError: if a value is out of its range.

    Example:
        ```python
        augmentation = keras_a2i.Augmentation(gain_db=6.0, noise_snr_db=10.0)
        train = records.dataset("train", input="waveform", augmentation=augmentation)
        ```

    Reference:
        Masks: Park et al., "SpecAugment", arXiv:1904.08779.
    """

    gain_db: float = 0.0
    noise_snr_db: float | None = None
    time_shift: float = 0.0
    speed: float = 0.0
    mix_snr_db: float | None = None
    time_mask: float = 0.0
    frequency_mask: float = 0.0

    def __post_init__(self) -> None:
        limits = {"gain_db": 60, "time_shift": 10, "speed": 1, "time_mask": 10, "frequency_mask": 48_000}
        for name, limit in limits.items():
            self._check(name, 0, limit)
        for name in ("noise_snr_db", "mix_snr_db"):
            if getattr(self, name) is not None:
                self._check(name, -20, 100)

    def _check(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and low <= value <= high):
            raise ConfigError(
                f"{name} of an Augmentation must lie between {low} and {high}. Received: {name}={value!r}"
            )

    @property
    def active(self) -> bool:
        """Whether any change is on."""
        return self != Augmentation()


def augment(waveforms: "tf.Tensor", seed: "tf.Tensor", config: Augmentation, sample_rate: int) -> "tf.Tensor":
    """Changes a batch of clips, in a graph or eagerly.

    Args:
        waveforms: float32 (batch, n_samples) in [-1, 1].
        seed: int (2,). The same seed gives the same result, except for the masks of tensorflow-io.
        config: what to change.
        sample_rate: Hz.

    Returns:
        float32 (batch, n_samples), finite, in [-1, 1]. The order of the changes is speed and shift, masks, mix, noise,
        gain.
    """
    import tensorflow as tf

    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 6))
    x = waveforms
    if config.speed or config.time_shift:
        x = _warp(x, seeds[0], config, sample_rate)
    if config.time_mask or config.frequency_mask:
        x = mask(x, seeds[1], round(config.time_mask * sample_rate), config.frequency_mask / sample_rate)
    if config.mix_snr_db is not None:
        # A clip that is alone in its batch stays as it is.
        other = tf.roll(x, 1, axis=0) * tf.cast(tf.shape(x)[0] > 1, x.dtype)
        x += _at_ratio(x, other, seeds[2], config.mix_snr_db, MIX_RANGE_DB)
    if config.noise_snr_db is not None:
        noise = tf.random.stateless_normal(tf.shape(x), seeds[3])
        x += _at_ratio(x, noise, seeds[4], config.noise_snr_db, NOISE_RANGE_DB)
    if config.gain_db:
        x *= 10 ** (_uniform(x, seeds[5], -config.gain_db, config.gain_db) / 20)
    return tf.clip_by_value(x, -1.0, 1.0)


def _uniform(x: "tf.Tensor", seed: "tf.Tensor", low: float, high: float) -> "tf.Tensor":
    """One random value per clip, float32 (batch, 1)."""
    import tensorflow as tf

    return tf.random.stateless_uniform((tf.shape(x)[0], 1), seed, low, high)


def _warp(x: "tf.Tensor", seed: "tf.Tensor", config: Augmentation, sample_rate: int) -> "tf.Tensor":
    """Changes the speed of each clip about its middle and shifts it, by linear interpolation."""
    import tensorflow as tf

    n = x.shape[1]
    bound = math.log1p(config.speed)
    faster = tf.math.expm1(_uniform(x, seed, -bound, bound))
    shift = _uniform(x, seed + 1, -config.time_shift, config.time_shift) * sample_rate
    # Only the distance from the original position is a float: positions in long clips exceed its 24 bits.
    sample = tf.range(n)
    offset = (tf.cast(sample, tf.float32) - (n - 1) / 2) * faster - shift * (1 + faster)
    whole = tf.floor(offset)
    index = sample + tf.cast(whole, tf.int32)
    left = tf.gather(x, tf.clip_by_value(index, 0, n - 1), batch_dims=1)
    right = tf.gather(x, tf.clip_by_value(index + 1, 0, n - 1), batch_dims=1)
    inside = tf.logical_and(index >= 0, index < n)
    return tf.where(inside, left + (offset - whole) * (right - left), 0.0)


def _at_ratio(x: "tf.Tensor", other: "tf.Tensor", seed: "tf.Tensor", low: float, width: float) -> "tf.Tensor":
    """`other`, `low` to `low` + `width` dB softer than `x`; zero where either of them is silent."""
    import tensorflow as tf

    ratio = _uniform(x, seed, low, low + width)
    power = tf.reduce_mean(tf.square(x), axis=1, keepdims=True)
    own = tf.reduce_mean(tf.square(other), axis=1, keepdims=True)
    return other * tf.sqrt(power / tf.maximum(own, SILENCE) * 10 ** (-ratio / 10))
