"""Choosing a few of many, evenly spread."""

import numpy as np


def spread_rows(n: int, most: int) -> np.ndarray:
    """Returns up to `most` row numbers, ascending, spread evenly over n rows, from the first to the last."""
    return np.unique(np.linspace(0, n - 1, most).astype(int)) if n > most else np.arange(n)
