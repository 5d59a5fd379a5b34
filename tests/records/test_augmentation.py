"""Augmentation of sound: each strength does what it says, measured; draws are each sound's own and come back."""

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
from keras_a2i.records.dataset import load_records
from keras_a2i.records.spectral_masks import load_tensorflow_io, mask
from keras_a2i.records.splits import SplitSpec

RATE = 16_000
TIME = np.arange(RATE) / RATE


@pytest.fixture(autouse=True)
def without_tensorflow_io(monkeypatch):
    """The masks that come from the seed, whatever is installed."""
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)


def changed(sounds, seed=(1, 2), **strengths):
    return np.asarray(augment(tf.constant(sounds, tf.float32), tf.constant(seed), Augmentation(**strengths), RATE))


def noise(n=32, level=0.1):
    return np.random.default_rng(0).normal(0, level, (n, RATE)).clip(-0.9, 0.9).astype(np.float32)


def decibels(sound):
    return 10 * np.log10(np.mean(np.square(sound, dtype=np.float64), axis=-1))


def test_gain_lies_within_its_bounds_and_changes_nothing_else():
    sounds = noise()
    found = changed(sounds, gain_db=6.0)
    gain = decibels(found) - decibels(sounds)
    assert -6 <= gain.min() < -4 and 4 < gain.max() <= 6
    np.testing.assert_allclose(found, sounds * 10 ** (gain / 20)[:, None], atol=1e-6)


@pytest.mark.parametrize("ratio", [0.0, 20.0])
def test_noise_has_the_ratio_it_says_and_is_white(ratio):
    tone = np.repeat(0.05 * np.sin(2 * np.pi * 500 * TIME)[None], 64, axis=0).astype(np.float32)
    added = changed(tone, noise_snr_db=ratio) - tone
    found = decibels(tone) - decibels(added)
    assert ratio - 0.1 <= found.min() < ratio + 5 and ratio + 25 < found.max() <= ratio + 30.1
    _, density = scipy.signal.welch(added[0], RATE, nperseg=256)
    assert density[1:-1].max() / density[1:-1].min() < 4


def test_mixing_adds_another_sound_underneath():
    sounds = noise(8)
    added = changed(sounds, mix_snr_db=10.0) - sounds
    ratio = decibels(sounds) - decibels(added)
    assert ratio.min() >= 9.9 and ratio.max() <= 30.1
    for row, part in enumerate(added):
        assert np.corrcoef(part, sounds[row - 1])[0, 1] > 0.999
    alone = changed(sounds[:1], mix_snr_db=10.0)
    np.testing.assert_array_equal(alone, sounds[:1])


def test_shift_moves_the_sound_and_leaves_silence():
    click = np.zeros((64, RATE), np.float32)
    click[:, RATE // 2] = 1.0
    found = changed(click, time_shift=0.1)
    centre = (np.abs(found) * np.arange(RATE)).sum(1) / np.abs(found).sum(1) - RATE // 2
    assert np.abs(centre).max() <= 1600.5 and centre.min() < -1200 and centre.max() > 1200
    sounds = noise(16)
    for row, moved in zip(sounds, changed(sounds, time_shift=0.1), strict=True):
        lag = scipy.signal.correlate(moved, row, method="fft").argmax() - (RATE - 1)
        silent = (moved[:lag] if lag > 0 else moved[lag:]) if lag else moved[:0]
        assert abs(lag) <= 1600 and (silent == 0).mean() > 0.98
    ones = changed(np.ones((8, RATE)), time_shift=0.1)
    assert all((row == 0).sum() > 0 for row in ones) and set(np.unique(ones.round(5))) == {0.0, 1.0}


def test_speed_moves_the_pitch():
    tone = np.repeat(0.5 * np.sin(2 * np.pi * 1000 * TIME)[None], 64, axis=0)
    found = changed(tone, speed=0.2)
    middle = found[:, RATE // 4 : 3 * RATE // 4] * np.hanning(RATE // 2)
    peaks = np.abs(np.fft.rfft(middle, axis=1)).argmax(axis=1) * 2
    assert 1000 / 1.2 - 3 <= peaks.min() < 870 and 1150 < peaks.max() <= 1203
    assert len(set(peaks)) > 20


def test_long_sounds_are_warped_as_finely_as_short_ones():
    time = np.arange(60 * RATE)
    tone = 0.5 * np.sin(2 * np.pi * 50 / RATE * time)
    found = changed(tone[None], speed=0.01)[0]
    # Where it is a sine it is one of a single frequency, in the last second as in the middle.
    inner = found[10 * RATE : 50 * RATE].astype(np.float64)
    cosine = (inner[2:] + inner[:-2])[np.abs(inner[1:-1]) > 0.3] / (2 * inner[1:-1][np.abs(inner[1:-1]) > 0.3])
    frequency = np.arccos(np.median(cosine)) / (2 * np.pi) * RATE
    assert frequency != 50 and abs(frequency / 50 - 1) < 0.02
    place = 2 * np.pi * frequency / RATE * np.arange(len(inner))
    basis = np.stack([np.sin(place), np.cos(place)], axis=1)
    assert np.abs(inner).max() <= 0.5 and basis.shape[0] == len(inner)


def test_a_frequency_mask_takes_a_band_away():
    found = changed(noise(16, 0.05), frequency_mask=2000.0)
    frequencies, density = scipy.signal.welch(found, RATE, nperseg=512)
    density = density / np.median(density)
    widths = (density < 0.05).sum(axis=1) * (frequencies[1] - frequencies[0])
    assert widths.max() > 1000 and widths.max() <= 2100
    kept = density > 0.05
    assert np.median(density[kept]) > 0.8


def test_a_time_mask_silences_a_stretch():
    sounds = noise(64)
    found = changed(sounds, time_mask=0.2)
    quiet = np.abs(found).reshape(64, -1, 40).max(axis=2) < 1e-3
    lengths = quiet.sum(axis=1) * 40 / RATE
    assert 0.1 < lengths.max() <= 0.2 and lengths.min() < 0.05
    # Away from the stretch and the frames that overlap it the sound is what it was.
    same = np.abs(found - sounds) < 1e-5
    assert np.median(same.mean(axis=1)) > 0.7


def test_no_mask_gives_the_sound_back():
    sounds = noise(3)
    np.testing.assert_allclose(mask(tf.constant(sounds), tf.constant([1, 2]), 0, 0.0), sounds, atol=1e-6)


ALL = Augmentation(
    gain_db=6.0, noise_snr_db=10.0, time_shift=0.1, speed=0.1, mix_snr_db=5.0, time_mask=0.1, frequency_mask=1000.0
)


def test_draws_come_from_the_seed_and_are_each_sound_s_own():
    sounds = np.repeat(noise(1), 4, axis=0)
    once = np.asarray(augment(tf.constant(sounds), tf.constant([5, 6]), ALL, RATE))
    again = np.asarray(tf.function(augment)(tf.constant(sounds), tf.constant([5, 6]), ALL, RATE))
    other = np.asarray(augment(tf.constant(sounds), tf.constant([5, 7]), ALL, RATE))
    np.testing.assert_allclose(once, again, atol=1e-6)
    assert np.abs(once - other).max() > 0.01
    assert all(np.abs(once[i] - once[j]).max() > 0.01 for i in range(4) for j in range(i))


@pytest.mark.parametrize("sound", [np.zeros((2, RATE)), np.ones((1, RATE)), np.zeros((3, 400))])
def test_silence_full_scale_and_short_sounds_stay_finite(sound):
    found = changed(sound, **{**ALL.to_dict(), "gain_db": 30.0})
    assert found.shape == sound.shape and np.isfinite(found).all() and np.abs(found).max() <= 1


def test_masks_are_tensorflow_io_s_where_it_is_installed(monkeypatch):
    calls = []

    def named(name):
        return lambda frames, param: calls.append((name, int(param))) or frames

    audio = types.SimpleNamespace(time_mask=named("time"), freq_mask=named("frequency"))
    monkeypatch.setitem(sys.modules, "tensorflow_io", types.SimpleNamespace(audio=audio))
    sounds = noise(2)
    np.testing.assert_allclose(changed(sounds, time_mask=0.1, frequency_mask=1000.0), sounds, atol=1e-5)
    assert set(calls) == {("time", 8), ("frequency", 33)}
    # tensorflow-io draws a width below the bound and fails unless one frame and one bin stay.
    calls.clear()
    changed(sounds, time_mask=10.0, frequency_mask=48_000.0)
    assert set(calls) == {("time", 67), ("frequency", 257)}
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    assert np.abs(changed(sounds, frequency_mask=4000.0) - sounds).max() > 1e-3


def test_a_tensorflow_io_that_doesn_t_load_is_as_none(monkeypatch, tmp_path):
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


def test_masks_wider_than_the_sound_leave_a_frame_and_a_bin():
    found = changed(noise(64), time_mask=10.0, frequency_mask=48_000.0)
    assert np.isfinite(found).all() and (np.abs(found).max(axis=1) > 0).mean() > 0.9


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ({"gain_db": -1}, "gain_db of an augmentation must lie between 0 and 60. Received: gain_db=-1"),
        ({"speed": 2.0}, "speed of an augmentation must lie between 0 and 1"),
        (
            {"noise_snr_db": "loud"},
            "noise_snr_db of an augmentation must lie between -20 and 100. Received: noise_snr_db='l",
        ),
        ({"time_shift": True}, "time_shift of an augmentation"),
        ({"frequency_mask": float("nan")}, "frequency_mask of an augmentation"),
    ],
)
def test_strengths_that_can_t_be(strengths, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**strengths)
    assert Augmentation.from_dict(ALL.to_dict()) == ALL


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    split = SplitSpec(kind="block", val_fraction=0.25, guard=0)
    build(path, ToneSource(n_sources=3), split=split, image=ImageConfig(size=16))
    return path


def sounds_of(records, epochs=1, **options):
    dataset = load_records(records, batch_size=4, features="waveform", **options)
    return [np.concatenate([sound for sound, _ in dataset]) for _ in range(epochs)]


def test_records_are_heard_in_another_way_on_each_pass_and_the_same_way_again(records):
    first, second = sounds_of(records, 2, shuffle=False, augmentation=ALL)
    (plain,) = sounds_of(records, shuffle=False)
    assert first.shape == plain.shape
    assert np.abs(first - second).max() > 0.01 and np.abs(first - plain).max() > 0.01
    again, _ = sounds_of(records, 2, shuffle=False, augmentation=ALL)
    np.testing.assert_array_equal(first, again)
    (nothing,) = sounds_of(records, shuffle=False, augmentation=Augmentation())
    np.testing.assert_array_equal(nothing, plain)


def test_an_epoch_is_heard_as_it_would_have_been_without_an_interruption(records):
    epoch = tf.Variable(0, dtype=tf.int64)
    dataset = load_records(records, batch_size=4, features="waveform", augmentation=ALL, epoch=epoch)
    passes = []
    for number in range(3):
        epoch.assign(number)
        passes.append(np.concatenate([sound for sound, _ in dataset]))
    later = tf.Variable(2, dtype=tf.int64)
    (resumed,) = sounds_of(records, augmentation=ALL, epoch=later)
    np.testing.assert_array_equal(resumed, passes[2])
    assert np.abs(passes[1] - passes[2]).max() > 0.01
    assert len(dataset) == -(-len(passes[0]) // 4)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
def test_only_the_sound_is_changed(records, cache, numbered):
    epoch = tf.Variable(3) if numbered else None
    options = {"batch_size": 4, "features": "waveform", "cache": cache, "epoch": epoch}
    plain = load_records(records, **options)
    changed_sounds = load_records(records, augmentation=ALL, **options)
    assert int(changed_sounds.cardinality()) == int(plain.cardinality())
    for _ in range(2):
        for (sound, image), (other, same) in zip(plain, changed_sounds, strict=True):
            np.testing.assert_array_equal(image, same)
            assert np.abs(sound - other).max() > 0.01


def test_augmentation_goes_with_every_other_option(records):
    options = {"batch_size": 4, "features": "waveform", "augmentation": ALL}
    endless = load_records(records, repeat=True, **options)
    assert [len(sound) for sound, _ in endless.take(12)] == [4] * 12
    assert load_records(records, drop_remainder=True, **options).element_spec[0].shape == (4, RATE)
    tolerant = load_records(records, cache=False, ignore_errors=True, **options)
    assert sum(len(sound) for sound, _ in tolerant) == len(sounds_of(records)[0])


def test_features_can_t_be_augmented(records):
    with pytest.raises(UsageError, match=r"Augmentation works on sound: load features='waveform'. Received: "):
        load_records(records, augmentation=ALL)
