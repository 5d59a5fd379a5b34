"""Classification of the audio's label from the latent vector."""

from typing import Any

import keras
from keras import losses, ops

from keras_a2i.errors import UsageError
from keras_a2i.layers import LabelHead
from keras_a2i.objectives.objective import Objective, TrainState, register_objective
from keras_a2i.objectives.replicas import undo_replica_scaling


@register_objective
class LabelCrossentropy(Objective):
    """Cross-entropy of the pair's label, predicted from the latent vector by one dense layer per encoder.

    Label smoothing reduces overconfidence when the data set has few speakers. Mixtures of two clips, whose target is
    the mixture of their labels, improve the recognition of speakers that aren't in the training data (see `ClipMixer`).
    The objective trains the label head of the model; if the model has none, the objective creates one.

    Args:
        weight: factor of the loss.
        label_smoothing: probability that is spread over all labels, 0 up to below 1.
        mixture: weight of the loss of mixtures relative to that of the clips, 0 or more.
        **kwargs: as `Objective`.

    Raises:
        UsageError: if `mixture` is out of range.

    Reference:
        Zhang et al., "mixup: beyond empirical risk minimization", arXiv:1710.09412.
    """

    id = "labels"
    needs_labels = True

    def __init__(self, weight: float = 1.0, label_smoothing: float = 0.1, mixture: float = 0.0, **kwargs: Any):
        super().__init__(weight, **kwargs)
        if not mixture >= 0:
            raise UsageError(f"mixture must be 0 or more. Received: mixture={mixture!r}")
        self.label_smoothing, self.mixture = label_smoothing, mixture
        self.head: Any = None
        self._loss_fn = losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        self._require_latent(model)
        self._require(self.head is None, "a new instance: this one has been attached to a model before")
        if model.label_head is not None:
            self.head = model.label_head
            return
        self._require(model.n_labels >= 2, f"a model with two labels or more. Received: n_labels={model.n_labels}")
        head = LabelHead(model.n_labels, getattr(model, "ensemble", 1), name="label")
        head.build((None, model.latent_dim - model.style_units))
        self.head = head

    def loss(self, state: TrainState) -> Any:
        self._require(state.labels is not None, "labels: the data set must yield (inputs, (images, labels))")
        targets = ops.one_hot(state.labels, self.head.n_labels, dtype="float32")
        return self._with_mixtures(state, self._crossentropy, targets)

    def _crossentropy(self, content: Any, targets: Any) -> Any:
        logits = self.head(content)
        targets = targets[:, None] + ops.cast(ops.zeros_like(logits), "float32")
        return undo_replica_scaling(self._loss_fn(targets, logits))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"label_smoothing": self.label_smoothing, "mixture": self.mixture}
