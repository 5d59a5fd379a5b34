"""Baselines and controls: values against NumPy and scikit-learn, and no whole split in memory."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from support.evaluation_pairs import make_pairs, real_of

from keras_a2i.evaluation import baselines as baselines_module
from keras_a2i.evaluation import contenders as contenders_module
from keras_a2i.evaluation.baselines import BASELINES, baseline, baselines
from keras_a2i.evaluation.contenders import model_and_controls, shuffled_rows
from keras_a2i.evaluation.pairs import scaled


def images_of(train, held_out):
    rows = np.arange(len(held_out))
    return {contender.id: contender.images[rows] for contender in baselines(train, held_out)}


def cases():
    train = make_pairs(40, labels=["x", "y", "z", "y"] * 10)
    held_out = make_pairs(8, seed=1, times=[3.4, 3.4, 50, 50, 0, 0, 7, 7], labels=["x", "y", "z", "new"] * 2)
    return train, held_out


def test_baselines_are_as_explained():
    train, held_out = cases()
    found, real = images_of(train, held_out), real_of(train)
    np.testing.assert_allclose(found["training-mean"][3], real.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["source-mean"][1], real[train.sources == "b"].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["label-mean"][2], real[train.labels == "z"].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["label-mean"][3], real.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["nearest-in-time"][0], real[6], atol=1e-5)
    np.testing.assert_allclose(found["two-nearest-in-time"][1], (real[7] + real[9]) / 2, atol=1e-5)
    std = train.features.std(axis=0)
    nearest = NearestNeighbors(n_neighbors=1).fit(train.features / std).kneighbors(held_out.features / std)[1][:, 0]
    np.testing.assert_allclose(found["nearest-audio"], real[nearest], atol=1e-6)
    pca = PCA(n_components=39).fit(real.reshape(40, -1))
    flat = scaled(held_out.images).reshape(8, -1)
    expected = np.clip(pca.inverse_transform(pca.transform(flat)), -1, 1)
    np.testing.assert_allclose(found["principal-components"].reshape(8, -1), expected, atol=1e-3)


def test_baselines_in_slices_equal_those_in_one_piece(monkeypatch):
    train, held_out = cases()
    whole = images_of(train, held_out)
    monkeypatch.setattr(baselines_module, "MEMORY_BUDGET", 4 * 40 * 100)
    monkeypatch.setattr(baselines_module, "rows_that_fit", lambda images: 3)
    monkeypatch.setattr(baselines_module, "_DISTANCES_AT_ONCE", 3)
    monkeypatch.setattr(contenders_module, "MEMORY_BUDGET", 0)
    sliced = images_of(train, held_out)
    for id in set(whole) - {"principal-components"}:
        np.testing.assert_allclose(sliced[id], whole[id], atol=1e-6, err_msg=id)
    # Of fewer training images: the budget holds 20 of them.
    assert not np.allclose(sliced["principal-components"], whole["principal-components"], atol=1e-3)


def test_unknown_sources_have_no_neighbours_in_time():
    ids = [contender.id for contender in baselines(make_pairs(10), make_pairs(4, sources=("c",)))]
    assert "nearest-in-time" not in ids and "source-mean" in ids and "label-mean" not in ids


def test_baseline_added_by_its_decorator_is_scored(monkeypatch):
    monkeypatch.setattr(baselines_module, "BASELINES", dict(BASELINES))

    @baseline("black", "black", "baseline", "nothing but black")
    def black(train, held_out):
        return np.full((len(held_out), 16, 16, 3), -1, np.float32)

    found = {c.id: c for c in baselines_module.baselines(*cases())}
    assert found["black"].title == "black" and (found["black"].images[np.arange(2)] == -1).all()


def test_shuffled_rows_leave_no_pair_its_own_audio():
    for n in (2, 3, 50):
        rows = shuffled_rows(n, seed=0)
        assert sorted(rows) == list(range(n)) and (rows != np.arange(n)).all()


@pytest.mark.parametrize("budget", [1 << 20, 0], ids=["kept", "streamed"])
def test_controls_are_the_model_with_other_audio_and_with_silence(monkeypatch, budget):
    monkeypatch.setattr(contenders_module, "MEMORY_BUDGET", budget)
    held_out, rows, calls = make_pairs(5), np.arange(5), []

    def predict(inputs):
        calls.append(len(inputs))
        return np.repeat(inputs[:, :1], 768, axis=1).reshape(-1, 16, 16, 3)

    donors = shuffled_rows(5, 0)
    model, shuffled, silence = model_and_controls(
        predict, held_out.inputs, (16, 16, 3), np.full(6, 7.0, np.float32), donors
    )
    images = model.images[rows]
    np.testing.assert_array_equal(shuffled.images[rows], images[donors])
    assert (silence.images[rows] == 7).all() and len(silence.images) == 5
    assert calls == ([1, 5] if budget else [1, 5, 5])
    np.testing.assert_array_equal(model.images[np.array([3, 1])], images[[3, 1]])
