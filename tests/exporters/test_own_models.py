"""Export of Keras models that this library didn't make: any layers, compiled with anything."""

import json

import keras
import numpy as np
import pytest

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ExportError, ModelError, UsageError
from keras_a2i.exporters import FORMATS
from keras_a2i.exporters.export import export
from keras_a2i.exporters.sample_inputs import check_inputs
from keras_a2i.layers import LogMel
from keras_a2i.models import with_frontend
from keras_a2i.models.model_file import ModelMetadata, default_metadata, save_model
from keras_a2i.serving.predictor import load

layers = keras.layers


def _generate(x):
    """A small generator of 16 x 16 images as a nested sequential model."""
    return keras.Sequential(
        [
            keras.Input((x.shape[-1],)),
            layers.Dense(128, "relu"),
            layers.Reshape((4, 4, 8)),
            layers.Conv2DTranspose(8, 4, 2, "same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2DTranspose(3, 4, 2, "same"),
            layers.Activation("tanh"),
        ],
        name="generator",
    )(x)


def _compile(model, *, train=True):
    """With a loss that isn't registered and a lambda as a metric, and trained for a step."""

    def own_loss(real, images):
        return keras.ops.mean(keras.ops.abs(real - images))

    model.compile("adam", loss=own_loss, metrics=[lambda real, images: keras.ops.mean(images), keras.losses.Huber()])
    if not train:
        return model
    shape = (2, *model.input_shape[1:])
    model.run_eagerly = True
    model.train_on_batch(np.ones(shape, np.float32) * 0.1, np.zeros((2, *model.output_shape[1:]), np.float32))
    model.run_eagerly = False
    return model


def _lstm_model(recurrent=None, name="audio"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16_000,), name=name)
    x = (recurrent or layers.LSTM(16))(LogMel(sample_rate=16_000)(inputs))
    return _compile(keras.Model(inputs, _generate(x)))


def _mobilenet_model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16_000,), name="waveform")
    x = LogMel(sample_rate=16_000, convention="htk", n_mels=64)(inputs)
    x = layers.Resizing(64, 64)(layers.Reshape((*x.shape[1:], 1))(x))
    net = keras.applications.MobileNetV3Small(
        input_shape=(64, 64, 3),
        weights=None,
        include_top=False,
        pooling="avg",
        include_preprocessing=False,
        minimalistic=True,
    )
    # Not trained: to trace its step takes longer than to export it.
    return _compile(keras.Model(inputs, _generate(net(layers.Concatenate()([x, x, x])))), train=False)


@pytest.mark.training
def test_export_of_mobilenet_on_log_mel_images_agrees(tmp_path, clips):
    model, quantize = _mobilenet_model(), "int8"
    done = export(model, tmp_path / "model.tflite", quantize=quantize, calibration=clips)
    assert done.compared_on == "6 calibration inputs" and done.agreement.count == 6
    predictor = load(tmp_path / "model.tflite")
    expected = model.predict(clips, verbose=0)
    np.testing.assert_allclose(predictor.predict_inputs(clips), expected, atol=0.05)
    assert predictor.metadata.input == "waveform" and predictor.metadata.features.sample_rate == 16_000


@pytest.mark.training
@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_export_of_an_lstm_with_an_unregistered_loss_agrees(tmp_path, clips, quantize):
    """int8 can't convert a loop: the recurrent layers are unrolled for it, and stay what they were."""
    model = _lstm_model(layers.Bidirectional(layers.LSTM(8)))
    done = export(model, tmp_path / "model.tflite", quantize=quantize, calibration=clips)
    assert done.notes[-1].startswith("operators, all built in: ")
    assert ("WHILE" in done.notes[-1]) == (quantize == "none")
    found = load(tmp_path / "model.tflite").predict_inputs(clips)
    atol = 1e-4 if quantize == "none" else 0.05
    np.testing.assert_allclose(found, model.predict(clips, verbose=0), atol=atol)
    assert not model.layers[2].forward_layer.unroll
    samples = np.tile(clips[0], 2)
    np.testing.assert_allclose(load(done.path).predict(samples, 16_000)[1], found[0], atol=max(atol, 1e-3))


@pytest.mark.training
def test_export_of_a_loop_in_int8_needs_dynamic_ranges(tmp_path, clips):
    @keras.saving.register_keras_serializable("tests")
    class Loop(layers.Layer):
        def call(self, x):
            steps = keras.ops.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 0.9), (0, x))
            return steps[1]

        def compute_output_shape(self, shape):
            return shape

    inputs = keras.Input((104,), name="features")
    model = keras.Model(inputs, _generate(Loop()(inputs)))
    rng = np.random.default_rng(0)
    with pytest.raises(ExportError, match=r"needs a model without loops.* Use ranges='dynamic', or quantize="):
        export(
            model, tmp_path / "m.tflite", quantize="int8", ranges="calibrated", calibration=rng.normal(size=(4, 104))
        )
    assert not list(tmp_path.iterdir())
    done = export(model, tmp_path / "m.tflite", quantize="int8", calibration=rng.normal(size=(4, 104)))
    assert done.options.ranges == "dynamic"
    features = rng.normal(size=(3, 104)).astype(np.float32)
    np.testing.assert_allclose(load(done.path).predict_inputs(features), model.predict(features, verbose=0), atol=0.05)


@pytest.mark.training
@pytest.mark.parametrize("format", ["tflite", "saved-model", "onnx"])
def test_export_of_a_compiled_sequential_model_agrees(tmp_path, format):
    keras.utils.set_random_seed(0)
    stack = [keras.Input((104,)), layers.Dense(3 * 256, "tanh"), layers.Reshape((16, 16, 3))]
    model = _compile(keras.Sequential(stack))
    done = export(model, tmp_path / f"model{FORMATS[format].suffix}", format=format)
    assert done.compared_on == "16 synthetic inputs"
    features = np.random.default_rng(0).normal(size=(3, 104)).astype(np.float32)
    np.testing.assert_allclose(load(done.path).predict(features), model.predict(features, verbose=0), atol=1e-4)
    with_audio = with_frontend(model)
    assert with_audio.input_shape == (None, 16_000) and not with_audio.compiled
    done = export(model, tmp_path / "waveform.tflite", input="waveform")
    assert load(done.path).metadata.input == "waveform"


@pytest.mark.training
def test_export_of_a_keras_file_without_metadata_accepts_its_sample_rate(tmp_path):
    inputs = keras.Input((11_025,), name="audio")
    x = layers.Flatten()(layers.AveragePooling1D(525)(layers.Reshape((11_025, 1))(inputs)))
    model = keras.Model(inputs, _generate(x))
    model.save(tmp_path / "own.keras")
    done = export(tmp_path / "own.keras", tmp_path / "own.tflite", sample_rate=22_050)
    features = load(done.path).metadata.features
    assert (features.sample_rate, features.n_samples) == (22_050, 11_025)
    assert load(tmp_path / "own.keras", sample_rate=22_050).metadata == load(done.path).metadata
    with pytest.raises(UsageError, match="sample_rate must be left out for a model that knows its own, 22050 Hz"):
        export(
            load(done.path).metadata and model, tmp_path / "x.tflite", metadata=load(done.path).metadata, sample_rate=8
        )


@pytest.mark.training
def test_export_of_a_keras_file_takes_the_metadata_that_it_lacks(tmp_path):
    inputs = keras.Input((40,))
    model = keras.Model(inputs, _generate(inputs))
    model.save(tmp_path / "own.keras")
    features = FeatureConfig(embedding=40, embedding_name="CLAP")
    metadata = ModelMetadata(features=features, image=ImageConfig(size=16), license="MIT", labels=("a", "b"))
    done = export(tmp_path / "own.keras", tmp_path / "own", metadata=metadata)
    assert load(done.path).metadata == metadata
    save_model(model, tmp_path / "held.keras", metadata)
    export(tmp_path / "held.keras", tmp_path / "own", metadata=metadata, overwrite=True)
    other = ModelMetadata(image=ImageConfig(size=16), license="MIT")
    with pytest.raises(UsageError, match=r"be equal to them. Received: metadata that differ in features, labels$"):
        export(tmp_path / "held.keras", tmp_path / "b", metadata=other)


@pytest.mark.parametrize(
    ("length", "name", "options", "expected"),
    [
        (104, "features", {}, ("features", 104, 0)),
        (104, "x", {"input": "waveform"}, ("features", 104, 0)),
        (128, "x", {}, ("features", 128, 128)),
        (16_000, "x", {}, ("waveform", 16_000, 0)),
        (16_000, "x", {"input": "features"}, ("features", 16_000, 16_000)),
        (20_000, "x", {}, ("waveform", 20_000, 0)),
        (8_000, "waveform", {}, ("waveform", 8_000, 0)),
        (8_000, "x", {"input": "waveform"}, ("waveform", 8_000, 0)),
        (4_410, "x", {"sample_rate": 44_100}, ("waveform", 4_410, 0)),
        (None, "waveform", {}, ("waveform", 16_000, 0)),
        (None, "x", {}, ("features", 104, 0)),
    ],
)
def test_default_metadata_infers_the_input(length, name, options, expected):
    metadata = default_metadata((None, length), (None, 16, 16, 3), name, **options)
    assert (metadata.input, metadata.n_inputs, metadata.features.embedding) == expected
    assert metadata.features.sample_rate == options.get("sample_rate", 16_000) and metadata.image.size == 16
    json.loads(metadata.to_json())


def test_default_metadata_refuses_other_shapes():
    with pytest.raises(ModelError, match=r"must accept features .* Received: \(None, 16000, 1\)"):
        default_metadata((None, 16_000, 1), (None, 16, 16, 3))
    with pytest.raises(ModelError, match=r"return images .* and \(None, 3\)"):
        default_metadata((None, 104), (None, 3))


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (np.zeros((4, 100)), r"calibration must be an array of inputs, \(n, 16000\). Received: shape \(4, 100\)"),
        (np.zeros((0, 16_000)), r"Received: shape \(0, 16000\) of float64"),
        (np.zeros((1, 16_000), complex), "of complex128"),
        (np.full((1, 16_000), np.nan), "calibration must be finite. Received: NaN"),
        (np.full((1, 16_000), 3.0), r"calibration must be audio in \[-1, 1\], or int16. Received: a peak of 3"),
    ],
)
def test_bad_calibration_is_refused(calibration, message):
    with pytest.raises(UsageError, match=message):
        check_inputs(calibration, default_metadata((None, 16_000), (None, 16, 16, 3)))


def test_int16_calibration_is_scaled_to_audio(clips):
    metadata = default_metadata((None, 16_000), (None, 16, 16, 3))
    int16 = np.rint(clips * 32_768).astype(np.int16)
    np.testing.assert_allclose(check_inputs(int16, metadata), clips, atol=2e-5)
