"""A matrix product with mel filters that skips most of their zeros."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

_N_OCTAVES = 4
_MAX_NUMBERS = 1023
"""Of one matrix: TFLite leaves constants of fewer than 1,024 numbers in float32 where it quantises weights to int8.
Spectral power spans about ten orders of magnitude, and a product with int8 would lose all but the loudest two."""


def banded_matmul(x: Any, filters: np.ndarray) -> Any:
    """Returns `x @ filters`, computed band by band: the bins of a band overlap a few neighbouring filters only.

    Bands are octaves, the highest of them divided further. It needs a quarter of the multiplications and of the
    constants, which are most of what feature layers add to an exported file.

    Args:
        x: float32 (..., n_bins).
        filters: (n_bins, n_filters), columns in the order of their bins.

    Returns:
        float32 (..., n_filters).
    """
    n_bins, n_filters = filters.shape
    total = None
    edges = [0, *(n_bins >> octave for octave in range(_N_OCTAVES - 1, -1, -1))]
    for low, high in itertools.pairwise(edges):
        for start, stop, first, last in _bands(filters, low, high):
            part = ops.matmul(
                x[..., start:stop], ops.convert_to_tensor(filters[start:stop, first:last].astype(np.float32))
            )
            part = ops.pad(part, [(0, 0)] * (len(x.shape) - 1) + [(first, n_filters - last)])
            total = part if total is None else total + part
    return total


def _bands(filters: np.ndarray, low: int, high: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields bands of bins as (first bin, end of the bins, first filter, end of the filters)."""
    used = np.flatnonzero(filters[low:high].any(axis=0))
    if not len(used):
        return
    first, last = int(used[0]), int(used[-1]) + 1
    if (high - low) * (last - first) <= _MAX_NUMBERS or high - low == 1:
        yield low, high, first, last
        return
    middle = (low + high) // 2
    yield from _bands(filters, low, middle)
    yield from _bands(filters, middle, high)
