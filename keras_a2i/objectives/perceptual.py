"""Distance of images in the features of an image autoencoder."""

from typing import Any

import keras
from keras import losses, ops

from keras_a2i.models.image_encoder import FEATURES
from keras_a2i.objectives.objective import Objective, TrainState, register_objective
from keras_a2i.objectives.replicas import undo_replica_scaling


@register_objective
class Perceptual(Objective):
    """Distance of generated and real images in the features of the autoencoder's encoder.

    If the autoencoder has a label head and the data set has labels, the loss also contains the cross-entropy of the
    labels that the head predicts for the `sampled` images: images with a random style must show the right label, too.
    The autoencoder stays frozen.

    Args:
        weight: factor of the loss.
        **kwargs: as `Objective`.

    Reference:
        Johnson et al., "Perceptual losses for real-time style transfer and super-resolution", 2016, with an encoder of
        the user's images in place of downloaded weights.
    """

    id = "perceptual"
    compares_images = True
    needs_autoencoder = True

    def __init__(self, weight: float = 1.0, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self._features: Any = None
        self._head: Any = None
        self._label_loss = losses.SparseCategoricalCrossentropy(from_logits=True)

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        self._require(autoencoder is not None, "an image autoencoder. Pass autoencoder=ImageAutoencoder(...)")
        self._require(self._features is None, "a new instance: this one has been attached to a model before")
        encoder = autoencoder.encoder
        maps = [layer.output for layer in encoder.layers if layer.name.startswith(FEATURES)]
        self._features = keras.Model(encoder.input, [*maps, *encoder.outputs], name="image_features")
        self._head = autoencoder.head
        autoencoder.freeze()

    def loss(self, state: TrainState) -> Any:
        *real, _ = self._features(state.images, training=False)
        *generated, _ = self._features(state.generated, training=False)
        distances = [_relative_distance(ops.stop_gradient(a), b) for a, b in zip(real, generated, strict=True)]
        value = sum(distances) / len(distances)
        if self._head is not None and state.labels is not None:
            logits = self._head(self._features(state.sampled, training=False)[-1])
            value += undo_replica_scaling(self._label_loss(state.labels, logits))
        return value


def _relative_distance(real: Any, generated: Any) -> Any:
    """Returns the mean squared distance, divided by the mean square of the real features."""
    real, generated = ops.cast(real, "float32"), ops.cast(generated, "float32")
    return ops.mean(ops.square(real - generated)) / (ops.mean(ops.square(real)) + 1e-6)
