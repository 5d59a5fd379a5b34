"""Augmentation: every change is measured; random values differ between clips and are repeatable."""

import importlib
import sys
import types
import warnings

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from support.tone_source import ToneSource, build

from keras_a2i.config import ImageConfig
from keras_a2i.errors import ConfigError, UsageError
from keras_a2i.records.augmentation import Augmentation, augment
from keras_a2i.records.orders import InOrder, Shuffled
from keras_a2i.records.records import Records
from keras_a2i.records.spectral_masks import load_tensorflow_io, mask
from keras_a2i.records.splits import SplitSpec

RATE = 16_000
TIME = np.arange(RATE) / RATE


@pytest.fixture(autouse=True)
def without_tensorflow_io(monkeypatch):
    """The masks that come from the seed, whatever is installed."""
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)


def changed(clips, seed=(1, 2), **strengths):
    return np.asarray(augment(tf.constant(clips, tf.float32), tf.constant(seed), Augmentation(**strengths), RATE))


def noise(n=32, level=0.1):
    return np.random.default_rng(0).normal(0, level, (n, RATE)).clip(-0.9, 0.9).astype(np.float32)


def decibels(clips):
    return 10 * np.log10(np.mean(np.square(clips, dtype=np.float64), axis=-1))


def test_gain_stays_within_its_limits_and_changes_nothing_else():
    clips = noise()
    found = changed(clips, gain_db=6.0)
    gain = decibels(found) - decibels(clips)
    assert -6 <= gain.min() < -4 and 4 < gain.max() <= 6
    np.testing.assert_allclose(found, clips * 10 ** (gain / 20)[:, None], atol=1e-6)


@pytest.mark.parametrize("ratio", [0.0, 20.0])
def test_noise_is_white_and_has_the_given_ratio(ratio):
    tone = np.repeat(0.05 * np.sin(2 * np.pi * 500 * TIME)[None], 64, axis=0).astype(np.float32)
    added = changed(tone, noise_snr_db=ratio) - tone
    found = decibels(tone) - decibels(added)
    assert ratio - 0.1 <= found.min() < ratio + 5 and ratio + 25 < found.max() <= ratio + 30.1
    _, density = scipy.signal.welch(added[0], RATE, nperseg=256)
    assert density[1:-1].max() / density[1:-1].min() < 4


def test_mix_adds_another_clip_at_the_given_ratio():
    clips = noise(8)
    added = changed(clips, mix_snr_db=10.0) - clips
    ratio = decibels(clips) - decibels(added)
    assert ratio.min() >= 9.9 and ratio.max() <= 30.1
    for row, part in enumerate(added):
        assert np.corrcoef(part, clips[row - 1])[0, 1] > 0.999
    alone = changed(clips[:1], mix_snr_db=10.0)
    np.testing.assert_array_equal(alone, clips[:1])


def test_time_shift_moves_the_audio_and_leaves_silence():
    click = np.zeros((64, RATE), np.float32)
    click[:, RATE // 2] = 1.0
    found = changed(click, time_shift=0.1)
    centre = (np.abs(found) * np.arange(RATE)).sum(1) / np.abs(found).sum(1) - RATE // 2
    assert np.abs(centre).max() <= 1600.5 and centre.min() < -1200 and centre.max() > 1200
    clips = noise(16)
    for row, moved in zip(clips, changed(clips, time_shift=0.1), strict=True):
        lag = scipy.signal.correlate(moved, row, method="fft").argmax() - (RATE - 1)
        silent = (moved[:lag] if lag > 0 else moved[lag:]) if lag else moved[:0]
        assert abs(lag) <= 1600 and (silent == 0).mean() > 0.98
    ones = changed(np.ones((8, RATE)), time_shift=0.1)
    assert all((row == 0).sum() > 0 for row in ones) and set(np.unique(ones.round(5))) == {0.0, 1.0}


def test_speed_changes_the_pitch():
    tone = np.repeat(0.5 * np.sin(2 * np.pi * 1000 * TIME)[None], 64, axis=0)
    found = changed(tone, speed=0.2)
    middle = found[:, RATE // 4 : 3 * RATE // 4] * np.hanning(RATE // 2)
    peaks = np.abs(np.fft.rfft(middle, axis=1)).argmax(axis=1) * 2
    assert 1000 / 1.2 - 3 <= peaks.min() < 870 and 1150 < peaks.max() <= 1203
    assert len(set(peaks)) > 20


def test_speed_is_as_exact_for_long_clips():
    time = np.arange(60 * RATE)
    tone = 0.5 * np.sin(2 * np.pi * 50 / RATE * time)
    found = changed(tone[None], speed=0.01)[0]
    # It is a sine of a single frequency, in the last second as in the middle.
    inner = found[10 * RATE : 50 * RATE].astype(np.float64)
    cosine = (inner[2:] + inner[:-2])[np.abs(inner[1:-1]) > 0.3] / (2 * inner[1:-1][np.abs(inner[1:-1]) > 0.3])
    frequency = np.arccos(np.median(cosine)) / (2 * np.pi) * RATE
    assert frequency != 50 and abs(frequency / 50 - 1) < 0.02
    place = 2 * np.pi * frequency / RATE * np.arange(len(inner))
    basis = np.stack([np.sin(place), np.cos(place)], axis=1)
    assert np.abs(inner).max() <= 0.5 and basis.shape[0] == len(inner)


def test_frequency_mask_removes_a_band():
    found = changed(noise(16, 0.05), frequency_mask=2000.0)
    frequencies, density = scipy.signal.welch(found, RATE, nperseg=512)
    density = density / np.median(density)
    widths = (density < 0.05).sum(axis=1) * (frequencies[1] - frequencies[0])
    assert widths.max() > 1000 and widths.max() <= 2100
    kept = density > 0.05
    assert np.median(density[kept]) > 0.8


def test_time_mask_silences_an_interval():
    clips = noise(64)
    found = changed(clips, time_mask=0.2)
    quiet = np.abs(found).reshape(64, -1, 40).max(axis=2) < 1e-3
    lengths = quiet.sum(axis=1) * 40 / RATE
    assert 0.1 < lengths.max() <= 0.2 and lengths.min() < 0.05
    # Outside the interval and the frames that overlap it the audio is unchanged.
    same = np.abs(found - clips) < 1e-5
    assert np.median(same.mean(axis=1)) > 0.7


def test_mask_of_width_zero_returns_the_audio():
    clips = noise(3)
    np.testing.assert_allclose(mask(tf.constant(clips), tf.constant([1, 2]), 0, 0.0), clips, atol=1e-6)


ALL = Augmentation(
    gain_db=6.0, noise_snr_db=10.0, time_shift=0.1, speed=0.1, mix_snr_db=5.0, time_mask=0.1, frequency_mask=1000.0
)
LIGHT = Augmentation(gain_db=6.0, noise_snr_db=10.0)
"""For tests of the data set's options: it takes less time to trace."""


@pytest.mark.training
def test_augment_depends_on_the_seed_and_differs_between_clips():
    clips = np.repeat(noise(1), 4, axis=0)
    once = np.asarray(augment(tf.constant(clips), tf.constant([5, 6]), ALL, RATE))
    again = np.asarray(tf.function(augment)(tf.constant(clips), tf.constant([5, 6]), ALL, RATE))
    other = np.asarray(augment(tf.constant(clips), tf.constant([5, 7]), ALL, RATE))
    np.testing.assert_allclose(once, again, atol=1e-6)
    assert np.abs(once - other).max() > 0.01
    assert all(np.abs(once[i] - once[j]).max() > 0.01 for i in range(4) for j in range(i))


@pytest.mark.parametrize("clips", [np.zeros((2, RATE)), np.ones((1, RATE)), np.zeros((3, 400))])
def test_augment_of_silence_full_scale_and_short_clips_is_finite(clips):
    found = changed(clips, **{**ALL.to_dict(), "gain_db": 30.0})
    assert found.shape == clips.shape and np.isfinite(found).all() and np.abs(found).max() <= 1


def test_masks_use_tensorflow_io_where_it_is_installed(monkeypatch):
    calls = []

    def named(name):
        return lambda frames, param: calls.append((name, int(param))) or frames

    audio = types.SimpleNamespace(time_mask=named("time"), freq_mask=named("frequency"))
    monkeypatch.setitem(sys.modules, "tensorflow_io", types.SimpleNamespace(audio=audio))
    clips = noise(2)
    np.testing.assert_allclose(changed(clips, time_mask=0.1, frequency_mask=1000.0), clips, atol=1e-5)
    assert set(calls) == {("time", 8), ("frequency", 33)}
    # tensorflow-io draws a width below the limit and fails unless one frame and one bin remain.
    calls.clear()
    changed(clips, time_mask=10.0, frequency_mask=48_000.0)
    assert set(calls) == {("time", 67), ("frequency", 257)}
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    assert np.abs(changed(clips, frequency_mask=4000.0) - clips).max() > 1e-3


def test_masks_without_a_loadable_tensorflow_io_use_tensorflow(monkeypatch, tmp_path):
    (tmp_path / "tensorflow_io.py").write_text("raise NotImplementedError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorflow_io", raising=False)
    assert load_tensorflow_io() is None
    (tmp_path / "tensorflow_io.py").write_text(
        "import types, warnings; warnings.warn('unable to load libtensorflow_io_plugins.so: undefined symbol')\n"
        "audio = types.SimpleNamespace(freq_mask=0, time_mask=1)"
    )
    importlib.invalidate_caches()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_tensorflow_io().time_mask == 1
    monkeypatch.delitem(sys.modules, "tensorflow_io")


def test_masks_wider_than_the_clip_leave_a_frame_and_a_bin():
    found = changed(noise(64), time_mask=10.0, frequency_mask=48_000.0)
    assert np.isfinite(found).all() and (np.abs(found).max(axis=1) > 0).mean() > 0.9


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ({"gain_db": -1}, "gain_db of an Augmentation must lie between 0 and 60. Received: gain_db=-1"),
        ({"speed": 2.0}, "speed of an Augmentation must lie between 0 and 1"),
        (
            {"noise_snr_db": "loud"},
            "noise_snr_db of an Augmentation must lie between -20 and 100. Received: noise_snr_db='l",
        ),
        ({"time_shift": True}, "time_shift of an Augmentation"),
        ({"frequency_mask": float("nan")}, "frequency_mask of an Augmentation"),
    ],
)
def test_augmentation_rejects_values_out_of_range(strengths, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**strengths)
    assert Augmentation.from_dict(ALL.to_dict()) == ALL


@pytest.fixture(scope="module")
def waveform_records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    split = SplitSpec(kind="block", val_fraction=0.25, guard=0)
    build(path, ToneSource(n_sources=3), split=split, image=ImageConfig(size=16))
    return Records(path)


def clips_of(records, epochs=1, **options):
    dataset = records.dataset("train", 4, input="waveform", **options)
    return [np.concatenate([clips for clips, _ in dataset]) for _ in range(epochs)]


@pytest.mark.training
def test_dataset_augmentation_differs_between_epochs_and_is_repeatable(waveform_records):
    first, second = clips_of(waveform_records, 2, order=InOrder(), augmentation=ALL)
    (plain,) = clips_of(waveform_records, order=InOrder())
    assert first.shape == plain.shape
    assert np.abs(first - second).max() > 0.01 and np.abs(first - plain).max() > 0.01
    again, _ = clips_of(waveform_records, 2, order=InOrder(), augmentation=ALL)
    np.testing.assert_array_equal(first, again)
    (nothing,) = clips_of(waveform_records, order=InOrder(), augmentation=Augmentation())
    np.testing.assert_array_equal(nothing, plain)
    (other,) = clips_of(waveform_records, order=InOrder(), augmentation=ALL, seed=1)
    assert np.abs(first - other).max() > 0.01


@pytest.mark.training
def test_dataset_augmentation_of_a_resumed_epoch_equals_the_uninterrupted_one(waveform_records):
    epoch = tf.Variable(0, dtype=tf.int64)
    dataset = waveform_records.dataset("train", 4, input="waveform", augmentation=ALL, order=Shuffled(0, epoch))
    epochs = []
    for number in range(3):
        epoch.assign(number)
        epochs.append(np.concatenate([clips for clips, _ in dataset]))
    for counter in (tf.Variable(2), types.SimpleNamespace(value=2)):
        (resumed,) = clips_of(waveform_records, augmentation=ALL, order=Shuffled(0, counter))
        np.testing.assert_array_equal(resumed, epochs[2])
    assert np.abs(epochs[1] - epochs[2]).max() > 0.01
    assert len(dataset) == -(-len(epochs[0]) // 4)


@pytest.mark.training
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
def test_dataset_augmentation_changes_only_the_audio(waveform_records, cache, numbered):
    options = {"input": "waveform", "cache": cache, "order": Shuffled(0, tf.Variable(3) if numbered else None)}
    plain = waveform_records.dataset("train", 4, **options)
    augmented = waveform_records.dataset("train", 4, augmentation=LIGHT, **options)
    assert int(augmented.cardinality()) == int(plain.cardinality())
    for _ in range(2):
        for (clips, images), (other, same) in zip(plain, augmented, strict=True):
            np.testing.assert_array_equal(images, same)
            assert np.abs(clips - other).max() > 0.01


@pytest.mark.training
def test_dataset_augmentation_goes_with_every_other_option(waveform_records):
    options = {"batch_size": 4, "input": "waveform", "augmentation": LIGHT}
    endless = waveform_records.dataset(repeat=True, **options)
    assert [len(clips) for clips, _ in endless.take(12)] == [4] * 12
    assert waveform_records.dataset(drop_remainder=True, **options).element_spec[0].shape == (4, RATE)
    tolerant = waveform_records.dataset(cache=False, ignore_errors=True, **options)
    assert sum(len(clips) for clips, _ in tolerant) == waveform_records.counts["train"]
    _, (_, numbers) = next(iter(waveform_records.dataset(labels=True, **options)))
    assert numbers.dtype == tf.int32


def test_dataset_augmentation_of_features_is_an_error(waveform_records):
    with pytest.raises(UsageError, match=r"augmentation must go with input='waveform'. Received: input='features'"):
        waveform_records.dataset(augmentation=ALL)
