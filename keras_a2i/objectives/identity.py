"""Identity: the generated image shows the same person as the reference image."""

from typing import Any

import keras
from keras import ops

from keras_a2i.models.image_encoder import image_encoder
from keras_a2i.objectives.objective import Objective, TrainState, register_objective

_EMBEDDING_DIM = 32
_TEMPERATURE = 0.1
_EXCLUDED = -1e9


@register_objective
class Identity(Objective):
    """Distance between the generated image and the reference image in an embedding space of identities, which is
    trained at the same time.

    An image encoder is trained by InfoNCE to match a real image with the reference image of its source, among the
    references of the batch, so that the embedding ignores changes within a source. The generated image is pulled
    towards the embedding of its reference; for this term, the encoder's weights are constants. Consecutive pairs of a
    batch may be neighbours in time and aren't treated as different sources.

    Args:
        weight: factor of the loss.
        **kwargs: as `Objective`.

    Reference:
        van den Oord et al., "Representation learning with contrastive predictive coding", 2018 (InfoNCE).
    """

    id = "identity"
    needs_reference = True
    compares_images = True

    def __init__(self, weight: float = 1.0, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self.embedding: Any = None

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        self._require_reference(model)
        self._require(self.embedding is None, "a new instance: this one has been attached to a model before")
        self.embedding = image_encoder(model.image.size, model.image.channels, _EMBEDDING_DIM)

    def loss(self, state: TrainState) -> Any:
        real, reference = (_unit(self.embedding(images)) for images in (state.images, state.references))
        constants = [ops.stop_gradient(variable.value) for variable in self.embedding.trainable_variables]
        generated, _ = self.embedding.stateless_call(constants, [], ops.cast(state.generated, "float32"))
        kept = ops.sum(_unit(generated) * ops.stop_gradient(reference), axis=-1)
        return _contrast(real, reference) + ops.mean(1 - kept)


def _contrast(real: Any, reference: Any) -> Any:
    """The cross entropy of finding the own reference among those of the batch, without the neighbour's."""
    logits = ops.matmul(real, ops.transpose(reference)) / _TEMPERATURE
    row = ops.arange(ops.shape(real)[0])
    pair = row // 2
    is_neighbour = (pair[:, None] == pair[None]) & (row[:, None] != row[None])
    logits = ops.where(is_neighbour, _EXCLUDED, logits)
    own = ops.sum(real * reference, axis=-1) / _TEMPERATURE
    return ops.mean(ops.logsumexp(logits, axis=-1) - own)


def _unit(vectors: Any) -> Any:
    vectors = ops.cast(vectors, "float32")
    return vectors * ops.rsqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-12)
