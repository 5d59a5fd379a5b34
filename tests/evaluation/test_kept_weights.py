"""Networks that judge images are trained once for the same data, settings and seed."""

import os

import keras
import numpy as np
import pytest

from keras_a2i.cache_folder import CACHE_VARIABLE, cache_folder
from keras_a2i.evaluation import kept_weights
from keras_a2i.evaluation.kept_weights import KeptWeights
from keras_a2i.evaluation.train_network import train_network

X = np.random.default_rng(0).uniform(-1, 1, (32, 6)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    return tmp_path / "networks"


def network(seed=0, units=5):
    keras.utils.set_random_seed(seed)
    hidden = keras.layers.Dense(units, activation="relu")
    return keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dropout(0.5), keras.layers.Dense(1)])


def kept(model=None, loss="mse", inputs=X, targets=Y, **settings):
    return KeptWeights(model or network(), loss, (inputs, targets), {"steps": 10} | settings)


def assert_same(weights, others):
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.training
def test_network_is_trained_once_for_the_same_data():
    first, again = network(), network()
    train_network(first, "mse", X, Y, steps=10)
    train_network(again, "mse", X, Y, steps=10)
    assert int(first.optimizer.iterations) == 10 and not hasattr(again, "optimizer")
    assert_same(first.get_weights(), again.get_weights())
    assert (first.get_weights()[0] != network().get_weights()[0]).any()


@pytest.mark.parametrize(
    "change",
    [
        {"model": 1},
        {"loss": "mae"},
        {"loss": keras.losses.Huber(delta=0.5)},
        {"inputs": X + np.float32(1e-6)},
        {"inputs": X.astype(np.float64)},
        {"targets": Y[::-1]},
        {"steps": 20},
        {"stop_below": 0.1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_training_has_a_file_of_its_own(change):
    if "model" in change:
        change = {"model": network(seed=change["model"])}
    assert kept().name == kept().name != kept(**change).name


@pytest.mark.parametrize("content", [b"nothing", b"", b"PK\x03\x04 and no more"])
def test_damaged_file_is_replaced(folder, content):
    model, other = network(), network(seed=1)
    kept().save(model)
    (file,) = folder.iterdir()
    file.write_bytes(content)
    assert not kept().restore(other)
    kept().save(model)
    assert kept().restore(other) and list(folder.iterdir()) == [file]
    assert_same(model.get_weights(), other.get_weights())


def test_weights_of_another_shape_are_left(folder):
    kept().save(network(units=3))
    model = network()
    assert not kept().restore(model)
    assert_same(model.get_weights(), network().get_weights())


def test_without_a_folder_that_can_be_written_nothing_is_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    kept().save(network())
    assert not kept().restore(network())


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
def test_networks_of_another_dtype_policy_have_files_of_their_own(policy):
    name = kept().name
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        assert kept().name == kept().name != name
    finally:
        keras.config.set_dtype_policy(before)


def test_file_that_cannot_be_marked_as_used_is_read(monkeypatch):
    kept().save(network())

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("os.utime", refuse)
    assert kept().restore(network(seed=1)) is True


def test_without_a_home_directory_nothing_is_kept(monkeypatch):
    def refuse(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setattr("pathlib.Path.expanduser", refuse)
    with pytest.raises(OSError, match=rf"home directory\. Set {CACHE_VARIABLE} to a folder"):
        cache_folder()
    kept().save(network())
    assert not kept().restore(network())


def test_files_that_were_not_used_for_longest_are_removed(folder, monkeypatch):
    monkeypatch.setattr(kept_weights, "MAX_FILES", 2)
    first, second, third = (kept(steps=steps) for steps in (1, 2, 3))
    for age, each in enumerate((first, second), 1):
        each.save(network())
        os.utime(folder / each.name, (age, age))
    assert first.restore(network())
    third.save(network())
    assert sorted(file.name for file in folder.iterdir()) == sorted([first.name, third.name])
