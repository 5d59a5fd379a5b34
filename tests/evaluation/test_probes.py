"""Probes read labels and factors from images they were not trained on, and the measures that read with them."""

import dataclasses

import keras
import numpy as np
import pytest
from support.evaluation_pairs import evidence_of, make_pairs, measured, real_of, striped

import keras_a2i.evaluation.evaluate  # noqa: F401  It registers the measures.
from keras_a2i.evaluation import pairs as pairs_module
from keras_a2i.evaluation import probes, response_measures
from keras_a2i.evaluation.measures import MEASURES
from keras_a2i.evaluation.pairs import scaled
from keras_a2i.evaluation.probes import LabelProbe, factor_probe, factor_recovery, label_accuracy, label_probe
from keras_a2i.evaluation.train_network import train_network


@pytest.fixture(scope="module")
def striped_probes():
    """A probe of labels and one of factors, both of `striped(160, 0)`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "FACTOR_STEPS", 100)
        patch.setattr(probes, "LABEL_STEPS", 160)
        train = striped(160, 0)
        return label_probe(train), factor_probe(train)


@pytest.mark.training
def test_probes_read_labels_and_factors_of_generated_images(striped_probes):
    labels_of, factors_of = striped_probes
    train, held_out = striped(160, 0), striped(60, 1)
    real = real_of(held_out)
    wrong = np.transpose(real, (0, 2, 1, 3))
    found = label_accuracy(labels_of, train, held_out, real, wrong)
    assert found.real > 0.95 and found.generated == found.real and found.shuffled < 0.05
    assert set(found.by_label) == {"across", "down"}
    labels = dict(zip(held_out.ids, held_out.labels, strict=True))
    assert np.mean([labels[name] == label for name, label in found.named.items()]) == found.generated
    frequent = max(("across", "down"), key=lambda name: (train.labels == name).sum())
    assert found.most_frequent == (held_out.labels == frequent).mean()
    shade, down = factor_recovery(factors_of, held_out, wrong)
    assert (shade.name, shade.measure, down.measure) == ("shade", "R2", "accuracy")
    assert shade.real > 0.9 and shade.generated > 0.9
    assert down.real > 0.95 and down.generated < 0.05


def test_probes_need_two_labels_or_factors():
    assert label_probe(make_pairs(10)) is None and factor_probe(make_pairs(10)) is None


@pytest.mark.training
def test_label_probe_reads_large_images_in_small(monkeypatch):
    monkeypatch.setattr(probes, "LABEL_STEPS", 160)
    rng = np.random.default_rng(0)
    names = np.array(["left", "right"] * 30)
    images = rng.integers(0, 80, (60, 128, 128, 3)).astype(np.uint8)
    images[names == "left", :, :64] += 120
    images[names == "right", :, 64:] += 120
    probe = LabelProbe(images[:40], names[:40])
    assert probe.model.input_shape == (None, 32, 32, 3)
    assert (probe.read(scaled(images[40:])) == names[40:]).all()
    np.testing.assert_array_equal(probe.read(images[40:]), names[40:])


@pytest.mark.training
def test_very_many_images_are_thinned_out_for_training(monkeypatch):
    monkeypatch.setattr(probes, "MEMORY_BUDGET", 4 * 16 * 16 * 3 * 9)
    used = []
    monkeypatch.setattr(probes, "thumbnails_of", lambda images, size, rows: used.append(rows) or images[rows] / 255.0)
    pairs = make_pairs(30, labels=["x", "y"] * 15)
    LabelProbe(pairs.images, pairs.labels, steps=1)
    assert used[0].tolist() == [0, 3, 7, 10, 14, 18, 21, 25, 29]
    assert pairs_module.MEMORY_BUDGET == 256 << 20


@pytest.mark.training
def test_training_ends_early_once_the_loss_is_low_enough():
    images = np.random.default_rng(0).uniform(-1, 1, (40, 16, 16, 3)).astype(np.float32)
    losses = {}
    for stop_below in (0.0, 0.05):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
        train_network(model, "mse", images, np.zeros((40, 1)), 400, stop_below=stop_below)
        steps = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
        losses[steps] = float(np.square(model.predict(images, verbose=0)).mean())
    (whole, low), (early, higher) = losses.items()
    assert whole == 500 and 100 <= early < 500 and low < higher < 0.05


@pytest.mark.training
def test_own_source_is_measured_where_sources_are_known(striped_probes, monkeypatch):
    def probe_of(images, names, steps):
        """The probe of these images' labels, which are their sources here."""
        np.testing.assert_array_equal(images, striped(160, 0).images)
        np.testing.assert_array_equal(names, striped(160, 0).labels)
        assert steps == response_measures.SOURCE_STEPS
        return striped_probes[0]

    monkeypatch.setattr(response_measures, "LabelProbe", probe_of)
    train, held_out = (dataclasses.replace(p, sources=p.labels) for p in (striped(160, 0), striped(60, 1)))
    real = real_of(held_out)
    assert measured("own-source", real, held_out, train=train) == "sources and labels coincide: see the label accuracy"
    train, held_out = (dataclasses.replace(p, labels=np.array([""] * len(p))) for p in (train, held_out))
    evidence = dataclasses.replace(evidence_of(real, held_out, train), shuffled=np.transpose(real, (0, 2, 1, 3)))
    found = MEASURES["own-source"].function(evidence)
    assert found.value > 0.95 and found.reference < 0.05 and "on real images" in found.explanation
    elsewhere = dataclasses.replace(held_out, sources=np.array(["new"] * 60))
    assert "2 to 200 training sources" in measured("own-source", real, elsewhere, train=train)
    names = np.unique(held_out.sources)
    taken_for_another = names[(np.searchsorted(names, held_out.sources) + 1) % len(names)]
    mistaken = dataclasses.replace(evidence, held_out=dataclasses.replace(held_out, sources=taken_for_another))
    assert "its probe has an accuracy of 0 % on real images, no more than" in MEASURES["own-source"].function(mistaken)


@pytest.mark.training
def test_louder_audio_changes_images_in_order(striped_probes):
    probe = striped_probes[1]
    waveforms = 0.2 * np.random.default_rng(0).standard_normal((10, 800)).astype(np.float32)
    held_out = dataclasses.replace(make_pairs(10), waveforms=waveforms)

    def bright(waveforms):
        level = np.clip(np.sqrt(np.mean(waveforms**2, axis=1)) / 0.4, 0, 1)
        return np.broadcast_to(2 * level[:, None, None, None] - 1, (len(waveforms), 32, 32, 3)).astype(np.float32)

    def values_of(predict_fn, factors=probe):
        options = {"predict_fn": predict_fn, "to_inputs": lambda x: x, "factors": factors}
        evidence = evidence_of(real_of(held_out), held_out, **options)
        return [MEASURES[id].function(evidence) for id in ("quieter", "louder")]

    quieter, louder = values_of(bright)
    assert quieter.value == pytest.approx(1) and louder.title == "hidden factor shade vs. level"
    assert louder.value == pytest.approx(1)
    ignoring = values_of(lambda x: np.zeros((len(x), 32, 32, 3), np.float32))
    assert [found.value for found in ignoring] == [0, 0]
    assert values_of(lambda x: 1e-3 * bright(x))[0].value == 0
    quieter, reason = values_of(bright, None)
    assert quieter.value == pytest.approx(1) and reason == "the pairs have no hidden factors"
