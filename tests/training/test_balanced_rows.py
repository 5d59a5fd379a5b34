"""Every label has its share of the stored images."""

import numpy as np
import pytest

from keras_a2i.training.balanced_rows import balanced_rows


@pytest.mark.parametrize(
    ("counts", "n", "expected"),
    [
        ([10, 10], 6, [3, 3]),
        ([100, 2, 1], 9, [6, 2, 1]),
        ([4, 4, 4], 12, [4, 4, 4]),
        ([5, 5, 5], 4, [2, 1, 1]),
        ([5, 5, 5], 2, [1, 1, 0]),
        ([7], 1, [1]),
    ],
)
def test_labels_have_equal_shares_as_far_as_they_have_rows(counts, n, expected):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = balanced_rows(labels, n)
    assert np.array_equal(rows, np.unique(rows)) and len(rows) == n
    assert np.bincount(labels[rows], minlength=len(counts)).tolist() == expected


def test_rows_of_a_label_are_spread_evenly():
    labels = np.arange(100) % 2
    np.testing.assert_array_equal(balanced_rows(labels, 6), [0, 1, 48, 49, 98, 99])
