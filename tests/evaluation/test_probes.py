"""Probes read labels and factors from images they were not trained on."""

import keras
import numpy as np
import pytest
from support.evaluation_pairs import make_pairs, real_of, striped

from keras_a2i.evaluation import pairs as pairs_module
from keras_a2i.evaluation import probes
from keras_a2i.evaluation.pairs import scaled
from keras_a2i.evaluation.probes import LabelProbe, factor_probe, factor_recovery, label_accuracy, label_probe
from keras_a2i.evaluation.train_network import train_network


@pytest.mark.training
def test_probes_read_labels_and_factors_of_generated_images(monkeypatch):
    monkeypatch.setattr(probes, "STEPS", 80)
    train, held_out = striped(160, 0), striped(60, 1)
    real = real_of(held_out)
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


def test_probes_need_two_labels_or_factors():
    assert label_probe(make_pairs(10)) is None and factor_probe(make_pairs(10)) is None


@pytest.mark.training
def test_label_probe_reads_large_images_in_small(monkeypatch):
    monkeypatch.setattr(probes, "STEPS", 40)
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
    monkeypatch.setattr(probes, "STEPS", 1)
    monkeypatch.setattr(probes, "MEMORY_BUDGET", 4 * 16 * 16 * 3 * 9)
    used = []
    monkeypatch.setattr(probes, "thumbnails_of", lambda images, size, rows: used.append(rows) or images[rows] / 255.0)
    pairs = make_pairs(30, labels=["x", "y"] * 15)
    LabelProbe(pairs.images, pairs.labels)
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
