"""Whether a classifier tells generated images from real ones, by patches of them."""

import keras
import numpy as np

from keras_a2i.evaluation.pairs import Rows, chunks_of
from keras_a2i.evaluation.train_network import train_network
from keras_a2i.media.conversion import from_uint8

PATCH_SIZE = 32
PATCHES_PER_IMAGE = 8
STEPS = 250
CUTS = 3
_WIDTHS = (24, 32, 48)


def draw_patches(images: Rows, rows: np.ndarray, seed: int) -> np.ndarray:
    """Cuts patches at random places, half of them mirrored.

    Args:
        images: uint8, or float32 in [-1, 1], (n, size, size, channels), by row number.
        rows: numbers of the images to use.
        seed: of the places.

    Returns:
        float32 (len(rows), 8, side, side, channels) in [-1, 1], side 32 or the size of smaller images.
    """
    rng, size = np.random.default_rng(seed), images.shape[1]
    side = min(PATCH_SIZE, size)
    found = []
    for chunk in chunks_of(len(rows)):
        for image in images[rows[chunk]]:
            corners = rng.integers(0, size - side + 1, (PATCHES_PER_IMAGE, 2))
            mirrored = rng.random(PATCHES_PER_IMAGE) < 0.5
            patches = np.stack([image[y : y + side, x : x + side] for y, x in corners])
            patches[mirrored] = patches[mirrored][:, :, ::-1]
            found.append(from_uint8(patches) if patches.dtype == np.uint8 else patches)
    return np.stack(found)


def two_sample_error(
    real: np.ndarray, generated: np.ndarray, seed: int, *, cuts: int = CUTS, steps: int = STEPS
) -> float:
    """Trains classifiers of patches and returns their equal error rate on images that they weren't trained on.

    Args:
        real, generated: float32 (n, patches, side, side, channels), from `draw_patches`, of four images or more each.
        seed: of the cuts and of the initial weights.
        cuts: number of random cuts into a half to train on and a half to judge; single ones vary by 10 points.
        steps: training steps for each.

    Returns:
        The mean over the cuts, in [0, 1]: 0.5 where nothing tells them apart.
    """
    errors = []
    for cut in range(cuts):
        rng = np.random.default_rng([seed, cut])
        (known_real, other_real), (known_generated, other_generated) = (
            np.array_split(patches[rng.permutation(len(patches))], 2) for patches in (real, generated)
        )
        keras.utils.set_random_seed(seed + cut)
        classifier = _classifier(real.shape[2:])
        x, y = _balanced(known_real, known_generated, rng)
        train_network(classifier, keras.losses.BinaryCrossentropy(from_logits=True), x, y, steps)
        x, y = _balanced(other_real, other_generated, rng)
        errors.append(equal_error_rate(classifier.predict(x, batch_size=256, verbose=0)[:, 0], y[:, 0] > 0))
    return float(np.mean(errors))


def equal_error_rate(scores: np.ndarray, is_real: np.ndarray) -> float:
    """Returns the error rate at the threshold where as many real as generated patches are taken for the other.

    Args:
        scores: float (n,), higher for what is taken to be real.
        is_real: bool (n,), with both values among them.
    """
    real = is_real[np.argsort(-scores, kind="stable")]
    missed = 1 - np.cumsum(real) / real.sum()
    mistaken = np.cumsum(~real) / (~real).sum()
    nearest = np.argmin(np.abs(missed - mistaken))
    return float((missed[nearest] + mistaken[nearest]) / 2)


def _balanced(real: np.ndarray, generated: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """As many patches of each kind, and 1 for the real ones, float32 (n, 1)."""
    flat = [patches.reshape(-1, *patches.shape[2:]) for patches in (real, generated)]
    n = max(len(patches) for patches in flat)
    # The smaller kind is repeated.
    drawn = [patches[np.resize(rng.permutation(len(patches)), n)] for patches in flat]
    return np.concatenate(drawn), np.repeat([[1.0], [0.0]], n, axis=0).astype(np.float32)


def _classifier(shape: tuple[int, ...]) -> keras.Model:
    layers = keras.layers
    layout = {"padding": "same", "data_format": "channels_last", "dtype": "float32"}
    stack: list[keras.layers.Layer] = [layers.Input(shape)]
    for i, width in enumerate(_WIDTHS):
        # Full resolution first: speckle and blur are matters of single pixels.
        stack += [layers.Conv2D(width, 3, strides=1 + (i > 0), **layout), layers.LeakyReLU(0.2, dtype="float32")]
    pooling = layers.GlobalAveragePooling2D(data_format="channels_last", dtype="float32")
    return keras.Sequential([*stack, pooling, layers.Dropout(0.2), layers.Dense(1, dtype="float32")])
