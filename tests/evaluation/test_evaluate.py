"""Evaluation: baselines, intervals, leaks, retrieval, readers, and verdicts on models that cheat or don't listen."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from support.tone_source import ToneSource, build

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.datasets.surf import SurfSource
from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.evaluation import response_measures as measures
from keras_a2i.evaluation.baselines import baselines, model_and_controls, shuffled_rows
from keras_a2i.evaluation.cross_validation import cross_validate, fold_splits
from keras_a2i.evaluation.evaluate import evaluate
from keras_a2i.evaluation.pairs import Pairs, read_pairs, scaled
from keras_a2i.evaluation.paper import PUBLISHED, row_fingerprint, with_paper_figures
from keras_a2i.evaluation.probes import factor_probe, factor_recovery, label_accuracy, label_probe
from keras_a2i.evaluation.statistics import find_leak, paired_gain, retrieval, source_blocks
from keras_a2i.records.build import build_records
from keras_a2i.records.resplit import resplit
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.pair import PairKey
from keras_a2i.training.fit import fit


def make_pairs(n, sources=("a", "b"), seed=0, times=None, labels=None):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 6)).astype(np.float32) * [1, 1, 1, 1, 1, 100]
    return Pairs(
        ids=np.array([f"p{i}" for i in range(n)]),
        sources=np.array([sources[i % len(sources)] for i in range(n)]),
        labels=np.array(labels if labels is not None else [""] * n),
        times=np.array(times if times is not None else [float(i // len(sources)) for i in range(n)]),
        features=features,
        inputs=features,
        images=rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8),
        factors=[{}] * n,
    )


def test_baselines_are_what_they_say():
    train = make_pairs(40, labels=["x", "y", "z", "y"] * 10)
    held_out = make_pairs(8, seed=1, times=[3.4, 3.4, 50, 50, 0, 0, 7, 7], labels=["x", "y", "z", "new"] * 2)
    found = {p.name: p.pictures for p in baselines(train, held_out)}
    real = scaled(train.images)
    np.testing.assert_allclose(found["training mean"][3], real.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["source mean"][1], real[train.sources == "b"].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["label mean"][2], real[train.labels == "z"].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["label mean"][3], real.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["nearest in time"][0], real[6], atol=1e-5)
    np.testing.assert_allclose(found["two nearest in time"][1], (real[7] + real[9]) / 2, atol=1e-5)
    std = train.features.std(axis=0)
    nearest = NearestNeighbors(n_neighbors=1).fit(train.features / std).kneighbors(held_out.features / std)[1][:, 0]
    np.testing.assert_allclose(found["nearest sound"], real[nearest], atol=1e-6)
    pca = PCA(n_components=39).fit(real.reshape(40, -1))
    flat = scaled(held_out.images).reshape(8, -1)
    expected = np.clip(pca.inverse_transform(pca.transform(flat)), -1, 1)
    np.testing.assert_allclose(found["principal components"].reshape(8, -1), expected, atol=1e-3)


def test_sources_never_seen_have_no_neighbours_in_time():
    names = [p.name for p in baselines(make_pairs(10), make_pairs(4, sources=("c",)))]
    assert "nearest in time" not in names and "source mean" in names and "label mean" not in names


def test_shuffling_takes_every_pair_s_own_sound_away():
    for n in (2, 3, 50):
        rows = shuffled_rows(n, seed=0)
        assert sorted(rows) == list(range(n)) and (rows != np.arange(n)).all()
    held_out = make_pairs(5)
    model, shuffled, silence = model_and_controls(
        lambda f: np.repeat(f[:, :1], 768, axis=1).reshape(-1, 16, 16, 3), held_out, np.full(6, 7.0, np.float32), 0
    )
    np.testing.assert_array_equal(shuffled.pictures, model.pictures[shuffled_rows(5, 0)])
    assert (silence.pictures == 7).all() and len(silence.pictures) == 5


def test_blocks_hold_neighbours_of_one_source():
    pairs = make_pairs(23)
    blocks = source_blocks(pairs, length=5)
    assert sorted(np.concatenate(blocks)) == list(range(23))
    for rows in blocks:
        assert len(set(pairs.sources[rows])) == 1 and len(rows) <= 5
        assert (np.diff(pairs.times[rows]) == 1).all()


def gain_of(model, other, blocks=None, better="higher"):
    blocks = blocks or [np.array([i]) for i in range(len(model))]
    return paired_gain(model, other, better, blocks, against="other", metric="ssim")


def test_intervals_agree_with_scipy_where_pairs_are_independent():
    rng = np.random.default_rng(0)
    model, other = rng.normal(0.1, 1, 200), rng.normal(0, 1, 200)
    gain = gain_of(model, other)
    reference = scipy.stats.bootstrap(
        (model - other,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert gain.mean == pytest.approx((model - other).mean())
    assert (gain.low, gain.high) == pytest.approx((reference.low, reference.high), abs=0.02)
    assert gain.p_value == pytest.approx(scipy.stats.ttest_rel(model, other).pvalue, abs=0.03)
    lower = gain_of(model, other, better="lower")
    assert lower.mean == pytest.approx(-gain.mean)


def test_blocks_widen_the_interval_where_neighbours_are_alike():
    common = np.repeat(np.random.default_rng(0).normal(0, 1, 20), 5)
    alone = gain_of(common, np.zeros(100))
    together = gain_of(common, np.zeros(100), [np.arange(i, i + 5) for i in range(0, 100, 5)])
    assert together.high - together.low > 1.7 * (alone.high - alone.low)


def test_no_gain_is_no_gain():
    gain = gain_of(np.ones(30), np.ones(30))
    assert (gain.mean, gain.low, gain.high, gain.p_value) == (0, 0, 0, 1)
    sure = gain_of(np.ones(30), np.zeros(30))
    assert sure.p_value == pytest.approx(2 / 4001)


def test_leaks_are_pairs_of_one_source_close_in_time():
    train = make_pairs(4, sources=("a",), times=[0, 1, 10, 11])
    held_out = make_pairs(5, sources=("a",), times=[3, 3.5, 12, 13, 40])
    leak = find_leak(train, held_out)
    assert (leak.count, leak.total, leak.share) == (3, 5, 0.6)
    assert find_leak(train, dataclasses.replace(held_out, sources=np.array(["b"] * 5))).count == 0


def test_retrieval():
    images = scaled(make_pairs(50).images)
    assert retrieval(images, images).r1 == 1
    moved = retrieval(np.roll(images, 1, axis=0), images)
    assert moved.r1 == 0 and moved.r5 < 0.3
    constant = retrieval(np.zeros_like(images), images)
    assert constant.r1 == pytest.approx(0.02) and constant.chance_r5 == 0.1
    equal = retrieval(images[:1].repeat(50, axis=0), images[:1].repeat(50, axis=0))
    assert equal.r1 == 0


def striped(n, seed):
    """Pictures whose label is the direction of their stripes and whose factors are shade and direction."""
    rng = np.random.default_rng(seed)
    direction, shade = rng.integers(0, 2, n), rng.uniform(0, 1, n)
    stripes = np.where(np.arange(32) % 8 < 4, 1.0, 0.0)
    images = np.where(direction[:, None, None] == 1, stripes[None, :, None], stripes[None, None, :]) * np.ones(
        (n, 32, 32)
    )
    images = np.uint8(60 * images + 150 * shade[:, None, None] + rng.uniform(0, 20, (n, 32, 32)))
    pairs = make_pairs(n)
    return dataclasses.replace(
        pairs,
        images=np.repeat(images[..., None], 3, axis=3),
        labels=np.array(["across", "down"])[direction],
        factors=[{"shade": float(s), "down": float(d)} for s, d in zip(shade, direction, strict=True)],
    )


def test_readers_name_labels_and_factors_of_generated_pictures(monkeypatch):
    monkeypatch.setattr("keras_a2i.evaluation.probes.STEPS", 80)
    train, held_out = striped(160, 0), striped(60, 1)
    real = scaled(held_out.images)
    wrong = np.transpose(real, (0, 2, 1, 3))
    found = label_accuracy(label_probe(train), train, held_out, real, wrong)
    assert found.real > 0.95 and found.generated == found.real and found.shuffled < 0.05
    assert set(found.by_label) == {"across", "down"}
    labels = dict(zip(held_out.ids, held_out.labels, strict=True))
    assert np.mean([labels[name] == label for name, label in found.named.items()]) == found.generated
    frequent = max(("across", "down"), key=lambda name: (train.labels == name).sum())
    assert found.most_frequent == (held_out.labels == frequent).mean()
    shade, down = factor_recovery(factor_probe(train), held_out, wrong)
    assert (shade.name, shade.measure, down.measure) == ("shade", "R2", "accuracy")
    assert shade.real > 0.9 and shade.generated > 0.9
    assert down.real > 0.95 and down.generated < 0.05
    assert label_probe(make_pairs(10)) is None and factor_probe(make_pairs(10)) is None


def test_a_picture_that_follows_the_swapped_sound_is_nearer_to_its_real_picture():
    held_out = make_pairs(40)
    real = scaled(held_out.images)
    assert measures.swapped(real, held_out, seed=3).value == 1
    donors = shuffled_rows(40, 3)
    deaf = np.empty_like(real)
    deaf[donors] = real
    assert measures.swapped(deaf, held_out, seed=3).value == 0
    assert measures.swapped(np.zeros_like(real), held_out, seed=3).value == pytest.approx(0.5, abs=0.2)
    half = np.where(np.arange(40)[:, None, None, None] < 20, real, deaf)
    assert measures.swapped(half, held_out, seed=3).value == 0.5


def test_galleries_are_of_120_where_there_are_more():
    held_out = make_pairs(150)
    real = scaled(held_out.images)
    found = measures.found_in_galleries(real, held_out, seed=0)
    assert (found.name, found.value, found.beside) == ("finds its target among 120", 1, 1 / 120)
    constant = measures.found_in_galleries(np.zeros_like(real), held_out, seed=0)
    assert constant.value == pytest.approx(1 / 120, abs=1e-3)
    few = measures.found_in_galleries(real[:10], make_pairs(10), seed=0)
    assert few.name == "finds its target among 10"


def test_sources_are_named_where_they_are_known(monkeypatch):
    monkeypatch.setattr("keras_a2i.evaluation.probes.STEPS", 40)
    train, held_out = (dataclasses.replace(p, sources=p.labels) for p in (striped(160, 0), striped(60, 1)))
    real = scaled(held_out.images)
    assert measures.named_sources(train, held_out, real, real) == []
    train, held_out = (dataclasses.replace(p, labels=np.array([""] * len(p))) for p in (train, held_out))
    (found,) = measures.named_sources(train, held_out, real, np.transpose(real, (0, 2, 1, 3)))
    assert found.value > 0.95 and found.beside < 0.05 and "of real ones" in found.explanation
    elsewhere = dataclasses.replace(held_out, sources=np.array(["new"] * 60))
    assert measures.named_sources(train, elsewhere, real, real) == []


def test_louder_sounds_give_other_pictures_in_order(monkeypatch):
    monkeypatch.setattr("keras_a2i.evaluation.probes.STEPS", 80)
    reader = factor_probe(striped(160, 0))
    waveforms = 0.2 * np.random.default_rng(0).standard_normal((10, 800)).astype(np.float32)

    def bright(waveforms):
        level = np.clip(np.sqrt(np.mean(waveforms**2, axis=1)) / 0.4, 0, 1)
        return np.broadcast_to(2 * level[:, None, None, None] - 1, (len(waveforms), 32, 32, 3)).astype(np.float32)

    quieter, louder = measures.loudness(bright, lambda sound: sound, waveforms, reader)
    assert quieter.value == pytest.approx(1) and louder.name == "louder is more shade"
    assert louder.value == pytest.approx(1)
    deaf = measures.loudness(lambda x: np.zeros((len(x), 32, 32, 3)), lambda sound: sound, waveforms, reader)
    assert [measure.value for measure in deaf] == [0, 0]
    barely = measures.loudness(lambda x: 1e-3 * bright(x), lambda sound: sound, waveforms, reader)
    assert barely[0].value == 0
    (alone,) = measures.loudness(bright, lambda sound: sound, waveforms, None)
    assert alone.value == pytest.approx(1)


def test_variety_is_relative_to_real_pictures_of_the_label():
    rng = np.random.default_rng(0)
    labels = ["x", "y"] * 20
    held_out = make_pairs(40, labels=labels)
    real = scaled(held_out.images)

    def sample(spread):
        def draw(inputs, n, seed):
            assert (n, seed) == (8, 5) and len(inputs) == 40
            noise = rng.integers(0, 256, (len(inputs), n, 16, 16, 3), dtype=np.uint8)
            return spread * scaled(noise)

        return draw

    for spread in (1.0, 0.5, 0.0):
        (found,) = measures.variety(sample(spread), held_out, None, seed=5)
        assert found.value == pytest.approx(spread, abs=0.02)

    class Reader:
        def read(self, pictures):
            return np.array(["x"] * len(pictures))

    _, named = measures.variety(sample(1.0), held_out, Reader(), seed=5)
    assert (named.value, named.beside) == (0.5, 0.5) and len(real) == 40


def test_alignment_counts_the_pair_and_the_label():
    held_out = make_pairs(150, labels=["x", "y", "y"] * 50)
    vectors = np.random.default_rng(0).standard_normal((150, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    there, back, label = measures.alignment(lambda _: vectors, lambda _: vectors, held_out, seed=0)
    assert (there.value, back.value, label.value) == (1, 1, 1) and there.beside == 0.01
    assert label.beside == pytest.approx(1 / 9 + 4 / 9)
    classes = np.where(np.array(held_out.labels)[:, None] == "x", [[1.0, 0.0]], [[0.0, 1.0]])
    there, _, label = measures.alignment(lambda _: classes, lambda _: classes, held_out, seed=0)
    assert label.value == 1 and there.value == pytest.approx(2 / 100, abs=0.005)
    there, *_ = measures.alignment(lambda _: vectors, lambda _: np.roll(vectors, 1, axis=0), held_out, seed=0)
    assert there.value < 0.005


@pytest.fixture
def untrained(monkeypatch):
    """Readers don't learn: for tests that don't look at what they say."""
    monkeypatch.setattr("keras_a2i.evaluation.probes._train", lambda *_: None)


@pytest.fixture(scope="module")
def shore(tmp_path_factory):
    """Records of the shore, split in blocks and at random."""
    image, features = ImageConfig(size=32), FeatureConfig()
    folder = tmp_path_factory.mktemp("shore")
    for kind in ("block", "random"):
        source = SurfSource(160, 0, features=features, image=image)
        build_records([source], folder / kind, image=image, split=SplitSpec(kind=kind), workers=1)
    return folder


def nearest_picture(records):
    """A 'model' that remembers: the training picture of the nearest training sound."""
    train = read_pairs(records, "train")
    std = train.features.std(axis=0)
    index = NearestNeighbors(n_neighbors=1).fit(train.features / std)
    pictures = scaled(train.images)
    return lambda features: pictures[index.kneighbors(features / std)[1][:, 0]]


@pytest.mark.usefixtures("untrained")
def test_a_model_that_ignores_its_input_is_told_so(shore):
    report = evaluate(lambda features: np.full((len(features), 32, 32, 3), 0.1, np.float32), shore / "block")
    assert report.level == "nothing"
    assert report.verdict[0] == "The model ignores the sound: with other sounds it draws the same pictures."
    gain = next(gain for gain in report.gains if gain.against == "sounds shuffled")
    assert (gain.mean, gain.p_value) == (0, 1)
    assert report.retrieval.r1 == pytest.approx(1 / report.n_pairs)


@pytest.mark.usefixtures("untrained")
def test_a_model_that_remembers_is_exposed_by_the_leak_of_a_random_split(shore):
    report = evaluate(nearest_picture(shore / "random"), shore / "random")
    assert report.level == "leak" and report.leak.share > 0.9
    assert "can't be trusted" in report.verdict[0] and "--split block" in report.verdict[0]


def test_a_model_that_hears_gets_a_good_verdict_and_a_whole_report(shore, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.evaluation.probes.STEPS", 80)
    steps = []
    report = evaluate(nearest_picture(shore / "block"), shore / "block", model_name="run", on_step=steps.append)
    assert report.level == "good" and report.leak.count == 0
    assert report.verdict[0].startswith("The pictures follow the sound")
    assert [gain.against for gain in report.gains[:2]] == ["source mean", "sounds shuffled"]
    assert report.gains[1].p_value < 0.01
    assert {factor.name for factor in report.factors} >= {"swell", "wave", "wind", "rain", "night", "place"}
    night = next(factor for factor in report.factors if factor.name == "night")
    assert night.measure == "accuracy" and night.real > 0.95
    assert report.labels.real > 0.95
    model, ceiling = report.predictors[0], report.predictors[-1]
    assert ceiling.kind == "ceiling" and ceiling.means["mse_x64"] < model.means["mse_x64"]
    assert [info.name for info in report.metrics if info.degenerate] == ["histogram_paper"]
    assert model.means["histogram_paper"] > 0.99
    assert {example.group for example in report.examples} == {"best", "median", "worst", "swapped"}
    assert any("scoring predictors" in step for step in steps)
    report.write_json(tmp_path / "report.json")
    values = json.loads((tmp_path / "report.json").read_text())
    assert values["schema_version"] == 1 and values["predictors"][0]["means"] == model.means
    assert np.isfinite([v for p in report.predictors for v in p.means.values()]).all()


BRIEFLY = ("keras_a2i.evaluation.probes.STEPS", 15)


@pytest.fixture(scope="module")
def report(shore):
    """Of a model that hears, its readers trained briefly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*BRIEFLY)
        return evaluate(nearest_picture(shore / "block"), shore / "block", seed=3)


def test_the_same_seed_gives_the_same_report(shore, report, monkeypatch):
    monkeypatch.setattr(*BRIEFLY)
    assert evaluate(nearest_picture(shore / "block"), shore / "block", seed=3).to_dict() == report.to_dict()


def test_the_paper_s_figures_stand_beside_the_published_ones(report):
    paper = with_paper_figures(report).paper
    assert {name: published for name, (published, _) in paper.items()} == PUBLISHED
    rounded = np.round(report.predictors[0].values["ssim_paper"], 2).mean()
    assert paper["SSIM, paper"][1] == pytest.approx(rounded)
    notes = " ".join(with_paper_figures(report).notes)
    assert "stand-ins" in notes and "360 pairs" in notes and "divided pairs at random" in notes
    assert len(row_fingerprint(np.arange(104, dtype=np.float32))) == 64


def test_too_few_pairs(tmp_path):
    build(tmp_path, ToneSource(n_sources=1, seconds=4), split=SplitSpec(kind="block", guard=0))
    with pytest.raises(RecordsError, match=r"needs two held-out pairs or more. Received: 1"):
        evaluate(lambda features: np.zeros((len(features), 16, 16, 3)), tmp_path)


def test_folds_hold_every_pair_out_once_behind_gaps():
    keys = [PairKey(f"{s}@{k}", s, float(k)) for s in ("a", "b") for k in range(20)]
    folds = [fold_splits(keys, 4, fold, duration=1.0) for fold in range(4)]
    held_out = [name for splits in folds for name, split in splits.items() if split == "val"]
    assert sorted(held_out) == sorted(key.id for key in keys)
    assert [name for name, split in folds[1].items() if split == "train" and name.startswith("a")] == [
        f"a@{k}" for k in (0, 1, 2, *range(12, 20))
    ]


@pytest.mark.usefixtures("untrained")
def test_cross_validation_trains_the_run_s_recipe_on_every_fold_and_goes_on(tmp_path):
    build(tmp_path / "records", ToneSource(n_sources=2, seconds=24), split=SplitSpec(guard=0))
    overrides = {"encoder_units": (8, 4), "base_channels": 4, "generator_channels": (4,)}
    fit(tmp_path / "records", tmp_path / "run", recipe="tiny", overrides=overrides, epochs=1)
    arguments = (tmp_path / "run", tmp_path / "records", tmp_path / "folds")
    found = cross_validate(*arguments, folds=2)
    assert [report.n_pairs for report in found.reports] == [24, 24]
    assert all(report.leak.count == 0 for report in found.reports)
    model = found.reports[0].predictors[0]
    pooled = next(gain for gain in found.gains if gain.against == "sounds shuffled")
    own = [r.predictors[0].means["ssim"] - r.predictors[1].means["ssim"] for r in found.reports]
    assert pooled.mean == pytest.approx(np.mean(own), abs=1e-6)
    again = cross_validate(*arguments, folds=2)
    assert again.reports[0].predictors[0].means == pytest.approx(model.means)
    with pytest.raises(UsageError, match=r"folds must lie between 2 and 20. Received: 1"):
        cross_validate(*arguments, folds=1)
    with pytest.raises(UsageError, match=r"holds records. Choose another folder"):
        resplit(tmp_path / "records", tmp_path / "folds" / "fold-1-of-2" / "records", {}, "again")
