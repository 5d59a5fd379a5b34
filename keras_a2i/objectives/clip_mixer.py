"""Mixtures of the clips of a batch, on which objectives train the encoder in addition to the clips."""

import dataclasses
from typing import Any

import keras
from keras import ops

from keras_a2i.layers import FrameAugmentation
from keras_a2i.models.untracked import Untracked

_SILENCE = 1e-6


@dataclasses.dataclass
class Mixtures:
    """Every clip of a batch, mixed with the one before it; the first is mixed with the last.

    Attributes:
        content: output of the encoder for the mixtures, without the style units, (batch, n).
        shares: share of the clip itself in its mixture, 0 to 1, (batch, 1).
    """

    content: Any
    shares: Any

    def mix(self, targets: Any) -> Any:
        """Returns the targets of the mixtures, from those of the clips, (batch, n)."""
        return _mix(targets, self.shares)


class ClipMixer(keras.layers.Layer):
    """Mixes the clips of a batch in pairs, in random proportions, and encodes the mixtures.

    If the encoder has augmented log-mel frames (`FrameAugmentation`), these frames are mixed: the events of both clips
    then begin and end at the same time, like one event that resembles both. Otherwise, the inputs are mixed: two clips
    at once. Two waveforms are first scaled to the loudness of the quieter one, so that the shares are proportions of
    loudness; silence stays silence.

    Args:
        encoder: functional model from the inputs to the latent vector (batch, n).
        of_waveforms: whether the inputs are waveforms (batch, n_samples).
        seed: seed of the shares.
        **kwargs: other arguments of a Keras layer.

    Call with the inputs of the encoder. Returns the latent vectors of the mixtures (batch, n) and the shares
    (batch, 1).

    Reference:
        Zhang et al., "mixup: beyond empirical risk minimization", arXiv:1710.09412.
    """

    def __init__(self, encoder: keras.Model, seed: int = 0, *, of_waveforms: bool = False, **kwargs: Any):
        super().__init__(**({"dtype": "float32", "autocast": False} | kwargs))
        augmented = [layer.output for layer in encoder.layers if isinstance(layer, FrameAugmentation)]
        self._frames = Untracked(keras.Model(encoder.inputs, augmented) if augmented else None)
        self._latent = Untracked(keras.Model(augmented, encoder.outputs[0]) if augmented else encoder)
        self._of_waveforms = of_waveforms
        self._seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs: Any) -> tuple[Any, Any]:
        shares = keras.random.uniform((ops.shape(inputs)[0], 1), dtype="float32", seed=self._seed_generator)
        if self._frames.value is None:
            mixed = _mix_waveforms(inputs, shares) if self._of_waveforms else _mix(inputs, shares)
            return self._latent.value(mixed, training=True), shares
        # Of one output, Keras returns the tensor itself.
        frames = keras.tree.flatten(self._frames.value(inputs, training=True))
        mixed = [_mix(each, shares[..., None]) for each in frames]
        return self._latent.value(mixed if len(mixed) > 1 else mixed[0], training=True), shares


def _mix(values: Any, shares: Any) -> Any:
    values = ops.cast(values, "float32")
    return shares * values + (1 - shares) * ops.roll(values, 1, axis=0)


def _mix_waveforms(values: Any, shares: Any) -> Any:
    values = ops.cast(values, "float32")
    loudness = ops.sqrt(ops.mean(ops.square(values), axis=1, keepdims=True))
    others = ops.roll(loudness, 1, axis=0)
    lower = ops.minimum(loudness, others)
    # A clip of silence silences the other.
    factor, factor_of_other = lower / (loudness + _SILENCE), lower / (others + _SILENCE)
    return shares * factor * values + (1 - shares) * factor_of_other * ops.roll(values, 1, axis=0)
