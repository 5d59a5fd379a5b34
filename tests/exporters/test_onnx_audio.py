"""ONNX files of models whose input is a waveform: styles, labels and any batch as in Keras, in ONNX Runtime alone."""

import keras
import numpy as np
import onnxruntime
import pytest
import soundfile
from click.testing import CliRunner
from support.styled_models import LABELS, mosaic_model

import keras_a2i as a2i
from keras_a2i.cli.main import cli
from keras_a2i.exporters.export import export
from keras_a2i.exporters.interpreter import operators
from keras_a2i.models import adapt_exemplars
from keras_a2i.models.shipped import shipped_models
from keras_a2i.recipes import get_recipe
from keras_a2i.serving.predictor import load

pytestmark = pytest.mark.training


def _scenes_model():
    keras.utils.set_random_seed(0)
    small = {"encoder.channels": (8, 8, 8, 8, 8), "generator.channels": (8, 8, 8), "base_channels": 8}
    model = get_recipe("scenes", **small).build(image_size=32)
    _change_statistics(model)
    return model


def _words_model():
    """Selects among six images, two of each of three labels; its two encoders align the words."""
    keras.utils.set_random_seed(0)
    small = {"encoder.channels": (8, 8, 8, 8, 8), "n_exemplars": 6, "width": 8}
    model = get_recipe("words-exemplars", **small).build(image_size=32, labels=LABELS)
    images = np.random.default_rng(0).uniform(-1, 1, (6, *model.image.shape)).astype(np.float32)
    adapt_exemplars(model, images, np.array([0, 0, 1, 1, 2, 2]))
    _change_statistics(model)
    return model


def _change_statistics(model):
    """Has batch normalisation amplify, so that the images depend on the audio."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "moving" in variable.path:
            variable.assign(rng.uniform(0.02, 0.1, variable.shape))


MODELS = {"exemplars": mosaic_model, "scenes": _scenes_model, "words-exemplars": _words_model}
INPUTS = {"exemplars": {"waveform", "style"}, "scenes": {"waveform"}, "words-exemplars": {"waveform", "style"}}


@pytest.mark.parametrize("name", MODELS)
def test_onnx_file_of_a_model_of_audio_equals_the_keras_model(name, clips, tmp_path):
    model = MODELS[name]()
    done = export(model, tmp_path / "model.onnx")
    assert done.agreement.max <= 1e-4 and done.agreement.count == 16
    session = onnxruntime.InferenceSession(str(done.path))
    assert {each.name for each in session.get_inputs()} == INPUTS[name]
    assert all(each.type == "tensor(float)" for each in (*session.get_inputs(), *session.get_outputs()))
    styles = np.zeros((len(clips), model.style_units), np.float32)
    values = {"waveform": clips} | ({"style": styles} if model.style_units else {})
    expected = model.predict(clips, verbose=0)
    (found,) = session.run(["image"], values)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.01
    # A single clip is a batch, too.
    (first,) = session.run(["image"], {key: value[:1] for key, value in values.items()})
    np.testing.assert_allclose(first, found[:1], atol=1e-4)
    predictor = load(done.path)
    assert predictor.metadata.input == "waveform" and predictor.can_sample == bool(model.style_units)
    if model.style_units:
        samples = model.sample(clips, 2, temperature=1.5, seed=7)
        np.testing.assert_allclose(predictor.sample(clips, 2, temperature=1.5, seed=7), samples, atol=1e-3)
    if name == "words-exemplars":
        assert [each.name for each in session.get_outputs()] == ["image", "logits"]
        probabilities = model.predict_labels(clips).probabilities
        np.testing.assert_allclose(predictor.predict_labels(clips).probabilities, probabilities, atol=1e-4)
        assert np.ptp(probabilities, axis=0).max() > 1e-3
    np.testing.assert_array_equal(model.predict(clips, verbose=0), expected)
    if name == "scenes":
        # The matrix products are those of the ONNX file alone.
        assert "RFFT2D" in operators(export(model, tmp_path / "model.tflite").path)


@pytest.mark.skipif("digits" not in shipped_models(), reason="The shipped models aren't installed")
def test_onnx_file_of_the_shipped_digits_generates_and_classifies_as_keras(tmp_path):
    path, audio = export("digits", tmp_path / "digits.onnx").path, tmp_path / "a.wav"
    rng = np.random.default_rng(0)
    tones = np.sin(2 * np.pi * np.repeat([300, 800], 16_000) * np.arange(32_000) / 16_000)
    soundfile.write(audio, 0.3 * tones * rng.uniform(0, 1, 32_000), 16_000)
    expected, found = a2i.load(shipped_models()["digits"] / "model.keras"), a2i.load(path)
    np.testing.assert_allclose(found.predict(audio), expected.predict(audio), atol=1e-3)
    np.testing.assert_allclose(found.sample(audio, 2, seed=1), expected.sample(audio, 2, seed=1), atol=1e-3)
    labels = found.predict_labels(audio), expected.predict_labels(audio)
    np.testing.assert_allclose(*(each.probabilities for each in labels), atol=1e-4)
    assert labels[0].answers == labels[1].answers
    done = CliRunner().invoke(cli, ["generate", str(path), str(audio), "--out", str(tmp_path / "images")])
    assert done.exit_code == 0 and "predicted labels" in done.output
    assert len(list((tmp_path / "images" / "a").glob("*.png"))) == 2
