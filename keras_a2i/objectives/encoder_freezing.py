"""Training in two parts, the encoder frozen in the second, by Keras' own training step on every backend."""

from typing import Any

import keras


class EncoderFreezing(keras.callbacks.Callback):
    """Tells a `TrainingModel` before every batch how many steps it has been trained for.

    The count is read from the model's weight once, because reading it in every step would wait for the device.
    """

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._steps = self._begin = 0
        self._steps = self.model.trained_steps

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._begin = batch
        self.model.enter_step(self._steps)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._steps += batch - self._begin + 1


def exclude_frozen_encoder(optimizer: keras.optimizers.Optimizer, model: Any) -> None:
    """Makes an optimizer leave a frozen encoder alone, weight decay and momentum included.

    The variables stay in the optimizer, and so in its state: JAX demands the same list in every step, and its gradients
    of a frozen encoder are zeros, from which Adam would still move the weights.

    Args:
        optimizer: the optimizer of `model`, or its wrapper for loss scaling.
        model: a `TrainingModel`.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    apply = optimizer.apply

    def apply_to_unfrozen(grads: Any, trainable_variables: Any = None) -> None:
        if not model.encoder_is_frozen:
            apply(grads, trainable_variables)
            return
        variables = model.trainable_variables if trainable_variables is None else trainable_variables
        frozen = {id(variable) for variable in model.encoder.trainable_variables}
        kept = [pair for pair in zip(grads, variables, strict=True) if id(pair[1]) not in frozen]
        apply([grad for grad, _ in kept], [variable for _, variable in kept])

    optimizer.apply = apply_to_unfrozen
