"""Objectives in the space of a picture autoencoder that was trained on the user's own pictures."""

from typing import Any

import keras
from keras import losses, ops

from keras_a2i.models.image_encoder import FEATURES
from keras_a2i.objectives.image_autoencoder import ImageAutoencoder
from keras_a2i.objectives.objective import Objective, Step

_TEMPERATURE = 0.1


class Contrastive(Objective):
    """InfoNCE: of all pictures of the batch, a sound's own is the one nearest to it, and the other way round.

    Where pairs have labels, all pictures of the sound's label count as its own.

    Args:
        weight: factor of the loss.
        autoencoder: trained already; it stays as it is.

    Reference:
        Sung-Bin et al., "Sound to visual scene generation by audio-to-visual latent alignment", 2023 (Sound2Scene);
        Khosla et al., "Supervised contrastive learning", 2020, for the labels.
    """

    def __init__(self, weight: float, autoencoder: ImageAutoencoder):
        super().__init__(weight, "alignment")
        autoencoder.freeze()
        self.encoder = autoencoder.encoder

    def loss(self, step: Step) -> Any:
        seen = _unit(ops.stop_gradient(self.encoder(step.images, training=False)))
        near = ops.matmul(_unit(step.content), ops.transpose(seen)) / _TEMPERATURE
        own = ops.eye(ops.shape(near)[0])
        if step.labels is not None:
            own = ops.cast(ops.equal(step.labels[:, None], step.labels[None]), "float32")
        share = own / ops.sum(own, axis=1, keepdims=True)
        both = [ops.sum(share * ops.log_softmax(side, axis=1), axis=1) for side in (near, ops.transpose(near))]
        return -0.5 * ops.mean(both[0] + both[1])


class Perceptual(Objective):
    """Distance of generated and real pictures in the features of the autoencoder's encoder.

    Where pairs have labels, the autoencoder learnt to name them: pictures with a drawn style must be named rightly too.

    Args:
        weight: factor of the loss.
        autoencoder: trained already; it stays as it is.

    Reference:
        Johnson et al., "Perceptual losses for real-time style transfer and super-resolution", 2016, with an encoder of
        the user's pictures in place of downloaded weights.
    """

    def __init__(self, weight: float, autoencoder: ImageAutoencoder):
        super().__init__(weight, "consistency")
        encoder = autoencoder.encoder
        maps = [layer.output for layer in encoder.layers if layer.name.startswith(FEATURES)]
        self._look = keras.Model(encoder.inputs, [*maps, *encoder.outputs], name="look")
        self._head = autoencoder.head
        autoencoder.freeze()
        self._compare = losses.SparseCategoricalCrossentropy(from_logits=True)

    def loss(self, step: Step) -> Any:
        *real, _ = self._look(step.images, training=False)
        *generated, _ = self._look(step.generated, training=False)
        distances = [_relative_distance(ops.stop_gradient(a), b) for a, b in zip(real, generated, strict=True)]
        value = sum(distances) / len(distances)
        if self._head is not None and step.labels is not None:
            value += self._compare(step.labels, self._head(self._look(step.sampled, training=False)[-1]))
        return value


def _relative_distance(real: Any, generated: Any) -> Any:
    """Mean squared distance in units of the real features' own mean square."""
    return ops.mean(ops.square(real - generated)) / (ops.mean(ops.square(real)) + 1e-6)


def _unit(vectors: Any) -> Any:
    vectors = ops.cast(vectors, "float32")
    return vectors / ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-8)
