"""Temperature, evidence and threshold against references and constructed logits."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from keras_a2i.errors import ModelError
from keras_a2i.models.label_calibration import (
    LabelCalibration,
    choose_threshold,
    evidence_of,
    fit_calibration,
    fit_temperature,
    probabilities_of,
)


def drawn(temperature, n=4000, n_labels=5, seed=0):
    """Logits, and labels that are drawn from their softmax at a temperature."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((n, n_labels))
    scaled = scipy.special.softmax(logits / temperature, axis=1)
    return logits, np.array([rng.choice(n_labels, p=row) for row in scaled])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_recovered_and_equals_scipy_s_minimum(temperature):
    logits, targets = drawn(temperature)

    def loss(log_temperature):
        found = scipy.special.log_softmax(logits / np.exp(log_temperature), axis=1)
        return -found[np.arange(4000), targets].mean() * (1 - 1 / 4002) - found.mean() / 4002

    found = fit_temperature(logits, targets, np.zeros(4000))
    expected = np.exp(scipy.optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
    assert found == pytest.approx(expected, rel=2e-3) and found == pytest.approx(temperature, rel=0.1)


def test_every_source_counts_the_same():
    sharp, blurred = drawn(0.5, 3000), drawn(3.0, 300, seed=1)
    logits, targets = (np.concatenate(parts) for parts in zip(sharp, blurred, strict=True))
    together = fit_temperature(logits, targets, np.zeros(3300))
    by_source = fit_temperature(logits, targets, np.repeat(["sharp", "blurred"], [3000, 300]))
    repeated = [np.concatenate([sharp[i], *[blurred[i]] * 10]) for i in range(2)]
    assert together < 0.8 * by_source
    assert by_source == pytest.approx(fit_temperature(*repeated, np.zeros(6000)), rel=1e-2)


def test_held_out_pairs_that_are_all_right_leave_the_confidence_below_certainty():
    logits = 8 * np.eye(4)[np.arange(200) % 4]
    temperature = fit_temperature(logits, np.arange(200) % 4, np.zeros(200))
    assert probabilities_of(logits, temperature).max(axis=1).mean() == pytest.approx(1 - 0.75 / 202, abs=1e-4)


def test_probabilities_and_evidence_equal_scipy_for_large_logits():
    logits = np.random.default_rng(0).normal(0, 300, (20, 6))
    np.testing.assert_allclose(probabilities_of(logits, 2.0), scipy.special.softmax(logits / 2, axis=1), atol=1e-6)
    np.testing.assert_allclose(evidence_of(logits), scipy.special.logsumexp(logits, axis=1), rtol=1e-6)


def test_threshold_maximises_the_difference_within_a_tenth_of_own_clips():
    rng = np.random.default_rng(0)
    own, foreign = rng.normal(2, 1, 200), rng.normal(0, 1, 150)
    threshold = choose_threshold(own, foreign)
    shares = {t: ((own < t).mean(), (foreign < t).mean()) for t in np.linspace(-4, 5, 5000)}
    best = max(there - here for here, there in shares.values() if here <= 0.1)
    assert (foreign < threshold).mean() - (own < threshold).mean() == pytest.approx(best)
    assert (own < threshold).mean() <= 0.1
    # Where they are far apart, between them.
    assert 1 < choose_threshold(np.array([2.0, 3.0]), np.array([0.0, 1.0])) < 2
    assert choose_threshold(np.array([0.0, 1.0]), np.array([2.0, 3.0])) is None
    assert choose_threshold(own, own) is None


def test_calibration_without_foreign_audio_has_no_threshold():
    logits, targets = drawn(2.0, 500)
    assert fit_calibration(logits, targets, np.zeros(500)).threshold is None
    assert fit_calibration(logits, targets, np.zeros(500), logits - 20).threshold < evidence_of(logits).min()
    with pytest.raises(ModelError, match=r"temperature must be above 0.*temperature=0"):
        LabelCalibration(temperature=0)
    with pytest.raises(ModelError, match="threshold=nan"):
        LabelCalibration(threshold=float("nan"))
