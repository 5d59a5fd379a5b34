"""Choosing pairs so that every label has its share."""

import numpy as np

from keras_a2i.spread import spread_rows


def balanced_rows(labels: np.ndarray, n: int) -> np.ndarray:
    """Chooses rows evenly, the same number of each label as far as there are that many.

    Args:
        labels: label number of every row, int (count,).
        n: number of rows to choose, from 1 up to count.

    Returns:
        Row numbers in ascending order, int (n,).
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    counts = np.array([len(rows) for rows in members])
    share = max(t for t in range(n + 1) if np.minimum(counts, t).sum() <= n)
    quotas = np.minimum(counts, share)
    # What is left over goes to the first labels that have more.
    quotas[np.flatnonzero(counts > share)[: n - quotas.sum()]] += 1
    chosen = [rows[spread_rows(len(rows), quota)] for rows, quota in zip(members, quotas, strict=True)]
    return np.sort(np.concatenate(chosen))
