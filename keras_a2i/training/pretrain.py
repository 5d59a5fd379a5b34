"""The training of the image autoencoder that precedes some recipes."""

import math
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_a2i.config import ImageConfig
from keras_a2i.errors import KerasA2IError, SourceError, UsageError
from keras_a2i.media.folder_files import walk_files
from keras_a2i.media.image import read_image
from keras_a2i.objectives.image_autoencoder import NO_LABEL, ImageAutoencoder
from keras_a2i.optimizers import make_adam

_SUFFIXES = {".png", ".jpg", ".jpeg"}
_SHUFFLE_BUFFER = 2048


def train_autoencoder(
    autoencoder: ImageAutoencoder,
    pairs: Any,
    n_pairs: int,
    extra_images: np.ndarray | None,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int = 0,
    verbose: str | int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Trains an image autoencoder in place.

    Args:
        autoencoder: the model.
        pairs: `tf.data.Dataset` of the training pairs, (inputs, (images, labels)) in batches.
        n_pairs: number of pairs.
        extra_images: images without audio, uint8 (n, size, size, channels), or None.
        epochs: epochs over all images.
        batch_size: images per step.
        learning_rate: that of the first step; it decays to a hundredth by half a cosine.
        seed: random seed of the order in which images with and without audio are mixed.
        verbose: as for `keras.Model.fit`.
        progress: called as progress("image autoencoder", epoch, epochs).

    Raises:
        KerasA2IError: if a weight is no longer finite.
    """
    images = pairs.map(lambda _, y: y)
    if extra_images is not None:
        images = _mix(images, extra_images, batch_size, seed)
        n_pairs += len(extra_images)
    steps = epochs * math.ceil(n_pairs / batch_size)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.01)
    # Objectives that use it have frozen it already.
    autoencoder.freeze(False)
    autoencoder.compile(make_adam(rate))
    # TensorFlow traces a step twice that creates variables.
    autoencoder.optimizer.build(autoencoder.trainable_variables)
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: progress and progress("image autoencoder", epoch + 1, epochs)
    )
    autoencoder.fit(images, epochs=epochs, verbose=verbose, shuffle=False, callbacks=[report])
    autoencoder.freeze()
    if not all(np.isfinite(weight.numpy()).all() for weight in autoencoder.weights):
        raise KerasA2IError(
            "The weights of the image autoencoder must stay finite. Received: one that isn't. Lower learning_rate"
        )


def _mix(images: Any, extra_images: np.ndarray, batch_size: int, seed: int) -> Any:
    import tensorflow as tf

    from keras_a2i.records.batches import to_floats

    extra = tf.data.Dataset.from_tensor_slices(extra_images).map(
        lambda image: (to_floats(image), tf.constant(NO_LABEL))
    )
    return images.unbatch().concatenate(extra).shuffle(_SHUFFLE_BUFFER, seed=seed).batch(batch_size)


def read_image_folder(folder: pathlib.Path, image: ImageConfig) -> np.ndarray:
    """Reads all PNG and JPEG images below a folder, cropped and scaled as those of the records.

    Files that can't be read are skipped; see `walk_files` for links and hidden files.

    Returns:
        uint8 (n, size, size, channels).

    Raises:
        UsageError: if it is a file, or holds no image that can be read.
        SourceError: if there is no such folder.
    """
    if not folder.is_dir():
        error, what = (UsageError, "is a file") if folder.exists() else (SourceError, "doesn't exist")
        raise error(f"image_folder must be a folder. Received: {folder}, which {what}")
    found, failed = [], 0
    for path in sorted(folder / name for name in walk_files(folder, _SUFFIXES)):
        try:
            found.append(read_image(path, image))
        except SourceError:
            failed += 1
    if not found:
        raise UsageError(
            f"image_folder must hold PNG or JPEG images. Received: {folder}, with {failed} that can't be read"
        )
    return np.stack(found)
