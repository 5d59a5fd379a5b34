"""Training of the small networks with which images are judged."""

import keras
import numpy as np

from keras_a2i.evaluation.kept_weights import KeptWeights
from keras_a2i.optimizers import make_adam

BATCH_SIZE = 32
MAX_EPOCHS = 250
_RATE = 2e-3
# A mean over fewer steps says little.
_MIN_STEPS = 100
# Increase this whenever a network or its training changes: the key of the stored weights contains neither activations,
# strides and dropout rates nor the constants above.
_VERSION = 1


def train_network(
    model: keras.Model,
    loss: str | keras.losses.Loss,
    inputs: np.ndarray,
    targets: np.ndarray,
    steps: int,
    *,
    min_epochs: int = 1,
    stop_below: float = 0.0,
) -> None:
    """Trains for about `steps` steps, with a rate that falls by half a cosine.

    If the cache folder contains the weights of the same training, the model receives these and isn't compiled, see
    `KeptWeights`: networks that depend on the records and the random seed alone are trained once, whichever models are
    evaluated.

    A loop over `train_on_batch`: `fit` makes a new iterator for each of the many epochs of a few steps.

    Args:
        model: the network.
        loss: of the network.
        inputs: (n, ...), n 1 or more.
        targets: (n, ...).
        steps: number of steps, made up to whole epochs; at most `MAX_EPOCHS` of them.
        min_epochs: number of epochs that are trained however many steps they have.
        stop_below: the training ends early once the mean loss over 100 steps or more is below this.
    """
    settings = {"steps": steps, "min_epochs": min_epochs, "stop_below": stop_below, "version": _VERSION}
    kept = KeptWeights(model, loss, (inputs, targets), settings)
    if not kept.restore(model):
        _train(model, loss, inputs, targets, steps, min_epochs, stop_below)
        kept.save(model)


def _train(
    model: keras.Model,
    loss: str | keras.losses.Loss,
    inputs: np.ndarray,
    targets: np.ndarray,
    steps: int,
    min_epochs: int,
    stop_below: float,
) -> None:
    n = len(inputs)
    epochs = min(MAX_EPOCHS, max(min_epochs, round(steps * BATCH_SIZE / n)))
    rate = keras.optimizers.schedules.CosineDecay(_RATE, epochs * -(-n // BATCH_SIZE), alpha=0.01)
    model.compile(make_adam(rate), loss)
    # TensorFlow traces a step twice that creates variables.
    model.optimizer.build(model.trainable_variables)
    order, losses = np.random.default_rng(0), []
    for _ in range(epochs):
        shuffled = order.permutation(n)
        for start in range(0, n, BATCH_SIZE):
            batch = shuffled[start : start + BATCH_SIZE]
            losses.append(float(model.train_on_batch(inputs[batch], targets[batch])))
        if len(losses) >= _MIN_STEPS:
            if np.mean(losses) < stop_below:
                return
            losses.clear()
