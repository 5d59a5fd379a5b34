"""Gains with intervals that respect neighbours in time, leaks between splits, and retrieval."""

import numpy as np

from keras_a2i.evaluation.pairs import Pairs
from keras_a2i.evaluation.report_data import Gain, Leak, Retrieval

N_RESAMPLES = 4000
BLOCK_PAIRS = 5
LEAK_SECONDS = 2.0
_THUMBNAIL = 32


def source_blocks(pairs: Pairs, length: int = BLOCK_PAIRS) -> list[np.ndarray]:
    """Rows of neighbouring pairs of one source, `length` at a time: what is resampled together."""
    blocks = []
    for source in dict.fromkeys(pairs.sources):
        rows = np.flatnonzero(pairs.sources == source)
        rows = rows[np.argsort(pairs.times[rows], kind="stable")]
        blocks += [rows[start : start + length] for start in range(0, len(rows), length)]
    return blocks


def paired_gain(
    model: np.ndarray,
    other: np.ndarray,
    better: str,
    blocks: list[np.ndarray],
    *,
    against: str,
    metric: str,
    seed: int = 0,
) -> Gain:
    """The mean gain of the model over another predictor, with a block bootstrap's interval and p-value.

    Args:
        model, other: the metric of each pair.
        better: "higher" or "lower".
        blocks: rows that are resampled together.
        against, metric: names, kept in the result.
        seed: of the resampling.

    Returns:
        Positive where the model is better. The p-value is the two-sided share of resampled means on the other side of
        zero, at least 1 / (resamples + 1); where every pair is equal it is 1.
    """
    gains = (model - other) if better == "higher" else (other - model)
    sums = np.array([gains[rows].sum() for rows in blocks])
    sizes = np.array([len(rows) for rows in blocks])
    drawn = np.random.default_rng(seed).integers(0, len(blocks), (N_RESAMPLES, len(blocks)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min((means <= 0).sum(), (means >= 0).sum())
    p_value = min(1.0, 2 * (tail + 1) / (N_RESAMPLES + 1))
    return Gain(
        against=against,
        metric=metric,
        mean=float(gains.mean()),
        low=float(low),
        high=float(high),
        p_value=float(p_value),
    )


def find_leak(train: Pairs, held_out: Pairs, within: float = LEAK_SECONDS) -> Leak:
    """Counts held-out pairs with a training pair of the same source at most `within` seconds away."""
    count = 0
    for source in set(held_out.sources):
        known = np.sort(train.times[train.sources == source])
        if len(known):
            times = held_out.times[held_out.sources == source]
            right = np.searchsorted(known, times)
            gaps = np.minimum(
                np.abs(times - known[np.clip(right - 1, 0, len(known) - 1)]),
                np.abs(times - known[np.clip(right, 0, len(known) - 1)]),
            )
            count += int((gaps <= within + 1e-6).sum())
    return Leak(within=within, count=count, total=len(held_out))


def retrieval(generated: np.ndarray, images: np.ndarray) -> Retrieval:
    """How often a generated picture's own target is nearest, by squared error of 32 x 32 thumbnails.

    Args:
        generated: float (n, size, size, channels) in [-1, 1].
        images: the targets, scaled likewise.
    """
    n = len(images)
    made, real = (thumbnails(pictures).reshape(n, -1).astype(np.float64) for pictures in (generated, images))
    distances = (real**2).sum(axis=1) - 2 * made @ real.T
    own = np.diagonal(distances)[:, None]
    # Half of the ties count: a model that gives one picture for everything must score what guessing does.
    rank = (distances < own - 1e-9).sum(axis=1) + ((np.abs(distances - own) <= 1e-9).sum(axis=1) - 1) / 2
    return Retrieval(
        r1=float((rank < 1).mean()), r5=float((rank < 5).mean()), chance_r1=1 / n, chance_r5=min(1.0, 5 / n)
    )


def thumbnails(images: np.ndarray, size: int = _THUMBNAIL) -> np.ndarray:
    """Means over a grid of `size` x `size` cells; smaller pictures come back as they are."""
    n, height, _, channels = images.shape
    if height <= size:
        return images
    cell = height // size
    return images.reshape(n, size, cell, size, cell, channels).mean(axis=(2, 4))
