"""The objective that the sound's label can be told from what the encoder made of it."""

from typing import Any

from keras import losses, ops

from keras_a2i.layers import LabelHead
from keras_a2i.objectives.objective import Objective, Step


class LabelCrossentropy(Objective):
    """Cross-entropy of naming the pair's label from the latent vector, by one dense layer for each of its encoders.

    Labels count nine tenths, the rest is shared by all: few speakers are known, and certainty about them is misplaced.

    Args:
        weight: factor of the loss.
        n_content: length of the latent vector, without style.
        n_labels: of the records, 2 or more.
        ensemble: encoders whose vectors lie one after the other in the latent vector; each learns to name by itself.
        head: what names, where the model has it itself; None makes it.
    """

    def __init__(self, weight: float, n_content: int, n_labels: int, ensemble: int = 1, head: LabelHead | None = None):
        super().__init__(weight, "labels")
        self.head = LabelHead(n_labels, ensemble, name="label") if head is None else head
        if head is None:
            self.head.build((None, n_content))
        self._n_labels = n_labels
        self._compare = losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)

    def loss(self, step: Step) -> Any:
        logits = self.head(step.content)
        return self._compare(ops.one_hot(step.labels, self._n_labels)[:, None] + ops.zeros_like(logits), logits)
