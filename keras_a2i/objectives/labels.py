"""The objective that the sound's label can be told from what the encoder made of it."""

from typing import Any

from keras import layers, losses, ops

from keras_a2i.objectives.objective import Objective, Step


class Labels(Objective):
    """Cross-entropy of naming the pair's label from the latent vector, by one dense layer.

    Labels count nine tenths, the rest is shared by all: few speakers are known, and certainty about them is misplaced.

    Args:
        weight: factor of the loss.
        n_content: length of the latent vector, without style.
        n_labels: of the records, 2 or more.
    """

    def __init__(self, weight: float, n_content: int, n_labels: int):
        super().__init__(weight, "labels")
        self.head = layers.Dense(n_labels, name="label")
        self.head.build((None, n_content))
        self._n_labels = n_labels
        self._compare = losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)

    def loss(self, step: Step) -> Any:
        return self._compare(ops.one_hot(step.labels, self._n_labels), self.head(step.content))
