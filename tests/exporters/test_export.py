"""Exports of sound and features: every format agrees with Keras, knows what it is, refuses what it can't hold."""

import dataclasses

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ExportError, MissingPackageError, ModelError, UsageError
from keras_a2i.exporters.agreement import LIMITS
from keras_a2i.exporters.depth_to_space import DepthToSpaceConv2D, to_depth_to_space
from keras_a2i.exporters.export import export
from keras_a2i.exporters.runtime import operators
from keras_a2i.models import encoder_generator, with_frontend
from keras_a2i.models.model_file import ModelMetadata, load_model, read_metadata, save_model
from keras_a2i.records.build import build_records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.serving.predictor import load
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.training.fit import fit


def _build(folder, n_pairs, features=None):
    features, image = features or FeatureConfig(), ImageConfig(size=32)
    sources = open_sources([f"synthetic:surf:{n_pairs}"], features=features, image=image)
    build_records(sources, folder, features=features, image=image, split=SplitSpec(kind="random"), workers=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that drew a little: int8 has something to agree on."""
    folder = tmp_path_factory.mktemp("export")
    _build(folder / "records", 120)
    fit(folder / "records", folder / "run", recipe="tiny", epochs=12, seed=1)
    return folder / "run"


def _model(recipe="paper", **options):
    keras.utils.set_random_seed(0)
    model = encoder_generator(recipe, image_size=32, **options)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "moving" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def _sound(n=6, length=16_000):
    rng = np.random.default_rng(1)
    return (rng.uniform(-1, 1, (n, length)) * rng.uniform(0, 0.9, (n, 1))).astype(np.float32)


@pytest.mark.parametrize("recipe", ["paper", "tiny"])
def test_the_subpixel_form_gives_the_same_pictures(recipe):
    model = _model(recipe)
    light = to_depth_to_space(model)
    features = np.random.default_rng(0).normal(0, 15, (5, 104)).astype(np.float32)
    np.testing.assert_allclose(light.predict(features, verbose=0), model.predict(features, verbose=0), atol=1e-6)
    kinds = {type(layer) for layer in light.layers}
    assert DepthToSpaceConv2D in kinds and keras.layers.Conv2DTranspose not in kinds


@pytest.mark.parametrize("stride", [2, 4])
def test_a_subpixel_convolution_is_tensorflow_s_transposed_one(stride):
    rng = np.random.default_rng(stride)
    kernel = rng.normal(size=(2 * stride, 2 * stride, 5, 7)).astype(np.float32)
    bias, x = rng.normal(size=5).astype(np.float32), rng.normal(size=(2, 6, 6, 7)).astype(np.float32)
    expected = tf.nn.conv2d_transpose(x, kernel, (2, 6 * stride, 6 * stride, 5), stride) + bias
    layer = DepthToSpaceConv2D(kernel, bias, stride)
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)
    assert layer.compute_output_shape(x.shape) == expected.shape


def test_other_transposed_convolutions_stay_as_they_are():
    inputs = keras.Input((104,), name="features")
    x = keras.layers.Reshape((2, 2, 26))(inputs)
    for kernel, stride, padding in [(3, 2, "same"), (4, 1, "same")]:
        x = keras.layers.Conv2DTranspose(4, kernel, stride, padding)(x)
    model = keras.Model(inputs, x)
    assert [type(layer) for layer in to_depth_to_space(model).layers] == [type(layer) for layer in model.layers]


def test_a_front_end_makes_a_model_of_sound(tmp_path):
    model = _model("tiny", normalization=(np.ones(104), np.full(104, 225.0)))
    heard = with_frontend(model)
    assert heard.input_shape == (None, 16_000) and heard.inputs[0].name == "waveform"
    assert {id(v) for v in model.variables} <= {id(v) for v in heard.variables}
    sound = _sound()
    metadata = ModelMetadata(image=ImageConfig(size=32))
    save_model(model, tmp_path / "features.keras", metadata)
    save_model(heard, tmp_path / "sound.keras", dataclasses.replace(metadata, input="waveform"))
    by_features, by_sound = load(tmp_path / "features.keras"), load(tmp_path / "sound.keras")
    np.testing.assert_allclose(by_sound.predict_clips(sound), by_features.predict_clips(sound), atol=1e-4)
    latents = by_sound.encode_clips(sound)
    np.testing.assert_allclose(latents, by_features.encode_clips(sound), atol=1e-3)
    np.testing.assert_allclose(by_sound.generate_latents(latents), by_sound.predict_clips(sound), atol=1e-5)
    with pytest.raises(UsageError, match="This model takes sound, not features"):
        by_sound.predict(np.zeros((1, 104)))
    with pytest.raises(UsageError, match=r"must take the 26 features of the configuration"):
        with_frontend(model, FeatureConfig(duration=0.25))
    with pytest.raises(ModelError, match=r"must take 16000 samples"):
        save_model(model, tmp_path / "wrong.keras", dataclasses.replace(metadata, input="waveform"))
        load_model(tmp_path / "wrong.keras")
    with pytest.raises(ModelError, match=r"input must be one of features, waveform. Received: 'sound'"):
        ModelMetadata(input="sound")


@pytest.mark.parametrize("input_", ["features", "waveform"])
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("saved-model", {}),
        ("tflite", {}),
        ("tflite", {"quantize": "float16"}),
        ("tflite", {"quantize": "int8"}),
        ("tflite", {"quantize": "int8", "integer_io": True}),
    ],
)
def test_every_export_agrees_on_real_pairs_and_is_read_by_the_facade(run, tmp_path, input_, format, options):
    path = tmp_path / ("model.tflite" if format == "tflite" else "model")
    done = export(run, path, format=format, input=input_, license="CC0-1.0", **options)
    assert done.compared_on.startswith("30 pairs of") and done.agreement.count == 30
    limits = LIMITS[format if "quantize" not in options else f"{format} {options['quantize']}"]
    assert done.agreement.max <= limits.get("max", 1) and done.agreement.mean <= limits.get("mean", 1)
    assert done.agreement.ssim >= limits.get("ssim", 0.97) and done.agreement.latency > 0
    predictor = load(path)
    assert predictor.metadata.input == input_ and predictor.metadata.license == "CC0-1.0"
    assert predictor.metadata.recipe == "tiny"
    sound = _sound()
    expected, found = load(run).predict_clips(sound), predictor.predict_clips(sound)
    assert found.dtype == np.float32 and np.abs(found - expected).mean() <= limits.get("mean", 1e-4) * 2
    with pytest.raises(UsageError, match="Latent vectors must come from a run folder"):
        predictor.encode_clips(sound)


def test_a_tflite_file_of_sound_is_used_by_name_and_its_front_end_is_exact(run, tmp_path):
    export(run, tmp_path / "model.tflite", input="waveform")
    runner = Interpreter(str(tmp_path / "model.tflite")).get_signature_runner("serving_default")
    sound = _sound(1)
    np.testing.assert_allclose(runner(waveform=sound)["image"], load(run).predict_clips(sound), atol=1e-4)
    assert "RFFT2D" in operators(tmp_path / "model.tflite")
    for extreme in (np.zeros((1, 16_000)), np.ones((1, 16_000)), 9 * sound):
        assert np.isfinite(runner(waveform=extreme.astype(np.float32))["image"]).all()


@pytest.mark.parametrize(("input_", "dtype"), [("waveform", np.int16), ("features", np.int8)])
def test_integers_in_and_out_carry_their_scales(run, tmp_path, input_, dtype):
    export(run, tmp_path / "model.tflite", input=input_, quantize="int8", integer_io=True)
    runner = Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()
    assert runner.get_input_details()[input_]["dtype"] == dtype
    assert runner.get_output_details()["image"]["dtype"] == np.int8
    scales = read_metadata(tmp_path / "model.tflite").quantization
    assert scales["output"] == (pytest.approx(1 / 127), 0)
    if input_ == "waveform":
        assert scales["input"] == (1 / 32_768, 0)
        pcm = (_sound(1) * 32_767).astype(np.int16)
        image = runner(waveform=pcm)["image"] * np.float32(scales["output"][0])
        assert np.abs(image - load(run).predict(pcm[0], 16_000)).mean() <= 0.02


def test_int8_is_smaller_and_its_kernels_are_integers(run, tmp_path):
    whole = export(run, tmp_path / "whole.tflite", input="waveform")
    small = export(run, tmp_path / "small.tflite", input="waveform", quantize="int8")
    half = export(run, tmp_path / "half.tflite", input="waveform", quantize="float16")
    assert small.size < half.size < whole.size
    details = Interpreter(str(tmp_path / "small.tflite")).get_tensor_details()
    kernels = [t for t in details if "encoder_0" in t["name"] and "MatMul" in t["name"] and len(t["shape"]) == 2]
    assert any(t["dtype"] == np.int8 for t in kernels)


def test_int8_that_differs_too_much_keeps_its_last_kernels_in_float(run, tmp_path, monkeypatch):
    monkeypatch.setitem(LIMITS, "tflite int8", {"mean": 0.02, "ssim": 2.0})
    with pytest.raises(ExportError, match=r"an SSIM of at least 2.0. Received: .* on 30 inputs; nothing was written"):
        export(run, tmp_path / "model.tflite", quantize="int8")
    assert not list(tmp_path.iterdir())
    calls = []

    def compare(model, run, inputs, kind):
        calls.append(kind)
        if len(calls) < 3:
            raise ExportError("too far")
        return None

    monkeypatch.setattr("keras_a2i.exporters.agreement.compare", compare)
    done = export(run, tmp_path / "model.tflite", quantize="int8")
    assert done.float_layers == 2 and calls == ["tflite int8"] * 3
    tensors = Interpreter(str(tmp_path / "model.tflite")).get_tensor_details()
    last = [t for t in tensors if t["name"].startswith("to_image") and len(t["shape"]) == 4]
    assert last and all(t["dtype"] == np.float32 for t in last)


def test_onnx_agrees_and_refuses_sound(run, tmp_path):
    done = export(run, tmp_path / "model.onnx", format="onnx")
    assert done.agreement.max <= 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    features = np.random.default_rng(0).normal(0, 15, (3, 104)).astype(np.float32)
    found = session.run(["image"], {"features": features})[0]
    np.testing.assert_allclose(found, load(run).predict(features), atol=1e-4)
    held = session.get_modelmeta().custom_metadata_map["keras_a2i.json"]
    assert ModelMetadata.from_json(held) == load(run).metadata
    export(run, tmp_path / "model.onnx", format="onnx", overwrite=True)
    with pytest.raises(ExportError, match=r"An ONNX file takes features, not sound: .* Export a model of features"):
        export(run, tmp_path / "sound.onnx", format="onnx", input="waveform")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("package", ["tf2onnx", "onnxruntime"])
def test_onnx_names_the_package_it_lacks(run, tmp_path, monkeypatch, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingPackageError, match=rf'needs the package {package}, .* pip install "keras-a2i\[onnx\]"'):
        export(run, tmp_path / "model.onnx", format="onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "coreml"}, "format must be one of saved-model, tflite, onnx. Received: 'coreml'"),
        ({"input": "video"}, "input must be one of features, waveform. Received: 'video'"),
        ({"quantize": "int4"}, "quantize must be one of none, float16, int8. Received: 'int4'"),
        ({"format": "onnx", "quantize": "int8"}, "Only TFLite files are quantised .* --quantize int8 for onnx"),
        ({"format": "saved-model", "allow_flex": True}, "Received: --allow-flex for saved-model"),
        ({"integer_io": True}, "Integers in and out need --quantize int8. Received: --quantize none"),
        ({"integer_io": True, "quantize": "float16"}, "Received: --quantize float16"),
    ],
)
def test_options_that_don_t_go_together(run, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        export(run, tmp_path / "model", **options)


def test_int8_needs_records(tmp_path):
    with pytest.raises(UsageError, match="int8 takes its ranges from real sounds: name the records with --records"):
        export(_model("tiny"), tmp_path / "model.tflite", quantize="int8")


def test_records_of_other_features_are_refused(run, tmp_path):
    _build(tmp_path / "other", 8, FeatureConfig(n_mfcc=20))
    with pytest.raises(UsageError, match="The records must have the model's features"):
        export(run, tmp_path / "model.tflite", records=tmp_path / "other")


def test_a_model_of_sound_isn_t_exported_for_features(tmp_path):
    metadata = ModelMetadata(image=ImageConfig(size=32), input="waveform")
    save_model(with_frontend(_model("tiny")), tmp_path / "model.keras", metadata)
    with pytest.raises(UsageError, match="This model takes sound, so its exports do too"):
        export(tmp_path / "model.keras", tmp_path / "model.tflite", input="features")
    done = export(tmp_path / "model.keras", tmp_path / "model.tflite")
    assert done.compared_on == "16 made inputs" and load(done.path).metadata.input == "waveform"


def test_operators_that_aren_t_built_in_only_when_allowed(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Tangent(keras.layers.Layer):
        def call(self, x):
            return tf.reshape(tf.math.tan(0.7 * tf.tanh(x[:, :48])), (-1, 4, 4, 3))

    inputs = keras.Input((104,), name="features")
    model = keras.Model(inputs, keras.layers.UpSampling2D(4)(Tangent()(inputs)))
    with pytest.raises(ExportError, match=r"built-in TFLite operators. Received: Tan. --allow-flex admits"):
        export(model, tmp_path / "model.tflite")
    done = export(model, tmp_path / "model.tflite", allow_flex=True)
    assert done.agreement is None
    assert any(name.startswith("Flex") for name in operators(tmp_path / "model.tflite"))


def test_records_must_hold_what_a_model_takes_and_draws():
    metadata = ModelMetadata(image=ImageConfig(size=32))
    metadata.require_records(FeatureConfig(), ImageConfig(size=32, jpeg_quality=90))
    with pytest.raises(UsageError, match=r"the model's features, FeatureConfig\(sample_rate=16000.* Received: .*8000"):
        metadata.require_records(FeatureConfig(sample_rate=8000), metadata.image)
    with pytest.raises(UsageError, match=r"32 x 32 with 3 channels. Received: 64 x 64 with 1 channel$"):
        metadata.require_records(metadata.features, ImageConfig(size=64, channels=1))
