"""Cross-fades: an even change, a switch, and what they need."""

import dataclasses

import numpy as np
import pytest
from support.evaluation_pairs import evidence_of, make_pairs, real_of

from keras_a2i.evaluation import cross_fade_measures, two_sample_measures
from keras_a2i.evaluation.measures import MEASURES

TIME = 2 * np.pi * np.arange(800) / 800
SILENT = "it needs held-out clips of at least two sources that aren't silent"
TONES = np.float32([0.5 * np.sin(20 * TIME), 0.01 * np.sin(30 * TIME)])
"""Waveforms of the sources a and b, the second 34 dB quieter."""


@pytest.fixture
def faded(monkeypatch):
    """Measures cross-fades of a model that maps the share of b in the audio to a grey level."""
    monkeypatch.setattr(cross_fade_measures, "features_of", lambda _, images: images.reshape(len(images), -1))

    def measured(id, grey_of, waveforms=TONES, n=24):
        train, held_out = make_pairs(40), make_pairs(n, seed=1)
        audio = None if waveforms is None else waveforms[np.arange(n) % 2]

        def predict(inputs):
            amplitudes = inputs @ np.sin(np.outer([20, 30], TIME)).T
            share = amplitudes[:, 1] / amplitudes.sum(axis=1)
            return np.ones((len(inputs), 16, 16, 3), np.float32) * grey_of(share)[:, None, None, None]

        held_out = dataclasses.replace(held_out, waveforms=audio)
        evidence = evidence_of(real_of(held_out), held_out, train, predict_fn=predict, to_inputs=lambda x: x)
        return MEASURES[id].function(evidence)

    return measured


@pytest.mark.parametrize(
    ("grey_of", "expected", "without"),
    [
        (lambda share: share, 0.1, "100 %"),
        (lambda share: np.float64(share > 0.55), 1.0, "0 %"),
        (lambda share: np.clip(share, 0.25, 0.75), 0.2, "100 %"),
        (lambda share: share + 5 * np.exp(-np.square(share - 0.5) * 1e4), 5.1, "0 %"),
    ],
)
def test_largest_step_tells_an_even_change_from_a_switch_whatever_the_loudness(faded, grey_of, expected, without):
    found = faded("cross-fade", grey_of)
    assert (found.value, found.reference) == (pytest.approx(expected, abs=1e-3), 0.1)
    assert f"24 pairs, {without} of them without a step above 35 %" in found.explanation


def test_images_halfway_through_a_cross_fade_are_judged_by_the_classifier(faded, monkeypatch):
    judged = []

    def error(real, generated, seed, *, cuts, steps):
        judged.append(np.unique(generated.round(4)))
        return 0.25

    monkeypatch.setattr(two_sample_measures, "two_sample_error", error)
    found = faded("two-sample-cross-fade", lambda share: share)
    assert found.value == 0.25 and "120 images" in found.explanation
    np.testing.assert_allclose(judged[0], [0.3, 0.4, 0.5, 0.6, 0.7], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"waveforms": None}, "the records hold no audio"),
        ({"waveforms": TONES * 0}, SILENT),
        ({"waveforms": TONES * np.float32([[1], [0]])}, SILENT),
        ({"n": 10}, "it needs at least 40 training and 20 held-out pairs"),
        ({"grey_of": np.zeros_like}, "the model generates the same image for all of these clips"),
    ],
)
def test_reasons_why_there_is_no_cross_fade(faded, options, reason):
    assert faded("cross-fade", **{"grey_of": lambda share: share} | options) == reason
