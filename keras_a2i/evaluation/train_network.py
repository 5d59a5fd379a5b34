"""Training of the small networks with which images are judged."""

import keras
import numpy as np

from keras_a2i.evaluation.pairs import MEMORY_BUDGET, Rows, spread_rows, thumbnails_of

BATCH_SIZE = 32
MAX_EPOCHS = 250
_RATE = 2e-3
# A mean over fewer steps says little.
_MIN_STEPS = 100


def train_network(
    model: keras.Model,
    loss: str | keras.losses.Loss,
    images: Rows,
    targets: np.ndarray | None,
    steps: int,
    *,
    min_epochs: int = 1,
    stop_below: float = 0.0,
) -> None:
    """Trains on 8-bit images for about `steps` steps, with a rate that falls by half a cosine.

    Of very many images as many are used, spread evenly, as their thumbnails fit `MEMORY_BUDGET`. A loop over
    `train_on_batch`, because `fit` spends more time on the start of an epoch than on one of these epochs.

    Args:
        model: the network, whose input is the size of the thumbnails.
        loss: of the network.
        images: uint8 (n, size, size, channels) by row number, n 1 or more.
        targets: (n, ...), or None for the images themselves.
        steps: number of steps, made up to whole epochs; at most `MAX_EPOCHS` of them.
        min_epochs: number of epochs that are trained however many steps they have.
        stop_below: the training ends early once the mean loss over 100 steps or more is below this.
    """
    size = model.input_shape[1]
    rows = spread_rows(len(images), MEMORY_BUDGET // (4 * size * size * images.shape[-1]))
    n = len(rows)
    epochs = min(MAX_EPOCHS, max(min_epochs, round(steps * BATCH_SIZE / n)))
    rate = keras.optimizers.schedules.CosineDecay(_RATE, epochs * -(-n // BATCH_SIZE), alpha=0.01)
    model.compile(keras.optimizers.Adam(rate), loss)
    # TensorFlow traces a step twice that creates variables.
    model.optimizer.build(model.trainable_variables)
    seen = thumbnails_of(images, size, rows)
    wanted = seen if targets is None else np.asarray(targets)[rows]
    order, losses = np.random.default_rng(0), []
    for _ in range(epochs):
        shuffled = order.permutation(n)
        for start in range(0, n, BATCH_SIZE):
            batch = shuffled[start : start + BATCH_SIZE]
            losses.append(float(model.train_on_batch(seen[batch], wanted[batch])))
        if len(losses) >= _MIN_STEPS:
            if np.mean(losses) < stop_below:
                return
            losses.clear()
