"""The picture autoencoder of a training: what it is shown and how long."""

import math
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_a2i.config import ImageConfig
from keras_a2i.errors import KerasA2IError, SourceError, UsageError
from keras_a2i.media.image import read_image
from keras_a2i.media.suffixes import IMAGE_SUFFIXES
from keras_a2i.objectives.image_autoencoder import NO_LABEL, ImageAutoencoder

_SHUFFLE_BUFFER = 2048


def train_autoencoder(
    autoencoder: ImageAutoencoder,
    pairs: tf.data.Dataset,
    n_pairs: int,
    more: np.ndarray | None,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int = 0,
    report: Callable[[int, float], None] | None = None,
) -> None:
    """Trains it in place.

    Args:
        autoencoder: as made.
        pairs: the training pairs, (inputs, (pictures, labels)) in batches.
        n_pairs: how many there are.
        more: pictures without sound, uint8 (n, size, size, channels), or None.
        epochs: passes over all pictures.
        batch_size: pictures a step.
        learning_rate: at the first step; it goes down to a hundredth by half a cosine.
        seed: of the order in which pictures with and without sound are mixed.
        report: called with (epoch, loss).

    Raises:
        KerasA2IError: if its weights don't stay finite.
    """
    pictures = pairs.map(lambda _, y: y)
    if more is not None:
        others = tf.data.Dataset.from_tensor_slices(more).map(
            lambda picture: (tf.cast(picture, tf.float32) * (2 / 255) - 1, tf.constant(NO_LABEL))
        )
        pictures = pictures.unbatch().concatenate(others).shuffle(_SHUFFLE_BUFFER, seed=seed).batch(batch_size)
        n_pairs += len(more)
    steps = epochs * math.ceil(n_pairs / batch_size)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.01)
    # Objectives that were made for it hold it still already.
    autoencoder.freeze(False)
    autoencoder.compile(keras.optimizers.Adam(rate))
    tell = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: report and report(epoch + 1, float(logs["loss"]))
    )
    autoencoder.fit(pictures, epochs=epochs, verbose=0, shuffle=False, callbacks=[tell])
    autoencoder.freeze()
    if not all(np.isfinite(np.asarray(variable)).all() for variable in autoencoder.variables):
        raise KerasA2IError(
            "The picture autoencoder's weights must stay finite. Lower the learning rate (--set learning_rate=...)"
        )


def read_extra_images(folder: pathlib.Path, image: ImageConfig) -> np.ndarray:
    """All PNG and JPEG pictures below a folder, cropped and scaled as those of the records.

    Files that can't be read are passed over.

    Returns:
        uint8 (n, size, size, channels).

    Raises:
        UsageError: if there is no such folder, or no picture in it that can be read.
    """
    if not folder.is_dir():
        raise UsageError(f"Pictures without sound must lie in a folder. Received: {folder}, which isn't one")
    found, failed = [], 0
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES):
        try:
            picture = read_image(path, image)
        except SourceError:
            failed += 1
            continue
        found.append(picture)
    if not found:
        raise UsageError(f"{folder} must hold PNG or JPEG pictures. Received: {failed} that can't be read")
    return np.stack(found)
