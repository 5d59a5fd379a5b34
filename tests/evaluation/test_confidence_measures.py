"""Calibration error and the answer "unknown" by value: reliable and overconfident models, known and foreign audio."""

import dataclasses

import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from support.evaluation_pairs import make_pairs, measured, real_of

import keras_a2i.evaluation.evaluate  # noqa: F401  It registers the measures.
from keras_a2i.evaluation.confidence_measures import area_under_curve, calibration_error, split_by_source
from keras_a2i.media.audio_folder import FolderClips

LABELS = ("x", "y", "z")


def test_calibration_error_of_a_hand_made_case():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    targets = np.array([0, 0, 0, 1, 1, 1])
    # Three of four right at 0.95, none of two at 0.55.
    assert calibration_error(probabilities, targets) == pytest.approx((4 * 0.2 + 2 * 0.55) / 6)
    # The edges of the bins belong to the lower ones: 0.5 and 0.41 lie in one.
    edges = np.array([[0.5, 0.5, 0.0], [0.41, 0.3, 0.29], [1.0, 0.0, 0.0]])
    assert calibration_error(edges, np.array([0, 1, 0])) == pytest.approx(abs(1 - 0.91) / 3)


def test_area_under_curve_equals_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    own, foreign = rng.integers(2, 9, 60), rng.integers(0, 7, 40)
    expected = sklearn.metrics.roc_auc_score(np.repeat([1, 0], [60, 40]), np.concatenate([own, foreign]))
    assert area_under_curve(own, foreign) == pytest.approx(expected)


def test_sources_and_blocks_are_split_whole():
    sources = np.array(["a"] * 3 + ["b"] * 4 + ["c"] * 2)
    assert split_by_source(sources).tolist() == [False] * 3 + [True] * 4 + [False] * 2
    assert np.flatnonzero(np.diff(split_by_source(np.zeros(40)))).tolist() == [9, 19, 29]


@pytest.fixture
def subject():
    """Makes options of evidence of a model whose logits are the first three features, times a factor."""
    rng = np.random.default_rng(0)
    held_out = make_pairs(800)
    features = np.concatenate([3 * rng.standard_normal((800, 3)), np.zeros((800, 3))], axis=1)
    targets = [rng.choice(3, p=row) for row in scipy.special.softmax(features[:, :3], axis=1)]
    held_out = dataclasses.replace(held_out, inputs=features, labels=np.array(LABELS)[targets])
    train = dataclasses.replace(make_pairs(10), waveforms=np.zeros((10, 800), np.float32))

    def make(factor=1.0, foreign=(-20.0, -20.0)):
        clips = FolderClips("other", np.repeat(np.array(foreign, np.float32), 10)[:, None].repeat(6, 1), 2, [])

        def to_inputs(waveforms):
            # Rendered audio has little evidence.
            return waveforms if waveforms.shape[1] == 6 and len(waveforms) == 20 else np.full((len(waveforms), 6), -9.0)

        classes = {"classes": LABELS, "classify": lambda x: factor * np.asarray(x)[:, :3]}
        return held_out, {"train": train, "to_inputs": to_inputs, "foreign": clips, **classes}

    return make


@pytest.mark.parametrize("factor", [1.0, 4.0, 0.3])
def test_calibration_error_is_small_whatever_the_scale_of_the_logits(subject, factor):
    held_out, options = subject(factor)
    found = measured("calibration", real_of(held_out), held_out, **options)
    assert found.value < 0.04 and found.value < found.reference + 0.02
    assert "10 bins, 800 pairs" in found.explanation
    raw = calibration_error(
        scipy.special.softmax(factor * held_out.inputs[:, :3], axis=1),
        np.array([LABELS.index(label) for label in held_out.labels]),
    )
    assert f"{raw:.3f}; reference: perfect" in found.explanation
    assert raw > 0.1 or factor == 1


def test_foreign_audio_without_evidence_is_called_unknown(subject):
    held_out, options = subject()
    known = measured("known-foreign", real_of(held_out), held_out, **options)
    assert (known.value, known.reference) == (1, 0.5) and "20 clips of other" in known.explanation
    unknown = measured("unknown-foreign", real_of(held_out), held_out, **options)
    assert unknown.value == 1 and unknown.reference < 0.1
    held_out, options = subject(foreign=(-20.0, 30.0))
    assert measured("unknown-foreign", real_of(held_out), held_out, **options).value == 0.5
    assert measured("known-foreign", real_of(held_out), held_out, **options).value == pytest.approx(0.5, abs=0.01)


def test_measures_of_confidence_say_why_they_are_left_out(subject):
    held_out, options = subject()
    without = options | {"classify": None}
    for name in ("calibration", "known-foreign", "unknown-foreign"):
        assert "doesn't predict the labels" in measured(name, real_of(held_out), held_out, **without)
        few = dataclasses.replace(held_out, labels=np.array(["other"] * 790 + ["x"] * 10))
        assert "20 held-out pairs" in measured(name, real_of(few), few, **options)
    silent = options | {"foreign": None, "train": make_pairs(10)}
    assert measured("unknown-foreign", real_of(held_out), held_out, **silent) == "the records hold no audio"
    assert measured("calibration", real_of(held_out), held_out, **silent).value < 0.04
