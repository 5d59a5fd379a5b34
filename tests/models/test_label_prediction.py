"""Class probabilities of label heads and of exemplars, by value; calibrations that are saved and loaded."""

import dataclasses
import json
import sys

import keras
import numpy as np
import pytest
import scipy.special

from keras_a2i.errors import MissingPackageError, UsageError
from keras_a2i.models import AudioToImage, DenseEncoder, ExemplarGenerator, TransposedGenerator, adapt_exemplars
from keras_a2i.models.classifier import can_classify, classify
from keras_a2i.models.label_calibration import LabelCalibration
from keras_a2i.models.label_prediction import LabelPrediction
from keras_a2i.models.model_file import ModelMetadata, load_model, save_model
from keras_a2i.serving.predictor import as_predictor

LABELS = ["a", "b", "c"]


def exemplar_model(style_units=2):
    model = AudioToImage(
        DenseEncoder(units=(8,)),
        ExemplarGenerator(n_exemplars=6, components=2, width=4, blocks=1),
        image_size=16,
        labels=LABELS,
        style_units=style_units,
    )
    images = np.random.default_rng(0).uniform(-1, 1, (6, 16, 16, 3)).astype(np.float32)
    adapt_exemplars(model, images, np.array([0, 0, 1, 2, 2, 2]))
    return model


def head_model():
    return AudioToImage(
        DenseEncoder(units=(8,)),
        TransposedGenerator(channels=(4,), base_channels=4, label_sharpness=4.0),
        image_size=16,
        labels=LABELS,
    )


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(1).standard_normal((70, 104)).astype(np.float32)


@pytest.mark.backend
def test_probabilities_of_exemplars_are_the_shares_of_their_labels(features):
    model = exemplar_model()
    attention = model.generator.get_layer("exemplars")
    query, keys = model.encode(features)[:, :-2], keras.ops.convert_to_numpy(attention.keys)
    cosines = (query / np.linalg.norm(query, axis=1, keepdims=True)) @ (keys / np.linalg.norm(keys, axis=0))
    shares = scipy.special.softmax(10 * cosines, axis=1)
    expected = np.stack([shares[:, :2].sum(axis=1), shares[:, 2], shares[:, 3:].sum(axis=1)], axis=1)
    found = model.predict_labels(features)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(found.evidence, scipy.special.logsumexp(10 * cosines, axis=1), atol=1e-4)
    assert found.answers == [LABELS[i] for i in expected.argmax(axis=1)]


@pytest.mark.backend
def test_probabilities_of_a_label_head_are_its_softmax_at_the_temperature(features):
    model = head_model()
    logits = keras.ops.convert_to_numpy(model.label_head(model.encode(features)))[:, 0]
    np.testing.assert_allclose(classify(model, features), logits, atol=1e-5)
    model.calibration = LabelCalibration(temperature=0.5)
    found = model.predict_labels(features)
    np.testing.assert_allclose(found.probabilities, scipy.special.softmax(2 * logits, axis=1), atol=1e-5)
    assert found.probabilities.dtype == np.float32 and not found.is_unknown.any()


def test_clips_below_the_threshold_are_unknown():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    found = LabelPrediction(("a", "b"), probabilities, np.array([3.0, 1.0, 2.0], np.float32), threshold=2.0)
    assert found.answers == ["a", "unknown", "a"] and found.is_unknown.tolist() == [False, True, False]
    assert repr(found) == "LabelPrediction(3 clips, 2 labels: a, unknown, a)"
    four = LabelPrediction(("a", "b"), probabilities[[0, 0, 1, 1]], np.ones(4, np.float32))
    assert repr(four) == "LabelPrediction(4 clips, 2 labels: a, a, b, ...)"
    frame = found.to_frame()
    assert frame.columns.tolist() == ["label", "confidence", "is_unknown"]
    assert frame["label"].tolist() == ["a", "b", "a"] and frame["is_unknown"].tolist() == [False, True, False]
    assert frame["confidence"].tolist() == pytest.approx([0.9, 0.8, 0.6])


def test_table_of_predicted_labels_without_pandas_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    found = LabelPrediction(("a",), np.ones((1, 1), np.float32), np.ones(1, np.float32))
    with pytest.raises(MissingPackageError, match=r"A DataFrame needs the package pandas, which isn't installed"):
        found.to_frame()


def test_calibration_is_saved_and_loaded(features, tmp_path):
    model = exemplar_model()
    model.calibration = LabelCalibration(
        temperature=0.7, threshold=float(np.median(model.predict_labels(features).evidence))
    )
    expected = model.predict_labels(features)
    assert 30 < expected.answers.count("unknown") < 40
    model.save_to_preset(tmp_path)
    loaded, metadata = load_model(tmp_path / "model.keras")
    assert loaded.calibration == metadata.calibration == model.calibration
    np.testing.assert_allclose(loaded.predict_labels(features).probabilities, expected.probabilities, atol=1e-6)
    # Plain Keras stores it, too.
    model.save(tmp_path / "plain.keras")
    assert keras.saving.load_model(tmp_path / "plain.keras").calibration == model.calibration
    predicted = as_predictor(loaded).predict_labels(features)
    assert predicted.answers == expected.answers and predicted.labels == tuple(LABELS)
    # That of a file whose network was written before calibrations, such as those of some shipped models.
    calibration, model.calibration = model.calibration, None
    save_model(model, tmp_path / "early.keras", dataclasses.replace(metadata, calibration=calibration))
    early = AudioToImage.from_preset(tmp_path / "early.keras")
    assert early.predict_labels(features).answers == expected.answers
    early.save_to_preset(tmp_path / "again")
    assert load_model(tmp_path / "again" / "model.keras")[1].calibration == calibration
    # Metadata of a file that was written before calibrations.
    old = json.loads(ModelMetadata(labels=("a", "b")).to_json())
    del old["calibration"]
    assert ModelMetadata.from_json(json.dumps(old)).calibration is None


def test_labels_of_inputs_that_are_not_finite_are_refused(features):
    wrong = np.array(features)
    wrong[1, 2] = np.nan
    with pytest.raises(UsageError, match=r"The inputs must be finite\. Received: NaN or infinite numbers"):
        exemplar_model().predict_labels(wrong)


def test_models_without_labels_are_refused(features, tmp_path):
    plain = AudioToImage(DenseEncoder(units=(8,)), TransposedGenerator(channels=(4,), base_channels=4), image_size=16)
    assert not can_classify(plain) and can_classify(head_model()) and not can_classify(None)
    with pytest.raises(UsageError, match="predict_labels needs a model that classifies labels"):
        plain.predict_labels(features)
    with pytest.raises(UsageError, match="Labels need a model that classifies"):
        as_predictor(lambda x: np.zeros((len(x), 16, 16, 3)), ModelMetadata()).predict_labels(features)
    save_model(plain, tmp_path / "m.keras", plain.metadata)
    assert load_model(tmp_path / "m.keras")[0].calibration is None
