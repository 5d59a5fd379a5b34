"""Gains with intervals that say what they cover, leaks between splits, and ranks of retrieval."""

import numpy as np

from keras_a2i.evaluation.pairs import Pairs, chunks_of, to_vectors
from keras_a2i.evaluation.report_data import Gain, Interval, Leak, Retrieval

N_RESAMPLES = 4000
BLOCK_PAIRS = 5
MIN_SOURCES = 6
"""Held-out sources from which on they are resampled: fewer don't tell how sources differ."""
LEAK_SECONDS = 2.0


def source_blocks(pairs: Pairs, length: int = BLOCK_PAIRS) -> list[np.ndarray]:
    """Rows of neighbouring pairs of one source, `length` at a time: what is resampled together."""
    blocks = []
    for source in dict.fromkeys(pairs.sources):
        rows = np.flatnonzero(pairs.sources == source)
        rows = rows[np.argsort(pairs.times[rows], kind="stable")]
        blocks += [rows[start : start + length] for start in range(0, len(rows), length)]
    return blocks


def units_of(pairs: Pairs) -> dict[str, list[np.ndarray]]:
    """What to resample, from the narrowest claim to the widest.

    Returns:
        "blocks": rows of up to 5 neighbouring pairs of a source, where a source has several pairs; "sources": all rows
        of a source, where there are `MIN_SOURCES` or more. Where they are the same, "sources" alone.
    """
    names, sources = np.unique(pairs.sources, return_inverse=True)
    whole = [np.flatnonzero(sources == number) for number in range(len(names))]
    if max(map(len, whole)) == 1:
        return {"sources": whole}
    blocks = source_blocks(pairs)
    if len(whole) < MIN_SOURCES:
        return {"blocks": blocks}
    return {"sources": whole} if len(blocks) == len(whole) else {"blocks": blocks, "sources": whole}


def paired_gain(
    model: np.ndarray,
    other: np.ndarray,
    better: str,
    units: dict[str, list[np.ndarray]],
    *,
    against: str,
    metric: str,
    seed: int = 0,
) -> Gain:
    """The mean gain of the model over another contender, with bootstrap intervals and p-values.

    Args:
        model, other: the metric of each pair.
        better: "higher" or "lower".
        units: for each kind of unit the rows that are resampled together, as from `units_of`.
        against, metric: ids, kept in the result.
        seed: of the resampling.

    Returns:
        Positive where the model is better, with one interval for each kind of unit.
    """
    gains = (model - other) if better == "higher" else (other - model)
    intervals = []
    for over, rows in units.items():
        sums = np.array([gains[part].sum() for part in rows])
        sizes = np.array([len(part) for part in rows])
        drawn = np.random.default_rng(seed).integers(0, len(rows), (N_RESAMPLES, len(rows)))
        intervals.append(interval_of(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), over, len(rows)))
    return Gain(against=against, metric=metric, mean=float(gains.mean()), intervals=intervals)


def interval_of(means: np.ndarray, over: str, n: int) -> Interval:
    """The 95 % interval of resampled means.

    The p-value is the two-sided share of resampled means on the other side of zero, at least 1 / (resamples + 1); where
    every pair is equal it is 1.
    """
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min((means <= 0).sum(), (means >= 0).sum())
    p_value = min(1.0, 2 * (tail + 1) / (len(means) + 1))
    return Interval(over=over, n=n, low=float(low), high=float(high), p_value=float(p_value))


def gain_over_seeds(sums: np.ndarray, sizes: np.ndarray, over: str, seed: int = 0) -> tuple[float, Interval]:
    """A mean gain over units (such as sources) and trainings with several seeds, both resampled.

    Args:
        sums: gains added up, (units, seeds).
        sizes: how many pairs each sum is of, (units, seeds).
        over: "sources" or "blocks"; "and seeds" is added where there are several.
        seed: of the resampling.

    Returns:
        The mean over the pairs of all trainings, and its interval.

    Reference:
        Owen, "The pigeonhole bootstrap", 2007: rows and columns are resampled independently.
    """
    random, (n_units, n_seeds) = np.random.default_rng(seed), sums.shape
    units = random.integers(0, n_units, (N_RESAMPLES, n_units))
    trainings = random.integers(0, n_seeds, (N_RESAMPLES, n_seeds))
    means = np.array(
        [
            sums[np.ix_(rows, columns)].sum() / sizes[np.ix_(rows, columns)].sum()
            for rows, columns in zip(units, trainings, strict=True)
        ]
    )
    interval = interval_of(means, f"{over} and seeds" if n_seeds > 1 else over, n_units)
    return float(sums.sum() / sizes.sum()), interval


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


def target_ranks(generated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The rank of each generated image's own target among all, from 1, by squared error of thumbnails.

    Args:
        generated: thumbnails (n, size, size, channels) in [-1, 1].
        real: those of the targets.

    Returns:
        float64 (n,). Of targets at the same distance half count as nearer: one image for everything ranks as guessing.
    """
    # The targets of ten thousand pairs in double precision would be a quarter of the memory of an evaluation.
    ranks = np.empty(len(real))
    for rows in chunks_of(len(real)):
        images, targets = to_vectors(generated[rows]), to_vectors(real[rows])
        own = (np.square(targets).sum(axis=1) - 2 * (images * targets).sum(axis=1))[:, None]
        nearer, equal = np.zeros(len(rows)), np.zeros(len(rows))
        for columns in chunks_of(len(real)):
            others = to_vectors(real[columns])
            distances = np.square(others).sum(axis=1) - 2 * images @ others.T
            nearer += (distances < own - 1e-9).sum(axis=1)
            equal += (np.abs(distances - own) <= 1e-9).sum(axis=1)
        ranks[rows] = 1 + nearer + (equal - 1) / 2
    return ranks


def retrieval(ranks: np.ndarray, sizes: np.ndarray | None = None) -> Retrieval:
    """How often a generated image's own target is nearest, from `target_ranks`.

    Args:
        ranks: (n,).
        sizes: among how many targets each was found, (n,); None is among all.
    """
    sizes = np.array([len(ranks)]) if sizes is None else sizes
    return Retrieval(
        r1=float((ranks < 2).mean()),
        r5=float((ranks < 6).mean()),
        chance_r1=float((1 / sizes).mean()),
        chance_r5=float(np.minimum(1.0, 5 / sizes).mean()),
    )
