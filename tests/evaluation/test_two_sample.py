"""The classifier of patches tells degraded images from real ones; foreign audio is varied and repeatable."""

import dataclasses

import numpy as np
import pytest
import scipy.ndimage
from support.evaluation_pairs import evidence_of, make_pairs, measured, real_of, striped
from support.image_frauds import blurred, checkered, collaged, overlaid, repeated, speckled

from keras_a2i.datasets.foreign_audio import KINDS, _speech, _syllable, foreign_audio
from keras_a2i.datasets.surf import SurfSource
from keras_a2i.evaluation import two_sample_measures
from keras_a2i.evaluation.measures import MEASURES
from keras_a2i.evaluation.two_sample import (
    PATCHES_PER_IMAGE,
    WHOLE_STEPS,
    WHOLE_WIDTHS,
    draw_patches,
    equal_error_rate,
    two_sample_error,
)
from keras_a2i.evaluation.two_sample_measures import _rows_with_shares, _speckle_of
from keras_a2i.media.conversion import from_uint8


def test_equal_error_rate_is_where_both_kinds_of_errors_are_equal():
    is_real = np.array([True] * 5 + [False] * 5)
    assert equal_error_rate(np.arange(10.0)[::-1], is_real) == 0
    assert equal_error_rate(np.arange(10.0), is_real) == 1
    # Two of five real ones lie below two of five others.
    scores = np.array([9.0, 8, 7, 3, 2, 6, 5, 1, 0.5, 0.2])
    assert equal_error_rate(scores, is_real) == pytest.approx(0.4)
    assert equal_error_rate(np.zeros(10), is_real) == 0.5
    rng = np.random.default_rng(0)
    assert equal_error_rate(rng.standard_normal(4000), np.arange(4000) % 2 == 0) == pytest.approx(0.5, abs=0.03)


def test_patches_are_parts_of_their_images_and_repeat_with_the_seed():
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3)).astype(np.uint8)
    rows = np.array([2, 0])
    patches = draw_patches(images, rows, 5)
    assert patches.shape == (2, PATCHES_PER_IMAGE, 32, 32, 3) and patches.dtype == np.float32
    np.testing.assert_array_equal(patches, draw_patches(images, rows, 5))
    windows = np.lib.stride_tricks.sliding_window_view(from_uint8(images[2]), (32, 32, 3)).reshape(-1, 32, 32, 3)
    for patch in patches[0]:
        assert any(np.array_equal(window, p) for p in (patch, patch[:, ::-1]) for window in windows)
    small = np.zeros((2, 16, 16, 1), np.float32)
    assert draw_patches(small, np.arange(2), 0).shape == (2, PATCHES_PER_IMAGE, 16, 16, 1)


def _rendered(n):
    from keras_a2i.config import FeatureConfig, ImageConfig

    source = SurfSource(n, features=FeatureConfig(), image=ImageConfig(size=32))
    return from_uint8(np.stack([pair.image for unit in source.plan().units for pair in source.read(unit)]))


@pytest.fixture(scope="module")
def shores():
    """Rendered images, float32 (120, 32, 32, 3) in [-1, 1]."""
    return _rendered(120)


@pytest.mark.training
def test_frauds_are_told_from_real_images_and_real_ones_are_not(shores):
    real, others = shores[::2], shores[1::2]
    rows = np.arange(len(real))

    def error(images):
        return two_sample_error(draw_patches(real, rows, 0), draw_patches(images, rows, 1), 0, cuts=1, steps=160)

    assert error(others) > 0.4
    for fraud in (blurred, speckled, checkered, repeated):
        assert error(fraud(others)) < 0.2, fraud.__name__


@pytest.mark.training
def test_images_of_several_scenes_are_told_from_whole_ones():
    images = _rendered(240)
    real, others = images[np.arange(240) % 4 < 3], images[3::4]

    def error(images):
        patches = [draw_patches(of_kind, np.arange(len(of_kind)), 0) for of_kind in (real, images)]
        return two_sample_error(*patches, 0, cuts=1, steps=WHOLE_STEPS, widths=WHOLE_WIDTHS)

    assert error(others) > 0.4
    for fraud in (collaged, overlaid):
        assert (value := error(fraud(others))) < 0.25, (fraud.__name__, value)


class _Direction:
    """Reads from an image of `striped` the direction of its stripes, which is its label."""

    def read(self, images):
        grey = np.asarray(images, np.float32).mean(axis=-1)
        down = grey.mean(axis=2).std(axis=1) > grey.mean(axis=1).std(axis=1)
        return np.array(["across", "down"])[down.astype(int)]


def test_at_equal_labels_a_label_shown_too_often_tells_no_images_apart(monkeypatch):
    """The classifier is replaced by one that knows images by nothing but their label."""

    def error(real, generated, seed, *, cuts, steps):
        shares = [
            (_Direction().read(patches.reshape(-1, 32, 32, 3)) == "across").mean() for patches in (real, generated)
        ]
        return 0.5 - abs(shares[0] - shares[1]) / 2

    monkeypatch.setattr(two_sample_measures, "two_sample_error", error)
    train, held_out, others = striped(120, 0), striped(40, 1), striped(120, 2)
    across = real_of(others)[others.labels == "across"][:40]
    options = {"train": train, "labels": _Direction(), "predict_fn": lambda x: across[: len(x)]}
    assert measured("two-sample", across, held_out, **options).value < 0.3
    found = measured("two-sample-labels", across, held_out, **options)
    n = sum((pairs.labels == "across").sum() for pairs in (train, held_out))
    assert found.value == 0.5
    assert f"{n} real images with the label proportions of the generated images" in found.explanation

    evidence = evidence_of(
        across,
        held_out,
        dataclasses.replace(train, waveforms=np.zeros((120, 800), np.float32)),
        labels=_Direction(),
        to_inputs=lambda waveforms: waveforms[:, :6],
        predict_fn=lambda x: across[np.arange(len(x)) % len(across)],
    )
    assert MEASURES["two-sample-foreign"].function(evidence).value < 0.3
    found = MEASURES["two-sample-foreign-labels"].function(evidence)
    assert found.value == 0.5 and "proportions of the images of 100 rendered clips" in found.explanation

    few = dataclasses.replace(train, labels=np.array(["down"] * 119 + ["across"]))
    alone = dataclasses.replace(held_out, labels=np.array(["down"] * 40))
    assert "fewer than 20 real images" in measured("two-sample-labels", across, alone, **options | {"train": few})


def test_real_images_are_chosen_by_the_shares_of_the_labels_that_are_shown():
    labels = np.array(["a"] * 30 + ["b"] * 90 + ["c"] * 9)
    rows = _rows_with_shares(labels, np.array(["a"] * 10 + ["b"] * 20), seed=0)
    assert len(set(rows)) == len(rows) == 90
    assert dict(zip(*np.unique(labels[rows], return_counts=True), strict=True)) == {"a": 30, "b": 60}
    assert list(rows) == list(_rows_with_shares(labels, np.array(["a"] * 10 + ["b"] * 20), seed=0))
    assert list(rows) != list(_rows_with_shares(labels, np.array(["a"] * 10 + ["b"] * 20), seed=1))
    many = _rows_with_shares(np.array(["a", "b"] * 2000), np.array(["a"] * 75 + ["b"] * 25), seed=0)
    assert len(many) == 512 and (many % 2 == 0).sum() == 384


def test_speckle_measures_noise_but_not_edges(shores):
    levels = [np.mean([_speckle_of(np.asarray(i)) for i in images]) for images in (shores, speckled(shores))]
    assert levels[1] > 3 * levels[0]
    edges = np.repeat(np.repeat(np.random.default_rng(0).uniform(-1, 1, (4, 4, 3)), 8, axis=0), 8, axis=1)
    assert _speckle_of(edges) < 1e-6
    noise = np.random.default_rng(2).normal(0, 0.02, (64, 64, 1))
    median = scipy.ndimage.median_filter(noise[..., 0], 3, mode="nearest")
    whole = np.abs(noise[..., 0] - median).mean() * 127.5
    assert 0.3 * whole < _speckle_of(noise) < whole


def test_foreign_audio_is_loud_enough_varied_and_repeatable():
    clips = foreign_audio(20, 8000, seed=3)
    assert clips.shape == (20, 8000) and clips.dtype == np.float32
    np.testing.assert_array_equal(clips, foreign_audio(20, 8000, seed=3))
    peaks = 20 * np.log10(np.abs(clips).max(axis=1))
    assert (peaks >= -40.01).all() and (peaks <= -5.99).all()
    spectra = np.abs(np.fft.rfft(clips[: len(KINDS)] / np.abs(clips[: len(KINDS)]).max(axis=1, keepdims=True)))
    flatness = dict(zip(KINDS, np.exp(np.log(spectra + 1e-9).mean(axis=1)) / spectra.mean(axis=1), strict=True))
    # A tone is a few lines, noise is everywhere.
    assert flatness["tone"] < 0.3 < flatness["noise"]


def test_rendered_speech_has_pauses_a_pitch_and_the_formants_of_its_vowel():
    n, pitch = 3200, 125 / 16_000
    vowel = _syllable(n, pitch, np.array([730, 1090, 2440]) / 16_000)
    spectrum = np.abs(np.fft.rfft(vowel * np.hanning(n)))
    hertz = np.fft.rfftfreq(n, 1 / 16_000)
    # Lines at multiples of the pitch, the strongest of them beside the first formant.
    assert spectrum[hertz == 125][0] > 10 * spectrum[hertz == 185][0]
    assert 600 < hertz[spectrum.argmax()] < 1200
    band = [spectrum[(hertz > f - 150) & (hertz < f + 150)].max() for f in (730, 1090, 1765, 2440)]
    assert min(band[:2]) > 3 * band[2] and band[3] > band[2]
    clips = [_speech(16_000, np.random.default_rng(seed)) for seed in range(20)]
    levels = np.abs(np.stack(clips)).reshape(20, -1, 100).max(axis=2)
    assert ((levels < 1e-3).mean(axis=1) > 0.05).all() and ((levels > 0.1).mean(axis=1) > 0.3).all()


def test_measures_of_realism_compare_own_and_foreign_audio_with_real_images(monkeypatch):
    """The classifier is replaced by one that takes an image for real as far as it isn't grey."""

    def error(real, generated, seed, *, cuts, steps, widths=None):
        return float(0.5 * min(1, np.ptp(generated) / np.ptp(real)))

    monkeypatch.setattr(two_sample_measures, "two_sample_error", error)
    train, held_out = make_pairs(40), make_pairs(20, seed=1)
    real, grey = real_of(held_out), np.zeros((20, 16, 16, 3), np.float32)
    for images, expected in ((real, 0.5), (grey, 0.0)):
        found = measured("two-sample", images, held_out, train=train)
        assert (found.value, found.reference) == (pytest.approx(expected, abs=0.01), pytest.approx(0.5, abs=0.01))
    assert "whole images already" in measured("two-sample-whole", real, held_out, train=train)
    large = [dataclasses.replace(pairs, images=np.repeat(pairs.images, 4, axis=1)) for pairs in (train, held_out)]
    large = [dataclasses.replace(pairs, images=np.repeat(pairs.images, 4, axis=2)) for pairs in large]
    for images, expected in ((real_of(large[1]), 0.5), (np.zeros((20, 64, 64, 3), np.float32), 0.0)):
        found = measured("two-sample-whole", images, large[1], train=large[0])
        assert (found.value, found.reference) == (pytest.approx(expected, abs=0.02), pytest.approx(0.5, abs=0.02))
    for id in ("two-sample", "two-sample-whole", "two-sample-labels"):
        assert "40 training and 20 held-out" in measured(id, real, held_out)
    assert "fewer than two labels" in measured("two-sample-labels", real, held_out, train=train)
    assert measured("two-sample-foreign", real, held_out, train=train) == "the records hold no audio"

    received = []

    def to_inputs(waveforms):
        received.append(waveforms.shape)
        return waveforms[:, :6]

    with_audio = dataclasses.replace(train, waveforms=np.zeros((40, 800), np.float32))
    evidence = evidence_of(
        real, held_out, with_audio, to_inputs=to_inputs, predict_fn=lambda x: np.zeros((len(x), 16, 16, 3), np.float32)
    )
    found = MEASURES["two-sample-foreign"].function(evidence)
    assert (found.value, received) == (0.0, [(100, 800)])


def test_speckle_of_a_model_is_beside_that_of_real_images():
    held_out = make_pairs(20)
    flat = dataclasses.replace(held_out, images=np.full((20, 16, 16, 3), 90, np.uint8))
    noise = 0.05 * np.random.default_rng(0).standard_normal((20, 16, 16, 3)).astype(np.float32)
    found = measured("speckle", real_of(flat) + noise, flat)
    assert found.reference == 0 and found.value > 1
