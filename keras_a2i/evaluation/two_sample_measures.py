"""Measures of realism that blur, noise and checkerboards don't satisfy."""

import numpy as np

from keras_a2i.evaluation.measures import Evidence, Value, measure, shared
from keras_a2i.evaluation.pairs import Rows, chunks_of
from keras_a2i.evaluation.realism_measures import MIN_HELD_OUT, TOO_FEW, too_few, train_thumbnails
from keras_a2i.evaluation.two_sample import (
    CUTS,
    PATCH_SIZE,
    STEPS,
    WHOLE_STEPS,
    WHOLE_WIDTHS,
    draw_patches,
    two_sample_error,
)
from keras_a2i.media.conversion import from_uint8
from keras_a2i.spread import spread_rows

_MAX_IMAGES = 256
ONE_LABEL = "the training pairs have fewer than two labels"


@measure("two-sample", "equal error rate, real vs. generated")
def two_sample(evidence: Evidence) -> Value | str:
    """How often a classifier of patches, trained for it, takes generated images for real ones: 50 % is perfect.

    The mean of three cuts into images to train on and images to judge; beside it training images in place of
    generated ones.
    """
    if too_few(evidence):
        return TOO_FEW
    value = error_of_patches(_generated_patches(evidence), evidence)
    words = "realism: 0.5 if a classifier can't distinguish them; reference: training images"
    return Value(value, error_of_real_images(evidence), words)


@measure("two-sample-whole", "equal error rate, whole images")
def two_sample_of_whole_images(evidence: Evidence) -> Value | str:
    """As `two-sample`, for whole images, which are reduced to 32 x 32 pixels.

    The patches of `two-sample` are parts of a larger image: where two scenes adjoin or overlap, each patch can look
    real although the image doesn't.
    """
    if too_few(evidence):
        return TOO_FEW
    if evidence.held_out.images.shape[1] <= PATCH_SIZE:
        return "the patches of these images are whole images already"
    real, generated, train = (
        _views(thumbnails, evidence.seed + i)
        for i, thumbnails in enumerate(
            (evidence.real_thumbnails, evidence.generated_thumbnails, train_thumbnails(evidence))
        )
    )
    value, reference = (
        two_sample_error(of_real, others, evidence.seed, cuts=CUTS, steps=WHOLE_STEPS, widths=WHOLE_WIDTHS)
        for of_real, others in ((np.concatenate([real, train]), generated), (real, train))
    )
    words = f"realism, images reduced to {PATCH_SIZE} x {PATCH_SIZE} pixels; reference: training images"
    return Value(value, reference, words)


@measure("two-sample-labels", "equal error rate, equal labels")
def two_sample_at_equal_labels(evidence: Evidence) -> Value | str:
    """As `two-sample`, against real images of the labels that the generated ones show, in the same shares.

    `two-sample` judges the set of images: a classifier recognises a model that shows one label too often, however good
    each image is. This measure judges the single images. The probe of labels predicts the labels of the generated
    images.
    """
    if too_few(evidence):
        return TOO_FEW
    if evidence.labels is None:
        return ONE_LABEL
    rows = _spread(evidence.generated)
    shown = np.concatenate([evidence.labels.read(evidence.generated[rows[chunk]]) for chunk in chunks_of(len(rows))])
    return error_at_equal_labels(_generated_patches(evidence), shown, evidence, "generated images")


@measure("speckle", "speckle", better="lower")
def speckle(evidence: Evidence) -> Value:
    """Isolated pixels in flat regions: mean difference from the median of the nine around, where these vary least.

    Noise raises speckle and sharpness alike: read the two together.
    """
    generated, real = (
        np.mean([_speckle_of(image) for rows in chunks_of(len(chosen), 16) for image in images[chosen[rows]]])
        for images in (evidence.generated, evidence.held_out.images)
        for chosen in [_spread(images)]
    )
    return Value(generated, real, "deviation of single pixels in flat regions, in grey levels; reference: real images")


def _speckle_of(image: np.ndarray) -> float:
    """Mean absolute difference from the median of nine over the quarter of pixels whose surroundings vary least."""
    grey = (from_uint8(image) if image.dtype == np.uint8 else image).mean(axis=-1)
    size = grey.shape[0]
    padded = np.pad(grey, 1, mode="edge")
    around = np.stack([padded[y : y + size, x : x + size] for y in range(3) for x in range(3)])
    median = np.median(around, axis=0)
    # What one pixel adds doesn't count among its surroundings: the spread of the middle seven of nine.
    spread = np.diff(np.sort(around, axis=0)[[1, 7]], axis=0)[0]
    flat = spread <= np.quantile(spread, 0.25)
    return float(np.abs(grey - median)[flat].mean() * 127.5)


def _spread(images: Rows) -> np.ndarray:
    return spread_rows(images.shape[0], _MAX_IMAGES)


@shared
def _generated_patches(evidence: Evidence) -> np.ndarray:
    return draw_patches(evidence.generated, _spread(evidence.generated), evidence.seed)


def _views(thumbnails: np.ndarray, seed: int) -> np.ndarray:
    """Thumbnails as `draw_patches` returns them: copies of the whole, half of them mirrored."""
    return draw_patches(thumbnails.astype(np.float32, copy=False), _spread(thumbnails), seed)


@shared
def _real_patches(evidence: Evidence) -> np.ndarray:
    """Returns patches of held-out images and, for the classifier to have more to train on, of training images."""
    parts = [evidence.held_out.images, evidence.train.images]
    return np.concatenate([draw_patches(images, _spread(images), evidence.seed + 1) for images in parts])


@shared
def error_of_real_images(evidence: Evidence) -> float:
    """The error rate between held-out and training images."""
    held_out, train = (
        draw_patches(images, _spread(images), evidence.seed + 2)
        for images in (evidence.held_out.images, evidence.train.images)
    )
    return two_sample_error(held_out, train, evidence.seed, cuts=CUTS, steps=STEPS)


def error_of_patches(generated: np.ndarray, evidence: Evidence) -> float:
    """The error rate between patches of generated and of real images, from `draw_patches`."""
    return two_sample_error(_real_patches(evidence), generated, evidence.seed, cuts=CUTS, steps=STEPS)


def error_at_equal_labels(generated: np.ndarray, shown: np.ndarray, evidence: Evidence, name: str) -> Value | str:
    """The error rate between generated images and real ones whose labels have the same shares.

    Args:
        generated: patches of generated images, from `draw_patches`.
        shown: the labels that these images show, str (n,).
        evidence: the real images.
        name: what the generated images are, for the explanation.

    Returns:
        The value, or the reason why there is none.
    """
    parts = (evidence.held_out, evidence.train)
    n_held_out = len(evidence.held_out.labels)
    chosen = _rows_with_shares(np.concatenate([pairs.labels for pairs in parts]), shown, evidence.seed)
    if len(chosen) < MIN_HELD_OUT:
        return f"fewer than {MIN_HELD_OUT} real images have the labels of the {name}, in their proportions"
    of_parts = (chosen[chosen < n_held_out], chosen[chosen >= n_held_out] - n_held_out)
    real = [
        draw_patches(pairs.images, of_part, evidence.seed + 1)
        for pairs, of_part in zip(parts, of_parts, strict=True)
        if len(of_part)
    ]
    value = two_sample_error(np.concatenate(real), generated, evidence.seed, cuts=CUTS, steps=STEPS)
    words = f"realism, {len(chosen)} real images with the label proportions of the {name}; reference: training images"
    return Value(value, error_of_real_images(evidence), words)


def _rows_with_shares(labels: np.ndarray, shown: np.ndarray, seed: int) -> np.ndarray:
    """As many row numbers as possible, up to 512, whose labels have the shares that they have in `shown`."""
    rng = np.random.default_rng(seed)
    names, counts = np.unique(shown, return_counts=True)
    available = [rng.permutation(np.flatnonzero(labels == name)) for name in names]
    most = min(len(rows) / count for rows, count in zip(available, counts, strict=True))
    factor = min(most, 2 * _MAX_IMAGES / len(shown))
    return np.concatenate([rows[: round(factor * count)] for rows, count in zip(available, counts, strict=True)])
