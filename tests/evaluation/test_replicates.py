"""Scores over replicates: intervals of the mean, and columns of what some runs lack."""

import math

import numpy as np
import pytest
from scipy import stats

from keras_a2i.evaluation.replicates import Value, gather_scores, student_interval


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 11, 20, 51])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_student_interval_equals_scipy(n, level):
    values = np.random.default_rng(n).normal(3.0, 0.1, n)
    expected = stats.t.interval(level, n - 1, values.mean(), stats.sem(values))
    assert student_interval(values, level) == pytest.approx(expected, rel=1e-9)


def test_interval_of_one_value_is_not_invented():
    assert all(map(math.isnan, [*student_interval([0.5]), *student_interval([])]))
    assert student_interval([0.5, 0.5]) == (0.5, 0.5)


def test_scores_keep_their_order_and_rows_without_them_are_empty():
    rows = [[{"a": Value("A", "higher", 1.0)}, {"a": Value("A", "higher", 2.0), "b": Value("B", "", 5.0)}], [{}]]
    a, b = gather_scores(rows)
    assert (a.id, a.title, a.better, a.values) == ("a", "A", "higher", ((1.0, 2.0), ()))
    assert a.means[0] == 1.5 and a.spreads[0] == pytest.approx(np.std([1, 2], ddof=1))
    assert b.values == ((5.0,), ()) and math.isnan(a.means[1]) and math.isnan(b.spreads[0])
    assert gather_scores([]) == [] and list(b.to_columns()) == ["b", "b_std", "b_low", "b_high"]
