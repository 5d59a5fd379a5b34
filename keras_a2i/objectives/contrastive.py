"""Alignment of audio and images in the latent space of an image autoencoder."""

from typing import Any

import keras
from keras import ops

from keras_a2i.objectives.objective import Objective, TrainState, register_objective


@register_objective
class Contrastive(Objective):
    """InfoNCE in both directions: among the images of the batch, the image of a pair should be the nearest to its
    audio, and vice versa.

    If the data set has labels, all images of the same label are positives. The autoencoder stays frozen.

    Args:
        weight: factor of the loss.
        temperature: divisor of the cosine similarities, above 0.
        **kwargs: as `Objective`.

    Reference:
        Sung-Bin et al., "Sound to visual scene generation by audio-to-visual latent alignment", 2023 (Sound2Scene);
        Khosla et al., "Supervised contrastive learning", 2020, for the labels.
    """

    id = "contrastive"
    aligns_images = True
    needs_autoencoder = True

    def __init__(self, weight: float = 1.0, temperature: float = 0.1, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self.temperature = temperature
        self.encoder: Any = None

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        self._require_latent(model)
        self._require(autoencoder is not None, "an image autoencoder. Pass autoencoder=ImageAutoencoder(...)")
        self._require(self.encoder is None, "a new instance: this one has been attached to a model before")
        audio_dim, image_dim = model.latent_dim - model.style_units, autoencoder.encoder.output_shape[-1]
        self._require(
            audio_dim == image_dim,
            "latent vectors of one length from audio and images, and so a model without style units. "
            f"Received: {audio_dim} and {image_dim}",
        )
        autoencoder.freeze()
        self.encoder = autoencoder.encoder

    def loss(self, state: TrainState) -> Any:
        images = _unit_length(ops.stop_gradient(self.encoder(state.images, training=False)))
        similarity = ops.matmul(_unit_length(state.content), ops.transpose(images)) / self.temperature
        positive = ops.eye(ops.shape(similarity)[0], dtype="float32")
        if state.labels is not None:
            positive = ops.cast(ops.equal(state.labels[:, None], state.labels[None]), "float32")
        share = positive / ops.sum(positive, axis=1, keepdims=True)
        both = [
            ops.sum(share * ops.log_softmax(logits, axis=1), axis=1)
            for logits in (similarity, ops.transpose(similarity))
        ]
        return -0.5 * ops.mean(both[0] + both[1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"temperature": self.temperature}


def _unit_length(vectors: Any) -> Any:
    vectors = ops.cast(vectors, "float32")
    return vectors / ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-8)
