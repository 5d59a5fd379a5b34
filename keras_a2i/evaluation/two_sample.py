"""Whether a classifier distinguishes patches of generated images from patches of real ones."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_a2i.evaluation.pairs import Rows, chunks_of, rows_that_fit
from keras_a2i.evaluation.train_network import train_network
from keras_a2i.media.conversion import from_uint8

PATCH_SIZE = 32
PATCHES_PER_IMAGE = 8
STEPS, WHOLE_STEPS = 250, 160
CUTS = 3
PATCH_WIDTHS, WHOLE_WIDTHS = (24, 32, 48), (24, 32, 48, 64)
"""Outputs of the classifier's convolutions, each of which, after the first, halves the side: with four, the last one
receives most of a patch, so that it recognises what can't be beside each other."""
# A classifier that is this sure of what it was trained on tells the two kinds apart.
_LEARNED = 0.02


def draw_patches(images: Rows, rows: np.ndarray, seed: int) -> np.ndarray:
    """Cuts patches at random places, half of them mirrored; of images up to 32 pixels, the whole image.

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
    for chunk in chunks_of(len(rows), rows_that_fit(images)):
        for image in images[rows[chunk]]:
            corners = rng.integers(0, size - side + 1, (PATCHES_PER_IMAGE, 2))
            mirrored = rng.random(PATCHES_PER_IMAGE) < 0.5
            patches = np.stack([image[y : y + side, x : x + side] for y, x in corners])
            patches[mirrored] = patches[mirrored][:, :, ::-1]
            found.append(from_uint8(patches) if patches.dtype == np.uint8 else patches)
    return np.stack(found)


def two_sample_error(
    real: np.ndarray,
    generated: np.ndarray,
    seed: int,
    *,
    cuts: int = CUTS,
    steps: int = STEPS,
    widths: tuple[int, ...] = PATCH_WIDTHS,
) -> float:
    """Trains classifiers of patches and returns their equal error rate on images that they weren't trained on.

    Args:
        real, generated: float32 (n, patches, side, side, channels), from `draw_patches`, of four images or more each.
        seed: of the cuts and of the initial weights.
        cuts: number of random cuts into a half to train on and a half to judge; single ones vary by 10 points.
        steps: training steps for each.
        widths: outputs of the classifier's convolutions: `PATCH_WIDTHS`, or `WHOLE_WIDTHS` for whole images.

    Returns:
        The mean over the cuts, in [0, 1]: 0.5 if the classifier can't distinguish them.
    """
    errors = []
    for cut in range(cuts):
        rng = np.random.default_rng([seed, cut])
        halves = [np.array_split(rng.permutation(len(patches)), 2) for patches in (real, generated)]
        known, others = zip(*halves, strict=True)
        keras.utils.set_random_seed(seed + cut)
        classifier = _classifier(real.shape[2:], widths)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        train_network(classifier, loss, *_balanced(real, generated, known, rng), steps, stop_below=_LEARNED)
        errors.append(_error_of(classifier, *_balanced(real, generated, others, rng)))
    return float(np.mean(errors))


def equal_error_rate(scores: np.ndarray, is_real: np.ndarray) -> float:
    """Returns the error rate at the threshold where as many real as generated patches are taken for the other.

    Args:
        scores: float (n,), finite, higher for what is taken to be real.
        is_real: bool (n,), with both values among them.
    """
    order = np.argsort(-scores)
    sorted_scores, real = scores[order], is_real[order]
    # Equal scores lie on one side of every threshold.
    ends = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    missed = np.append(1.0, 1 - np.cumsum(real)[ends] / real.sum())
    mistaken = np.append(0.0, np.cumsum(~real)[ends] / (~real).sum())
    gap = missed - mistaken
    after = int(np.flatnonzero(gap <= 0)[0])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(mistaken[after - 1] + share * (mistaken[after] - mistaken[after - 1]))


def _error_of(classifier: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    # Eagerly: a function traced for a few batches would cost more than it saves.
    scores = [keras.ops.convert_to_numpy(classifier(x[i : i + 256], training=False)) for i in range(0, len(x), 256)]
    return equal_error_rate(np.concatenate(scores)[:, 0], y[:, 0] > 0)


def _balanced(
    real: np.ndarray, generated: np.ndarray, rows: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """As many patches of each kind, in one array, and 1 for the real ones, float32 (n, 1).

    Args:
        real, generated: patches by image.
        rows: numbers of the images of each kind.
        rng: of the order.
    """
    each, shape = real.shape[1], real.shape[2:]
    numbers = [(of_kind[:, None] * each + np.arange(each)).ravel() for of_kind in rows]
    n = max(map(len, numbers))
    found = np.empty((2 * n, *shape), np.float32)
    for i, (patches, of_kind) in enumerate(zip((real, generated), numbers, strict=True)):
        # The smaller kind is repeated.
        drawn = of_kind[np.resize(rng.permutation(len(of_kind)), n)]
        # With the mode "raise", NumPy would copy into a buffer first.
        np.take(patches.reshape(-1, *shape), drawn, axis=0, out=found[i * n : (i + 1) * n], mode="clip")
    return found, np.repeat([[1.0], [0.0]], n, axis=0).astype(np.float32)


def _classifier(shape: tuple[int, ...], widths: tuple[int, ...]) -> keras.Model:
    layers = keras.layers
    layout = {"padding": "same", "data_format": "channels_last", "dtype": "float32"}
    stack: list[keras.layers.Layer] = [layers.Input(shape)]
    for i, width in enumerate(widths):
        # Full resolution first: speckle and blur are matters of single pixels.
        stack += [layers.Conv2D(width, 3, strides=1 + (i > 0), **layout), layers.LeakyReLU(0.2, dtype="float32")]
    pooling = layers.GlobalAveragePooling2D(data_format="channels_last", dtype="float32")
    return keras.Sequential([*stack, pooling, layers.Dropout(0.2, dtype="float32"), layers.Dense(1, dtype="float32")])
