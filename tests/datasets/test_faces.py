"""The embedded faces: reproducible in any order, and mouths that follow the voice by the stated law."""

import pickle

import numpy as np
import pytest

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.datasets.faces import FacesSource, read_mouth
from keras_a2i.datasets.faces.source import face_with_mouth
from keras_a2i.datasets.faces.speech import GRID_RATE, make_speech, mouth_of
from keras_a2i.datasets.faces.voice import render_voice
from keras_a2i.errors import UsageError
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.sources.pair import Unit

FEATURES, IMAGE = FeatureConfig(), ImageConfig(size=64)


def make(n_pairs=100, seed=0, features=FEATURES, image=IMAGE):
    return FacesSource(n_pairs, seed, features=features, image=image)


def read_all(source):
    return [pair for unit in source.plan().units for pair in source.read(unit)]


@pytest.fixture(scope="module")
def pairs():
    return read_all(make())


def same(a, b):
    sound, image = np.array_equal(a.waveform, b.waveform), np.array_equal(a.image, b.image)
    return a.key == b.key and a.factors == b.factors and sound and image


@pytest.mark.parametrize("n_pairs, n_faces", [(4, 2), (41, 2), (60, 3), (3_207, 160)])
def test_plan_gives_every_face_a_unit_and_spreads_the_pairs(n_pairs, n_faces):
    units = make(n_pairs).plan().units
    counts = [len(unit.keys) for unit in units]
    assert len(units) == n_faces and sum(counts) == n_pairs and max(counts) - min(counts) <= 1
    assert all({key.source_id for key in unit.keys} == {unit.name} for unit in units)


def test_keys_are_ten_a_second_and_sources_are_held_out_as_a_whole():
    source = make(40)
    keys = source.plan().units[1].keys
    assert [(key.id, key.source_id, key.time) for key in keys[:2]] == [
        ("face-0001@0", "face-0001", 0.05),
        ("face-0001@1", "face-0001", 0.15),
    ]
    assert source.split_by_source
    described = {"kind": "synthetic:faces", "has_audio": True, "continuous": True, "pairs": 40, "seed": 0}
    assert source.describe() == described


def test_same_seed_renders_the_same_pairs_in_any_order(pairs):
    source = pickle.loads(pickle.dumps(make()))
    keys = [key for unit in source.plan().units for key in unit.keys]
    backwards = list(source.read(Unit("backwards", tuple(keys[::-1]))))
    assert all(same(a, b) for a, b in zip(pairs, backwards[::-1], strict=True))
    assert not same(next(make(seed=1).read(Unit("one", keys[:1]))), pairs[0])


def test_a_longer_recording_begins_like_a_shorter_one(pairs):
    # 4 pairs are two faces of 2, 100 are five of 20.
    for pair in read_all(make(4)):
        longer = next(each for each in pairs if each.key == pair.key)
        half = FEATURES.n_samples // 2
        np.testing.assert_allclose(pair.waveform[:half], longer.waveform[:half], atol=1e-6)
        assert np.array_equal(pair.image, longer.image)


def test_clips_overlap_and_have_their_moment_in_the_middle(pairs):
    first, second, third = pairs[20:23]
    np.testing.assert_array_equal(first.waveform[1600:], second.waveform[:-1600])
    np.testing.assert_array_equal(first.waveform[3200:], third.waveform[:-3200])
    silent = round(FEATURES.n_samples / 2 - 0.05 * 16_000)
    assert not first.waveform[:silent].any() and first.waveform[silent:].any()


@pytest.mark.parametrize(
    "heard, mouth",
    [
        ((0.0, 730, 1090), (0.0, 0.5)),
        ((1.0, 270, 2300), (0.3, 1.0)),
        ((1.0, 760, 840), (1.0, 0.0)),
        ((0.5, 515, 1570), (0.5 * 0.65, 0.5)),
        ((1.0, 2000, 5000), (1.0, 1.0)),
    ],
)
def test_mouth_follows_loudness_and_formants(heard, mouth):
    assert mouth_of(*heard) == pytest.approx(mouth, abs=1e-9)


def test_voice_has_the_level_the_pitch_and_the_formants_of_its_course():
    speech = make_speech(2.0, 120.0, 1.0, np.random.default_rng(0))
    n = len(speech.loudness)
    formants = np.tile([500.0, 1500.0, 2500.0], (n, 1))
    steady = type(speech)(np.full(n, 1.0), formants, np.full(n, 100.0), speech.lids)
    waveform = render_voice(steady, 16_000, np.random.default_rng(0))
    assert 20 * np.log10(waveform.std()) == pytest.approx(-18, abs=0.1)
    power = np.abs(np.fft.rfft(waveform[:16_000])) ** 2
    harmonics = power[100:4900:100]
    assert harmonics.sum() > 0.99 * power.sum()
    for centre in (500, 1500, 2500):
        i = centre // 100 - 1
        assert harmonics[i] > 3 * np.sqrt(harmonics[i - 2] * harmonics[i + 2])
    quieter = type(speech)(np.full(n, 0.5), formants, np.full(n, 100.0), speech.lids)
    level = 20 * np.log10(render_voice(quieter, 16_000, np.random.default_rng(0)).std())
    assert level == pytest.approx(-18 - 17, abs=0.1)
    silent = type(speech)(np.zeros(n), formants, np.full(n, 100.0), speech.lids)
    assert not render_voice(silent, 16_000, np.random.default_rng(0)).any()


def test_speech_has_syllables_pauses_and_blinks():
    speech = make_speech(60.0, 120.0, 1.0, np.random.default_rng(3))
    assert len(speech.loudness) == 60 * GRID_RATE + 1
    assert speech.loudness.min() == 0 and 0.8 < speech.loudness.max() <= 1
    assert 0.05 < np.mean(speech.loudness < 0.02) < 0.4
    blinks = np.count_nonzero(np.diff((speech.lids > 0.5).astype(int)) == 1)
    assert 15 <= blinks <= 40 and speech.lids.max() == pytest.approx(1, abs=0.01)
    assert abs(np.corrcoef(speech.lids, speech.loudness)[0, 1]) < 0.1


@pytest.mark.parametrize("size, least", [(64, 0.99), (128, 0.99), (32, 0.97)])
def test_mouth_is_read_back_out_of_the_image(size, least):
    pairs = read_all(make(160, image=ImageConfig(size=size)))
    images, truth = np.stack([pair.image for pair in pairs]), [pair.factors["opening"] for pair in pairs]
    read = read_mouth(images)
    assert np.corrcoef(read, truth)[0, 1] >= least
    assert np.abs(read - truth).mean() < 0.06
    np.testing.assert_allclose(read_mouth(images.astype(np.float32) / 127.5 - 1), read, atol=1e-4)


def test_identity_stays_within_a_face_and_differs_between_faces(pairs):
    images = np.stack([pair.image for pair in pairs]).reshape(5, 20, 64, 64, 3).astype(float)
    means = images.mean(axis=1)
    within = np.abs(images - means[:, None]).mean()
    between = np.mean([np.abs(means[i] - means[j]).mean() for i in range(5) for j in range(i)])
    assert within < 0.05 * between
    assert all(len({pair.factors[name] for pair in pairs[:20]}) == 1 for name in ("tone", "face"))


def test_face_with_mouth_is_the_face_of_the_data_set(pairs):
    eyes_open = next(pair for pair in pairs if pair.factors["lids"] < 1e-9)
    mouth = eyes_open.factors["opening"], eyes_open.factors["width"]
    np.testing.assert_array_equal(face_with_mouth(eyes_open.key.source_id, 0, *mouth, IMAGE), eyes_open.image)


@pytest.mark.parametrize("rate, duration", [(8_000, 0.3), (48_000, 2.0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_rates_durations_and_channels(rate, duration, channels):
    features = FeatureConfig(sample_rate=rate, duration=duration)
    pair = read_all(make(4, features=features, image=ImageConfig(size=32, channels=channels)))[1]
    assert pair.waveform.shape == (features.n_samples,) and pair.waveform.dtype == np.float32
    assert pair.image.shape == (32, 32, channels) and np.abs(pair.waveform).max() < 1


def test_names_open_the_source():
    assert open_sources(["synthetic:faces"])[0].n_pairs == 3_200
    assert open_sources(["synthetic:faces:60"], seed=3)[0].seed == 3
    with pytest.raises(UsageError, match=r"N of synthetic:faces:N must be a whole number of pairs\. Received: 'synthe"):
        open_sources(["synthetic:faces:x"])


def test_arguments_out_of_range_are_refused():
    with pytest.raises(UsageError, match=r"n_pairs must lie between 4 and 100,000 for synthetic:faces. Received"):
        make(3)
    with pytest.raises(UsageError, match="seed must be a whole number, 0 or more, for synthetic:faces"):
        make(seed=-1)
    with pytest.raises(UsageError, match="sample_rate must be at least 8000 Hz for synthetic:faces"):
        make(features=FeatureConfig(sample_rate=4_000))
    with pytest.raises(UsageError, match=r"images must have the shape \(n, size, size, 3\). Received: shape \(64, 64"):
        read_mouth(np.zeros((64, 64, 3), np.uint8))
