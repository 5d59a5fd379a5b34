"""A matrix product with mel filters that skips most of their zeros."""

import itertools
from typing import Any

import numpy as np
from keras import ops

_N_OCTAVES = 4


def banded_matmul(x: Any, filters: np.ndarray) -> Any:
    """Returns `x @ filters`, computed octave by octave: the bins of an octave overlap a few neighbouring filters only.

    It needs a quarter of the multiplications and of the constants, which are most of what feature layers add to an
    exported file.

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
        used = np.flatnonzero(filters[low:high].any(axis=0))
        if not len(used):
            continue
        first, last = int(used[0]), int(used[-1]) + 1
        part = ops.matmul(x[..., low:high], ops.convert_to_tensor(filters[low:high, first:last].astype(np.float32)))
        part = ops.pad(part, [(0, 0)] * (len(x.shape) - 1) + [(first, n_filters - last)])
        total = part if total is None else total + part
    return total
