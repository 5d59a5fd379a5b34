"""Exports of models with a style that know labels: a second input and a second output, as in the Keras model."""

import dataclasses
import types

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from support.styled_models import LABELS, exemplar_model, prototype_model

from keras_a2i.config import ImageConfig
from keras_a2i.errors import ExportError, ModelError, UsageError
from keras_a2i.evaluation.subject import open_subject
from keras_a2i.exporters import FORMATS
from keras_a2i.exporters.agreement import compare_styles_and_labels
from keras_a2i.exporters.export import export
from keras_a2i.exporters.formats import Limits, ServedModel, make_options
from keras_a2i.exporters.inference_model import to_float32
from keras_a2i.exporters.serving_model import find_style_units, to_serving
from keras_a2i.layers import ExemplarMosaic
from keras_a2i.models.classifier import name_labels
from keras_a2i.models.dtype_policy import dtype_policy
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.serving.film_settings import FilmSettings
from keras_a2i.serving.images import generate_images
from keras_a2i.serving.predictor import _from_export, as_predictor, load
from keras_a2i.serving.video import stream_frames

pytestmark = pytest.mark.training
FEATURES = np.random.default_rng(1).normal(0, 15, (3, 104)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return exemplar_model()


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    """A .tflite file of the model."""
    return export(model, tmp_path_factory.mktemp("styles") / "model.tflite").path


def _check_equals_keras(predictor, model, atol):
    """The usual images, those of drawn styles, and the label probabilities are the Keras model's."""
    assert predictor.metadata.style_units == 4 and predictor.metadata.labels == LABELS
    assert predictor.can_sample and predictor.can_classify and not predictor.can_encode
    np.testing.assert_allclose(predictor.predict(FEATURES), model.predict(FEATURES, verbose=0), atol=atol)
    samples, usual = model.sample(FEATURES, 3, temperature=1.5, seed=7), model.sample(FEATURES, 1, temperature=0)
    np.testing.assert_allclose(predictor.sample(FEATURES, 3, temperature=1.5, seed=7), samples, atol=atol)
    assert np.abs(samples - usual).mean() > 0.02
    probabilities = predictor.predict_labels(FEATURES).probabilities
    np.testing.assert_allclose(probabilities, model.predict_labels(FEATURES).probabilities, atol=atol)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-3)
    assert np.ptp(probabilities, axis=0).max() > 0.01


@pytest.mark.parametrize("format", ["saved-model", "onnx"])
def test_export_of_styles_and_labels_equals_the_keras_model(model, tmp_path, format):
    done = export(model, tmp_path / f"model{FORMATS[format].suffix}", format=format)
    _check_equals_keras(load(done.path), model, 1e-3)


def test_tflite_file_of_styles_and_labels_equals_the_keras_model(path, model):
    _check_equals_keras(load(path), model, 1e-3)
    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    assert {name: tuple(each["shape"]) for name, each in runner.get_input_details().items()} == {
        "features": (1, 104),
        "style": (1, 4),
    }
    assert set(runner.get_output_details()) == {"image", "logits"}
    # Zeros and no style are the same image, and readers need none.
    found = runner(features=FEATURES[:1], style=np.zeros((1, 4), np.float32))
    np.testing.assert_array_equal(found["image"], load(path).predict(FEATURES[:1]))
    np.testing.assert_array_equal(load(path).sample(FEATURES, 1, temperature=0)[:, 0], load(path).predict(FEATURES))


def test_style_of_zeros_gives_exactly_the_image_of_the_keras_model(model):
    serving = to_serving(model, len(LABELS))
    found = serving.predict([FEATURES, np.zeros((3, 4), np.float32)], verbose=0)
    np.testing.assert_array_equal(found["image"], model.predict(FEATURES, verbose=0))
    assert {id(variable) for variable in serving.variables} == {id(variable) for variable in model.variables}
    assert find_style_units(model) == 4


def test_int8_file_of_a_label_head_agrees_in_styles_and_labels(tmp_path):
    model = prototype_model()
    inputs = np.random.default_rng(2).normal(0, 15, (64, 104)).astype(np.float32)
    predictor = load(export(model, tmp_path / "model.tflite", quantize="int8", calibration=inputs).path)
    found, wanted = (each.predict_labels(FEATURES).probabilities for each in (predictor, model))
    assert np.abs(found - wanted).mean() <= 0.02
    expected = model.sample(FEATURES, 2, seed=3)
    assert np.abs(predictor.sample(FEATURES, 2, seed=3) - expected).mean() <= 0.02
    assert np.abs(expected[:, 0] - expected[:, 1]).mean() > 0.02


def test_int8_file_with_dynamic_ranges_has_latents_and_needs_no_calibration(model, tmp_path):
    done = export(model, tmp_path / "model.tflite", quantize="int8", ranges="dynamic", latents=True)
    assert done.notes[0] == "the ranges of activations are measured in every input"
    predictor = load(done.path)
    latents = predictor.encode(FEATURES)
    assert np.abs(predictor.decode(latents) - predictor.predict_inputs(FEATURES)).mean() <= 0.01
    assert np.abs(predictor.sample(FEATURES, 2, seed=1) - model.sample(FEATURES, 2, seed=1)).mean() <= 0.02


def test_tflite_file_with_latents_encodes_decodes_and_stores_weights_once(path, model, tmp_path):
    done = export(model, tmp_path / "model.tflite", latents=True)
    assert done.agreement.max <= 1e-3 and done.size - path.stat().st_size < 40_000
    predictor, keras_predictor = load(done.path), as_predictor(model)
    latents = predictor.encode(FEATURES)
    np.testing.assert_allclose(latents, model.encode(FEATURES), atol=1e-4)
    np.testing.assert_array_equal(latents[:, -4:], 0)
    latents[:, -4:] = np.random.default_rng(4).standard_normal((3, 4))
    np.testing.assert_allclose(predictor.decode(latents), model.decode(latents), atol=1e-3)
    np.testing.assert_allclose(predictor.sample(FEATURES, 2, seed=1), model.sample(FEATURES, 2, seed=1), atol=1e-3)
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(3).uniform(-0.5, 0.5, 16_000), 16_000)
    smoothed = [
        np.concatenate(list(stream_frames(each, tmp_path / "a.wav", FilmSettings(fps=4, smooth=0.5))))
        for each in (predictor, keras_predictor)
    ]
    np.testing.assert_allclose(*smoothed, atol=1e-3)


def test_latents_of_int8_and_of_a_model_without_a_latent_vector_are_refused(tmp_path):
    with pytest.raises(
        UsageError, match=r"latents must be left out with calibrated ranges.* latents=True with ranges=None"
    ):
        make_options(FORMATS["tflite"], {"latents": True, "quantize": "int8"})
    inputs = keras.Input((104,), name="features")
    plain = keras.Model(inputs, keras.layers.Reshape((16, 16, 3))(keras.layers.Dense(768)(inputs)))
    with pytest.raises(ExportError, match=r"latents=True needs a model with an encoder .* Received: .* Leave it out"):
        export(plain, tmp_path / "model.tflite", latents=True)


@pytest.mark.parametrize("given", [None, ModelMetadata(image=ImageConfig(size=32), style_units=4)])
def test_export_of_a_model_without_label_names_classifies_by_number(tmp_path, given):
    model = prototype_model(labels=())
    assert model.metadata.labels == ("0", "1", "2")
    predictor = load(export(model, tmp_path / "saved", metadata=given).path)
    assert predictor.metadata.labels == ("0", "1", "2") and predictor.label_logits(FEATURES[:0]).shape == (0, 3)
    found, wanted = (each.predict_labels(FEATURES) for each in (predictor, model))
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-5)
    assert found.answers == wanted.answers


@pytest.mark.parametrize(("supported", "atol"), [([], 1e-5), ([tf.float16], 0.03)])
def test_mosaic_of_one_or_of_several_recordings_is_the_same_in_a_file(tmp_path, supported, atol):
    layer = ExemplarMosaic(6, 4, 3, query_dim=8)
    layer.build((None, 32))
    layer.keys.assign(np.eye(8)[:, :6])
    layer.adapt(np.random.default_rng(0).uniform(-1, 1, (6, 4, 4, 3)), sources=np.array([0, 0, 1, 1, 2, 2]))
    heard = [(0, 0, 0, 0), (0, 0, 2, 2), (2, 2, 2, 4), (0, 2, 4, 4), (1, 0, 3, 5), (6, 6, 6, 6), (7, 7, 0, 0)]
    inputs = np.eye(8, dtype=np.float32)[np.array(heard)].reshape(len(heard), 32)
    content = keras.Input((32,))
    keras.Model(content, layer(content)).export(tmp_path / "saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT] * len(supported)
    converter.target_spec.supported_types = supported
    interpreter = Interpreter(model_content=converter.convert())
    run = interpreter.get_signature_runner()
    (name,) = run.get_input_details()
    found = np.concatenate([*run(**{name: inputs}).values()])
    np.testing.assert_allclose(found, layer(inputs), atol=atol)


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx"])
def test_export_of_a_model_of_half_precision_is_its_twin_in_float32(tmp_path, name):
    with dtype_policy("mixed_float16"):
        model = prototype_model()
    twin = to_float32(model)
    assert twin.compute_dtype == "float32" and to_float32(twin) is twin
    predictor = load(export(model, tmp_path / name).path)
    expected = twin.predict(FEATURES, verbose=0)
    np.testing.assert_allclose(predictor.predict(FEATURES), expected, atol=1e-4)
    np.testing.assert_allclose(model.predict(FEATURES, verbose=0), expected, atol=0.02)


def test_files_whose_labels_are_others_than_the_model_tells_apart_have_numbers(tmp_path):
    model = prototype_model(labels=())
    # Of an earlier version, or of an own model that was trained on records with other labels.
    for labels in ((), ("a", "b", "c", "d", "e")):
        metadata = dataclasses.replace(model.metadata, labels=labels)
        save_model(model, tmp_path / "model.keras", metadata)
        predictor = load(tmp_path / "model.keras")
        assert predictor.metadata.labels == predictor.predict_labels(FEATURES).labels == ("0", "1", "2")
    # Without the class, as behind feature layers, the label prototypes tell their number.
    plain = keras.Model(model.inputs, model.outputs)
    assert name_labels(plain, ModelMetadata()).labels == ("0", "1", "2")
    silent = keras.Sequential([keras.Input((104,)), keras.layers.Dense(3)])
    assert name_labels(silent, metadata) == metadata


def test_predictor_of_a_keras_file_classifies_as_its_model(model, tmp_path):
    save_model(model, tmp_path / "model.keras", model.metadata)
    for predictor in (load(tmp_path / "model.keras"), as_predictor(model)):
        found, wanted = (each.predict_labels(FEATURES).probabilities for each in (predictor, model))
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_generate_images_of_a_file_draws_the_samples_of_its_model(path, model, tmp_path):
    waveform = np.random.default_rng(3).uniform(-0.5, 0.5, 32_000)
    folders = []
    for name, source in (("file", path), ("keras", model)):
        paths = generate_images(source, waveform, tmp_path / name, sample_rate=16_000, samples=2, seed=5, sheet=False)
        folders.append([each.name for each in paths])
    assert folders[0] == folders[1] == ["0000-1.png", "0000-2.png", "0001-1.png", "0001-2.png"]
    images = load(path).sample(waveform, 2, seed=5, sample_rate=16_000)
    np.testing.assert_allclose(images, as_predictor(model).sample(waveform, 2, seed=5, sample_rate=16_000), atol=1e-3)


def test_file_of_an_older_version_has_the_usual_image_and_refuses_samples():
    """Such a file states the style of its model, and has neither the input nor the output."""
    metadata = ModelMetadata(style_units=4, labels=LABELS)
    served = ServedModel(lambda values: {"image": values["features"]}, metadata, ["features"], ["image"])
    assert not served.has_style and not served.has_logits
    np.testing.assert_array_equal(served(FEATURES), FEATURES)
    predictor = _from_export(served, metadata)
    assert not predictor.can_sample and not predictor.can_classify
    with pytest.raises(UsageError, match=r"export with the input style. Received: .* doesn't accept one. Export it ag"):
        predictor.sample(FEATURES, 2)
    with pytest.raises(UsageError, match=r"Labels need a model that classifies.* Export it again if"):
        predictor.predict_labels(FEATURES)


def test_served_model_of_other_inputs_or_outputs_is_refused():
    for inputs, outputs in ((["style"], ["image"]), (["features", "style"], ["image"]), (["features"], ["picture"])):
        with pytest.raises(ModelError, match=r"An export must have the input features.* Received: .*" + outputs[0]):
            ServedModel(dict, ModelMetadata(), inputs, outputs)


def test_export_that_differs_in_styles_or_labels_is_refused(path, model):
    served, metadata = FORMATS["tflite"].load(path)
    run = served._run
    for output, what in (("image", "drawn styles"), ("logits", "label probabilities")):
        served._run = lambda values, output=output: run(values) | {output: 1.2 * run(values)[output]}
        with pytest.raises(ExportError, match=rf"max differences of at most 0.001. Received: 0\.\d+ on .*{what}"):
            compare_styles_and_labels(model, served, FEATURES[:2], Limits(max=1e-3), metadata)


def test_evaluation_of_a_file_classifies_as_that_of_its_keras_model(path, model):
    manifest = types.SimpleNamespace(features=model.metadata.features, image=model.metadata.image)
    classifiers = [open_subject(each, manifest).classify for each in (path, model)]
    np.testing.assert_allclose(*(classify(FEATURES) for classify in classifiers), atol=1e-4)
