"""Measures on constructed models: those that follow the audio, that ignore it, and that cheat."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import pairwise_distances
from support.evaluation_pairs import evidence_of, make_pairs, measured, real_of, striped

import keras_a2i.evaluation.evaluate  # noqa: F401  It registers the measures.
from keras_a2i.evaluation import measures, realism_measures, response_measures
from keras_a2i.evaluation import pairs as pairs_module
from keras_a2i.evaluation.contenders import shuffled_rows
from keras_a2i.evaluation.measures import MEASURES, Value, compute_measures, measure
from keras_a2i.evaluation.pairs import scaled


def test_swapped_is_1_for_images_that_follow_the_audio_and_half_for_constant_ones():
    held_out = make_pairs(40)
    real = real_of(held_out)
    assert measured("swapped", real, held_out, seed=3).value == 1
    donors = shuffled_rows(40, 3)
    ignoring = np.empty_like(real)
    ignoring[donors] = real
    assert measured("swapped", ignoring, held_out, seed=3).value == 0
    assert measured("swapped", np.zeros_like(real), held_out, seed=3).value == pytest.approx(0.5, abs=0.2)
    half = np.where(np.arange(40)[:, None, None, None] < 20, real, ignoring)
    assert measured("swapped", half, held_out, seed=3).value == 0.5


def test_galleries_are_of_120_where_there_are_more():
    held_out = make_pairs(150)
    real = real_of(held_out)
    found = measured("gallery", real, held_out)
    assert (found.title, found.value, found.reference) == ("recall@1, generated to real image, among 120", 1, 1 / 120)
    constant = measured("gallery", np.zeros_like(real), held_out)
    assert constant.value == pytest.approx(1 / 120, abs=1e-3)
    assert measured("gallery", real[:10], make_pairs(10)).title == "recall@1, generated to real image, among 10"


def test_thumbnails_of_many_images_are_kept_in_half_precision(monkeypatch):
    held_out, train = make_pairs(60), make_pairs(60, seed=1)
    generated = np.float32(0.9) * real_of(held_out)
    ids = ("swapped", "gallery", "memorisation")
    exact = [measured(id, generated, held_out, train=train).value for id in ids]
    monkeypatch.setattr(measures, "_MAX_IN_FLOAT32", 59)
    evidence = evidence_of(generated, held_out, train=train)
    assert evidence.real_thumbnails.dtype == evidence.generated_thumbnails.dtype == np.float16
    np.testing.assert_allclose(evidence.generated_thumbnails, generated, atol=1 / 16 / 127.5)
    for id, value in zip(ids, exact, strict=True):
        assert MEASURES[id].function(evidence).value == pytest.approx(value, abs=1e-4)
    monkeypatch.setattr(realism_measures, "FEATURE_STEPS", 5)
    assert np.isfinite(realism_measures.features_of(evidence, evidence.real_thumbnails)).all()


def test_rank_correlation_equals_scipy_with_ties():
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(0, 4, (2, 7)).astype(float)
        if np.ptp(x) and np.ptp(y):
            expected = scipy.stats.spearmanr(x, y).statistic
            assert response_measures._rank_correlation(x, y) == pytest.approx(expected)


def test_variety_is_relative_to_real_images_of_the_label(monkeypatch):
    rng = np.random.default_rng(0)
    held_out = make_pairs(40, labels=["x", "y"] * 20)

    def sample(spread):
        def draw(inputs, n, seed):
            assert (n, seed) == (8, 5)
            noise = rng.integers(0, 256, (len(inputs), n, 16, 16, 3), dtype=np.uint8)
            return spread * scaled(noise)

        return draw

    for spread in (1.0, 0.5, 0.0):
        found = measured("variety", real_of(held_out), held_out, sample=sample(spread), seed=5)
        assert found.value == pytest.approx(spread, abs=0.02)
    monkeypatch.setattr(response_measures, "MEMORY_BUDGET", 1)
    found = measured("variety", real_of(held_out), held_out, sample=sample(0.5), seed=5)
    assert found.value == pytest.approx(0.5, abs=0.02)


def test_samples_are_named_by_the_probe_of_labels():
    held_out = make_pairs(40, labels=["x", "y"] * 20)

    class Probe:
        def read(self, images):
            return np.array(["x"] * len(images))

    options = {"sample": lambda inputs, n, seed: np.zeros((len(inputs), n, 16, 16, 3)), "labels": Probe()}
    named = measured("sample-labels", real_of(held_out), held_out, **options)
    assert (named.value, named.reference) == (0.5, 0.5)


def test_alignment_counts_the_pair_and_the_label():
    held_out = make_pairs(150, labels=["x", "y", "y"] * 50)
    vectors = np.random.default_rng(0).standard_normal((150, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def values_of(audio, images, monkeypatched=pairs_module):
        evidence = evidence_of(real_of(held_out), held_out, embedders=(lambda _: audio, lambda _: images))
        return [MEASURES[id].function(evidence) for id in ("audio-to-image", "image-to-audio", "audio-to-label")]

    there, back, label = values_of(vectors, vectors)
    assert (there.value, back.value, label.value) == (1, 1, 1) and there.reference == 0.01
    assert there.title == "recall@1, audio to image, among 100"
    assert label.reference == pytest.approx(1 / 9 + 4 / 9)
    classes = np.where(np.array(held_out.labels)[:, None] == "x", [[1.0, 0.0]], [[0.0, 1.0]])
    there, _, label = values_of(classes, classes)
    assert label.value == 1 and there.value == pytest.approx(2 / 100, abs=0.005)
    there, *_ = values_of(vectors, np.roll(vectors, 1, axis=0))
    assert there.value < 0.005


def test_copied_training_images_have_memorisation_ratio_0():
    train, held_out = make_pairs(60), make_pairs(30, seed=1)
    copies = real_of(train)[:30]
    found = measured("memorisation", copies, held_out, train=train)
    assert found.value == 0 and found.reference == pytest.approx(1, abs=0.05)
    fresh = measured("memorisation", real_of(make_pairs(30, seed=2)), held_out, train=train)
    assert fresh.value == pytest.approx(1, abs=0.05)
    distances = pairwise_distances(real_of(train).reshape(60, -1)) / np.sqrt(768)
    np.fill_diagonal(distances, np.inf)
    between = pairwise_distances(real_of(held_out).reshape(30, -1), real_of(train).reshape(60, -1)) / np.sqrt(768)
    expected = np.median(between.min(axis=1)) / np.median(distances.min(axis=1))
    assert found.reference == pytest.approx(expected, rel=1e-4)


def test_memorisation_is_left_out_where_training_images_repeat():
    train = make_pairs(20)
    train = dataclasses.replace(train, images=train.images[:1].repeat(20, axis=0))
    reason = measured("memorisation", real_of(make_pairs(5)), make_pairs(5), train=train)
    assert reason == "most training images have an identical copy in the training set"


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_one_repeated_image_has_low_coverage():
    train, held_out = striped(120, 0), striped(60, 1)
    real = real_of(held_out)
    perfect = evidence_of(real, held_out, train)
    density, coverage = (MEASURES[id].function(perfect) for id in ("density", "coverage"))
    assert coverage.value == 1 and density.value >= 1 and coverage.reference > 0.8
    repeated = evidence_of(real[:1].repeat(60, axis=0), held_out, train)
    assert MEASURES["coverage"].function(repeated).value < 0.3
    noise = np.random.default_rng(0).uniform(-1, 1, real.shape).astype(np.float32)
    unreal = evidence_of(noise, held_out, train)
    assert MEASURES["density"].function(unreal).value < 0.1 and MEASURES["coverage"].function(unreal).value < 0.1
    assert "40 training and 20 held-out" in measured("coverage", real[:10], make_pairs(10))


def test_neighbourhoods_equal_scikit_learn():
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(50, 6)), rng.normal(size=(30, 6))
    radii = np.sort(pairwise_distances(real), axis=1)[:, 5]
    np.testing.assert_array_equal(
        realism_measures.neighbourhoods(real, other, 5), pairwise_distances(real, other) <= radii[:, None]
    )


@pytest.mark.training
def test_image_encoder_of_one_seed_is_the_same(monkeypatch):
    monkeypatch.setattr(realism_measures, "FEATURE_STEPS", 6)
    images = real_of(striped(64, 0))[:, :16, :16]
    first, again = (realism_measures.train_image_encoder(images, seed=4) for _ in range(2))
    assert first.input_shape == (None, 16, 16, 3)
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_measure_added_by_its_decorator_is_computed(monkeypatch):
    monkeypatch.setattr("keras_a2i.evaluation.measures.MEASURES", {})

    @measure("mean", "mean value", better="one")
    def mean(evidence):
        return Value(np.mean(evidence.generated), 0.0, "of all pixels")

    @measure("none", "nothing")
    def none(evidence):
        return "there is nothing to measure"

    held_out = make_pairs(4)
    results, skipped = compute_measures(evidence_of(np.ones((4, 16, 16, 3), np.float32), held_out))
    assert [(r.id, r.title, r.value, r.better) for r in results] == [("mean", "mean value", 1.0, "one")]
    assert skipped == {"none": "there is nothing to measure"}
    assert keras.backend.backend()
