"""The embedded shore: reproducible in any order, and every hidden factor shown by the image and told by the sound."""

import dataclasses
import pickle

import numpy as np
import pytest

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.datasets.surf import FACTORS, SurfSource
from keras_a2i.datasets.surf.audio import render_audio
from keras_a2i.datasets.surf.factors import AUDIO_STREAM, factors_at, random_stream
from keras_a2i.datasets.surf.image import render_image
from keras_a2i.errors import UsageError
from keras_a2i.sources.pair import Pair, Unit

FEATURES, IMAGE = FeatureConfig(), ImageConfig(size=64)
CALM = {"swell": 0.5, "wave": 0.6, "wind": 0.4, "rain": 0.0, "night": 0.0, "place": 0.0}


def make(
    n_pairs: int = 24, seed: int = 0, features: FeatureConfig = FEATURES, image: ImageConfig = IMAGE
) -> SurfSource:
    return SurfSource(n_pairs, seed, features=features, image=image)


def read_all(source: SurfSource) -> list[Pair]:
    return [pair for unit in source.plan().units for pair in source.read(unit)]


def same(a: Pair, b: Pair) -> bool:
    sound, image = np.array_equal(a.waveform, b.waveform), np.array_equal(a.image, b.image)
    return a.key == b.key and a.factors == b.factors and sound and image


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return read_all(make())


@pytest.mark.training
@pytest.mark.parametrize("n_pairs", [2, 3, 7, 8, 121, 480, 2_000])
def test_plan_covers_every_pair_once(n_pairs):
    plan = make(n_pairs).plan()
    keys = [key for unit in plan.units for key in unit.keys]
    assert len(keys) == len({key.id for key in keys}) == n_pairs
    assert len({unit.name for unit in plan.units}) == len(plan.units)
    assert all(1 <= len(unit.keys) <= 40 and len({key.source_id for key in unit.keys}) == 1 for unit in plan.units)
    counts = [sum(key.source_id == name for key in keys) for name in {key.source_id for key in keys}]
    assert len(counts) % 2 == 0 and max(counts) - min(counts) <= 1
    assert plan.dropped == ()


def test_keys_name_recording_time_and_label():
    features = FeatureConfig(duration=0.5)
    unit = make(480, features=features).plan().units[1]
    assert unit.name == "surf-00@30-59"
    assert [(key.id, key.source_id, key.time) for key in unit.keys[:2]] == [
        ("surf-00@30", "surf-00", 15.0),
        ("surf-00@31", "surf-00", 15.5),
    ]
    assert {key.label for key in unit.keys} == {"day", "night"}
    assert make(480, 3).describe() == {
        "kind": "synthetic:surf",
        "has_audio": True,
        "continuous": True,
        "pairs": 480,
        "seed": 3,
    }


@pytest.mark.training
def test_same_seed_renders_the_same_pairs_in_any_order(pairs):
    source = pickle.loads(pickle.dumps(make()))
    keys = [key for unit in source.plan().units for key in unit.keys]
    backwards = list(source.read(Unit("backwards", tuple(keys[::-1]))))
    assert all(same(a, b) for a, b in zip(pairs, backwards[::-1], strict=True))
    alone = next(source.read(Unit("alone", (keys[13],))))
    assert same(alone, pairs[13])


@pytest.mark.training
def test_other_seed_and_other_pair_differ(pairs):
    other = read_all(make(seed=1))
    assert all(not np.array_equal(a.waveform, b.waveform) for a, b in zip(pairs, other, strict=True))
    assert all(a.factors != b.factors for a, b in zip(pairs, other, strict=True))
    assert (
        len({pair.waveform.tobytes() for pair in pairs}) == len({pair.image.tobytes() for pair in pairs}) == len(pairs)
    )


def test_pairs_have_the_shapes_and_ranges_of_the_contract(pairs):
    for pair in pairs:
        assert pair.image.dtype == np.uint8 and pair.image.shape == IMAGE.shape
        assert pair.waveform.dtype == np.float32 and pair.waveform.shape == (FEATURES.n_samples,)
        assert 0.02 < np.abs(pair.waveform).max() < 0.9
        assert pair.key.label == ("night" if pair.factors["night"] else "day")
        assert np.array_equal(pair.image, render_image(pair.factors, IMAGE))


def test_factors_stay_in_range_all_through_a_recording():
    for recording in range(4):
        rows = [factors_at(0, recording, second) for second in range(200)]
        for name, (kind, low, high) in FACTORS.items():
            values = np.array([row[name] for row in rows])
            assert values.min() >= low and values.max() <= high
            if kind == "binary":
                assert set(values) <= {0.0, 1.0}
            if name == "place":
                assert set(values) == {float(recording % 2)}
                continue
            assert abs(values[:150].mean() - values[150:].mean()) < 0.25
            assert values.std() > 0.2
        assert np.mean([row["rain"] == 0 for row in rows]) > 0.2
        assert np.count_nonzero(np.diff([row["night"] for row in rows])) >= 8


@pytest.mark.training
@pytest.mark.parametrize("base", [CALM, {**CALM, "rain": 0.5, "night": 1.0, "place": 1.0}], ids=["bay", "cove"])
@pytest.mark.parametrize("name", FACTORS)
def test_each_factor_changes_image_and_audio(base, name):
    changed = {**base, name: 1 - base[name] if FACTORS[name][0] == "binary" else base[name] + 0.3}
    before, after = (render_image(factors, IMAGE).astype(float) for factors in (base, changed))
    assert np.mean(np.abs(before - after)) > 0.8
    before, after = (_band_levels(render_audio(f, FEATURES, np.random.default_rng(5))) for f in (base, changed))
    assert np.max(np.abs(before - after)) > 3  # dB in at least one third of an octave


def _band_levels(waveform: np.ndarray) -> np.ndarray:
    power = np.abs(np.fft.rfft(waveform)) ** 2
    edges = np.round(60 * 2 ** (np.arange(22) / 3)).astype(int)  # one bin is 1 Hz
    return 10 * np.log10(np.add.reduceat(power, edges)[:-1] + 1e-12)


@pytest.mark.training
@pytest.mark.parametrize("changes", [{}, {"rain": 1.0, "wind": 1.0}, {"place": 1.0, "night": 1.0, "wave": 0.05}])
def test_loudness_grows_with_swell(changes):
    levels = [
        np.std(render_audio({**CALM, **changes, "swell": swell}, FEATURES, np.random.default_rng(seed)))
        for seed in range(3)
        for swell in np.linspace(0, 1, 11)
    ]
    assert (np.diff(np.reshape(levels, (3, 11)), axis=1) > 0).all()


@pytest.mark.training
@pytest.mark.parametrize("size", [16, 32, 512])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_other_sizes_show_the_same_scene(size, channels):
    config = ImageConfig(size=size, channels=channels)
    image = render_image({**CALM, "rain": 0.3}, config)
    assert image.dtype == np.uint8 and image.shape == config.shape
    reference = render_image({**CALM, "rain": 0.3}, dataclasses.replace(config, size=256))

    def blocks(array: np.ndarray) -> np.ndarray:
        side = array.shape[0] // 8
        return array.reshape(8, side, 8, side, channels).mean((1, 3))

    assert np.mean(np.abs(blocks(image) - blocks(reference))) < 3


@pytest.mark.parametrize("rate, duration", [(8_000, 1.0), (22_050, 0.3), (48_000, 1.0), (96_000, 2.0)])
def test_audio_of_other_rates_and_durations(rate, duration):
    features = FeatureConfig(sample_rate=rate, duration=duration)
    for changes in ({"rain": 1.0, "swell": 1.0, "wind": 1.0}, {"night": 1.0, "place": 1.0}):
        waveform = render_audio({**CALM, **changes}, features, np.random.default_rng(0))
        assert waveform.dtype == np.float32 and waveform.shape == (features.n_samples,)
        assert np.isfinite(waveform).all() and 0.02 < np.abs(waveform).max() < 0.9


@pytest.mark.training
def test_every_factor_is_predictable_from_the_mfcc():
    """The last quarter of every recording is held out; a kernel ridge reads the factors from 104 MFCC."""
    from python_speech_features import mfcc
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.preprocessing import StandardScaler

    heard, truth, train = [], [], []
    for recording in range(4):
        for second in range(150):
            factors = factors_at(0, recording, second)
            sound = render_audio(factors, FEATURES, random_stream(0, recording, AUDIO_STREAM, second))
            samples = np.pad((sound * 32_767).astype(np.int16), (0, FEATURES.frame_length))
            windows = mfcc(samples, 16_000, FEATURES.frame, FEATURES.hop, nfft=FEATURES.n_fft)[: FEATURES.n_frames]
            heard.append(windows.ravel())
            truth.append(list(factors.values()))
            train.append(second < 112)
    train, truth = np.array(train), np.array(truth)
    scaled = StandardScaler().fit(np.array(heard)[train]).transform(heard)
    mean = truth[train].mean(axis=0)
    model = KernelRidge(kernel="rbf", gamma=0.002, alpha=0.01).fit(scaled[train], truth[train] - mean)
    guess, truth = model.predict(scaled[~train]) + mean, truth[~train]
    for column, (name, (kind, _, _)) in enumerate(FACTORS.items()):
        if kind == "binary":
            assert np.mean((guess[:, column] > 0.5) == (truth[:, column] > 0.5)) >= 0.99, name
        else:
            unexplained = np.mean((guess[:, column] - truth[:, column]) ** 2) / truth[:, column].var()
            assert 1 - unexplained >= 0.95, name


@pytest.mark.parametrize("n_pairs", [-1, 0, 1, 100_001, 2.0, "many"])
def test_n_pairs_out_of_range_is_refused(n_pairs):
    with pytest.raises(
        UsageError, match=r"n_pairs must lie between 2 and 100,000 for synthetic:surf\. Received: n_pairs="
    ):
        make(n_pairs)


def test_invalid_seed_and_low_sample_rate_are_refused():
    with pytest.raises(UsageError, match="Received: seed=-1"):
        make(seed=-1)
    with pytest.raises(UsageError, match=r"at least 8000 Hz.*Received: sample_rate=4000"):
        make(features=FeatureConfig(sample_rate=4_000))
