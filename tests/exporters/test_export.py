"""Exports of models of features and waveforms: every format agrees with Keras, and holds its configurations."""

import dataclasses
import pathlib

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ExportError, MissingPackageError, ModelError, UsageError
from keras_a2i.exporters import FORMATS
from keras_a2i.exporters.agreement import Agreement, compare
from keras_a2i.exporters.export import Exported, export
from keras_a2i.exporters.formats import Limits, find_format
from keras_a2i.exporters.interpreter import operators
from keras_a2i.exporters.tflite import _by_row
from keras_a2i.layers import ExemplarAttention
from keras_a2i.models import with_frontend
from keras_a2i.models.model_file import ModelMetadata, load_model, read_metadata, save_model
from keras_a2i.serving.model_inputs import clip_inputs
from keras_a2i.serving.predictor import load

pytestmark = pytest.mark.training


def _predict_clips(predictor, clips):
    return predictor.predict_inputs(clip_inputs(clips, predictor.metadata))


def test_with_frontend_accepts_waveforms_and_shares_weights(make_model, clips, tmp_path):
    model = make_model("features", normalization=(np.ones(104), np.full(104, 225.0)))
    with_audio = with_frontend(model)
    assert with_audio.input_shape == (None, 16_000) and with_audio.inputs[0].name == "waveform"
    assert {id(v) for v in model.variables} <= {id(v) for v in with_audio.variables}
    metadata = ModelMetadata(image=ImageConfig(size=32))
    save_model(model, tmp_path / "features.keras", metadata)
    save_model(with_audio, tmp_path / "audio.keras", dataclasses.replace(metadata, input="waveform"))
    by_features, by_audio = load(tmp_path / "features.keras"), load(tmp_path / "audio.keras")
    features, audio = (clip_inputs(clips, each.metadata) for each in (by_features, by_audio))
    np.testing.assert_allclose(by_audio.predict(audio), by_features.predict(features), atol=1e-4)
    latents = by_audio.encode(audio)
    np.testing.assert_allclose(latents, by_features.encode(features), atol=1e-3)
    np.testing.assert_allclose(by_audio.decode(latents), by_audio.predict(audio), atol=1e-5)
    with pytest.raises(
        UsageError, match=r"finite clips of audio, \(batch, 16000\). Received: shape \(1, 104\). Pass sample_rate"
    ):
        by_audio.predict(np.zeros((1, 104)))
    with pytest.raises(UsageError, match=r"must be the 26 features of the configuration"):
        with_frontend(model, FeatureConfig(duration=0.25))
    with pytest.raises(ModelError, match=r"16000 samples"):
        save_model(model, tmp_path / "wrong.keras", dataclasses.replace(metadata, input="waveform"))
        load_model(tmp_path / "wrong.keras")
    with pytest.raises(ModelError, match=r"input must be one of features, waveform. Received: .*'sound'"):
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
        ("tflite", {"quantize": "int8", "ranges": "dynamic"}),
    ],
)
def test_export_agrees_on_real_pairs_and_loads(predictor, exported, clips, input_, format, options):
    done = exported(format, input=input_, **options)
    assert done.compared_on.startswith("30 pairs of") and done.agreement.count == 30
    limits = FORMATS[format].limits(done.options)
    assert done.agreement.max <= min(limits.max, 1) and done.agreement.mean <= min(limits.mean, 1)
    assert done.agreement.ssim >= max(limits.ssim, 0.97) and done.agreement.latency > 0
    loaded = load(done.path)
    assert loaded.metadata.input == input_ and loaded.metadata.license == "CC0-1.0"
    assert loaded.metadata.recipe == "features"
    expected, found = _predict_clips(predictor, clips), _predict_clips(loaded, clips)
    mean = limits.mean if np.isfinite(limits.mean) else 1e-4
    assert found.dtype == np.float32 and np.abs(found - expected).mean() <= mean * 2
    assert not loaded.can_encode and loaded.model is None
    with pytest.raises(UsageError, match="Latent vectors need a model with an encoder and a generator"):
        loaded.encode(clips, 16_000)


def test_export_in_one_line():
    agreement = Agreement(count=30, max=0.00123, mean=1e-4, ssim=0.999, latency=0.00125)
    parts = {"path": pathlib.Path("model.tflite"), "format": "tflite", "options": None, "size": 2_340_000}
    done = Exported(**parts, agreement=agreement, compared_on="30 pairs", notes=[])
    assert repr(done) == ("Exported('model.tflite': tflite, 2.3 MB; 1.2 ms per image, largest difference 0.0012)")


def test_tflite_of_waveforms_is_called_by_name_with_an_exact_front_end(predictor, exported, clips):
    path = exported("tflite", input="waveform").path
    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    assert set(runner.get_input_details()) == {"waveform"} and set(runner.get_output_details()) == {"image"}
    clip = clips[:1]
    np.testing.assert_allclose(runner(waveform=clip)["image"], _predict_clips(predictor, clip), atol=1e-4)
    assert "RFFT2D" in operators(path)
    for extreme in (np.zeros((1, 16_000)), np.ones((1, 16_000)), 9 * clip):
        assert np.isfinite(runner(waveform=extreme.astype(np.float32))["image"]).all()


@pytest.mark.parametrize("ranges", [None, "dynamic"])
@pytest.mark.parametrize(("input_", "dtype"), [("waveform", np.int16), ("features", np.int8)])
def test_integer_io_carries_scales_and_dtype(predictor, exported, clips, input_, dtype, ranges):
    path = exported("tflite", input=input_, quantize="int8", integer_io=True, ranges=ranges).path
    runner = Interpreter(str(path)).get_signature_runner()
    assert runner.get_input_details()[input_]["dtype"] == dtype
    assert runner.get_output_details()["image"]["dtype"] == np.int8
    scales = read_metadata(path).quantization
    assert scales["output"] == (pytest.approx(1 / 127), 0)
    if input_ == "waveform":
        assert scales["input"] == (1 / 32_768, 0)
        int16 = (clips[:1] * 32_767).astype(np.int16)
        image = runner(waveform=int16)["image"] * np.float32(scales["output"][0])
        assert np.abs(image - predictor.predict(int16[0], 16_000)).mean() <= 0.02


def test_int8_export_is_smaller_with_integer_kernels(exported):
    whole = exported("tflite", input="waveform")
    small, half = (exported("tflite", input="waveform", quantize=kind) for kind in ("int8", "float16"))
    assert small.size < half.size < whole.size
    # The constants of the front end lie beyond float16 if they are stored as they are.
    silent = [load(made.path).predict_inputs(np.zeros((1, 16_000), np.float32)) for made in (whole, half)]
    np.testing.assert_allclose(silent[1], silent[0], atol=0.02)
    details = Interpreter(str(small.path)).get_tensor_details()
    kernels = [t for t in details if "encoder_0" in t["name"] and "MatMul" in t["name"] and len(t["shape"]) == 2]
    assert any(t["dtype"] == np.int8 for t in kernels)
    dynamic = exported("tflite", input="waveform", quantize="int8", ranges="dynamic")
    assert dynamic.size < half.size
    operations = _integer_constants(dynamic.path)
    assert any("encoder_0" in name for name in operations) and not any("mel" in name for name in operations)


def _integer_constants(path):
    """Names of the int8 weights of a file."""
    tensors = Interpreter(str(path)).get_tensor_details()
    return [t["name"] for t in tensors if t["dtype"] == np.int8 and len(t["shape"]) in (2, 4)]


def test_export_without_a_finite_image_of_silence_raises(run):
    model, _ = load_model(run / "model.keras")

    def predict(inputs):
        images = model.predict(inputs, verbose=0)
        images[~inputs.any(axis=1)] = np.nan
        return images

    inputs = np.random.default_rng(0).standard_normal((2, model.input_shape[1])).astype(np.float32)
    with pytest.raises(ExportError, match=r"must generate finite images of silence\. Received: NaN"):
        compare(model, predict, inputs, Limits(max=1e-3))


def test_models_that_select_exemplars_may_differ_by_a_thousandth(run, monkeypatch):
    model, _ = load_model(run / "model.keras")
    inputs = np.random.default_rng(0).standard_normal((2, model.input_shape[1])).astype(np.float32)

    def compared(difference):
        return compare(model, lambda x: model.predict(x, verbose=0) + difference, inputs, Limits(max=1e-4)).max

    monkeypatch.setattr("keras_a2i.exporters.agreement._latency", lambda *_: 0.0)
    with pytest.raises(ExportError, match=r"max differences of at most 0\.0001"):
        compared(5e-4)
    monkeypatch.setattr("keras_a2i.exporters.agreement.has_exemplars", lambda _: True)
    assert compared(5e-4) == pytest.approx(5e-4, rel=1e-2)
    with pytest.raises(ExportError, match=r"max differences of at most 0\.001"):
        compared(2e-3)


def test_rounded_weights_may_select_another_exemplar_of_the_label_for_a_tenth_of_the_inputs(run, monkeypatch):
    model, _ = load_model(run / "model.keras")
    inputs = np.random.default_rng(0).standard_normal((20, model.input_shape[1])).astype(np.float32)
    selecting = [ExemplarAttention(2, 2, 2, field_frequency=1.0), None]
    monkeypatch.setattr("keras_a2i.exporters.agreement._latency", lambda *_: 0.0)

    def compared(n_others, limits, difference=1.0):
        others = np.where(np.arange(20) < n_others, difference, 0.0)[:, None, None, None].astype(np.float32)
        # Silence is asked for alone.
        return compare(model, lambda x: model.predict(x, verbose=0) + others[-len(x) :], inputs, limits)

    with pytest.raises(ExportError, match=r"mean differences of at most 0\.02. Received: 0\.1 on 20 inputs"):
        compared(2, Limits(mean=0.02, ssim=0.97))
    monkeypatch.setattr("keras_a2i.exporters.agreement.find_exemplars", lambda _: selecting)
    assert compared(2, Limits(mean=0.02, ssim=0.97)).mean == pytest.approx(0.1, rel=1e-3)
    with pytest.raises(ExportError, match=r"mean .* at most 0\.02. Received: 0\.056 on the 18 best of 20 inputs"):
        compared(3, Limits(mean=0.02, ssim=0.97))
    with pytest.raises(ExportError, match=r"differences of at most .* Received: nan"):
        compared(1, Limits(mean=0.02), np.nan)
    with pytest.raises(ExportError, match=r"max differences of at most 0\.0001. Received: 1 on 20 inputs"):
        compared(1, Limits(max=1e-4))


def test_int8_export_that_differs_too_much_keeps_last_kernels_in_float(run, tmp_path, monkeypatch):
    monkeypatch.setattr(FORMATS["tflite"], "limits", lambda options: Limits(mean=0.02, ssim=2.0))
    monkeypatch.setattr("keras_a2i.exporters.tflite.MAX_FLOAT_LAYERS", 1)
    with pytest.raises(ExportError, match=r"an SSIM of at least 2.0. Received: .* on 30 inputs. Nothing was written"):
        export(run, tmp_path / "model.tflite", quantize="int8", ranges="calibrated")
    assert not list(tmp_path.iterdir())
    calls, n_calls = [], 3
    monkeypatch.setattr("keras_a2i.exporters.tflite.MAX_FLOAT_LAYERS", 2)

    def compare(model, served, inputs, limits, references):
        calls.append(limits.ssim)
        if len(calls) < n_calls:
            raise ExportError("too far")
        return None

    monkeypatch.setattr("keras_a2i.exporters.agreement.compare", compare)
    done = export(run, tmp_path / "model.tflite", quantize="int8")
    assert done.options.float_layers == 2 and calls == [2.0] * 3
    assert done.notes[0] == "the last 2 kernels stay in float32: int8 differed too much in them"
    tensors = Interpreter(str(tmp_path / "model.tflite")).get_tensor_details()
    last = [t for t in tensors if t["name"].startswith("to_image") and len(t["shape"]) == 4]
    assert last and all(t["dtype"] == np.float32 for t in last)
    calls, n_calls = [], 4
    done = export(run, tmp_path / "dynamic.tflite", quantize="int8")
    assert (done.options.ranges, done.options.float_layers) == ("dynamic", None)
    assert done.notes[0] == "the ranges of activations are measured in every input"


def test_int8_file_that_the_interpreter_cannot_run_is_followed_by_the_next_attempt(run, tmp_path, monkeypatch):
    read, calls = FORMATS["tflite"].load, []

    def load_second(path):
        calls.append(path)
        if len(calls) == 1:
            raise ModelError("failed to create XNNPACK runtime")
        return read(path)

    monkeypatch.setattr(FORMATS["tflite"], "load", load_second)
    done = export(run, tmp_path / "model.tflite", quantize="int8")
    assert done.options.float_layers == 1 and len(calls) == 2
    monkeypatch.setattr("keras_a2i.exporters.tflite.MAX_FLOAT_LAYERS", 0)
    calls.clear()
    with pytest.raises(ModelError, match="failed to create XNNPACK runtime"):
        export(run, tmp_path / "other.tflite", quantize="int8", ranges="calibrated")
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_onnx_export_agrees_and_loads_with_features_and_with_audio_as_input(run, predictor, clips, tmp_path):
    done = export(run, tmp_path / "model.onnx", format="onnx")
    assert done.agreement.max <= 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    features = np.random.default_rng(0).normal(0, 15, (3, 104)).astype(np.float32)
    found = session.run(["image"], {"features": features})[0]
    np.testing.assert_allclose(found, predictor.predict(features), atol=1e-4)
    held = session.get_modelmeta().custom_metadata_map["keras_a2i.json"]
    assert ModelMetadata.from_json(held) == predictor.metadata
    loaded = load(tmp_path / "model.onnx")
    assert loaded.metadata == predictor.metadata
    np.testing.assert_allclose(loaded.predict(features), found, atol=1e-6)
    export(run, tmp_path / "model.onnx", overwrite=True)
    of_audio = load(export(run, tmp_path / "audio.onnx", input="waveform").path)
    assert of_audio.metadata == dataclasses.replace(predictor.metadata, input="waveform")
    np.testing.assert_allclose(of_audio.predict(clips), _predict_clips(predictor, clips), atol=1e-4)


@pytest.mark.parametrize("package", ["tf2onnx", "onnxruntime"])
def test_onnx_without_its_packages_names_them(run, tmp_path, monkeypatch, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingPackageError, match=rf'needs the package {package}, .* pip install "keras-a2i\[onnx\]"'):
        export(run, tmp_path / "model.onnx", format="onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "coreml"}, "format must be one of onnx, saved-model, tflite, web. Received: format='coreml'"),
        ({"input": "video"}, "input must be one of features, waveform. Received: input='video'"),
        (
            {"format": "tflite", "quantize": "int4"},
            "quantize must be one of none, float16, int8. Received: quantize='int4'",
        ),
        (
            {"format": "onnx", "quantize": "int8"},
            "quantize must be an option of tflite, web only. Received: .*format='onnx'",
        ),
        ({"format": "saved-model", "allow_flex": True}, "allow_flex must be one of no options"),
        (
            {"format": "tflite", "integer_io": True},
            "integer_io must be left out unless quantize='int8'. Received: .*'none'",
        ),
        ({"format": "tflite", "integer_io": True, "quantize": "float16"}, "with quantize='float16'"),
        ({"format": "tflite", "float_layers": 1}, "float_layers must be left out unless quantize='int8'"),
        ({"format": "tflite", "quantize": "int8", "float_layers": -1}, "float_layers must be 0 or more"),
        (
            {"format": "tflite", "ranges": "dynamic"},
            "ranges must be left out unless quantize='int8'. Received: .*'none'",
        ),
        (
            {"format": "tflite", "quantize": "int8", "ranges": "dynamic", "float_layers": 2},
            "float_layers must be left out with ranges='dynamic'.* Received: float_layers=2",
        ),
    ],
)
def test_export_with_bad_options_is_refused(run, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        export(
            run, tmp_path / ("model" + {"tflite": ".tflite", "onnx": ".onnx"}.get(options.get("format"), "")), **options
        )


def test_int8_export_without_calibration_is_refused(make_model, tmp_path):
    with pytest.raises(UsageError, match="calibration or records must be given with quantize='int8'"):
        export(make_model("features"), tmp_path / "model.tflite", quantize="int8")


def test_export_with_records_of_other_features_is_refused(run, make_records, tmp_path):
    make_records(tmp_path / "other", 8, FeatureConfig(n_mfcc=20))
    with pytest.raises(UsageError, match="The records must have the model's features"):
        export(run, tmp_path / "model.tflite", records=tmp_path / "other")


def test_export_of_a_waveform_model_for_features_is_refused(make_model, tmp_path):
    metadata = ModelMetadata(image=ImageConfig(size=32), input="waveform")
    save_model(with_frontend(make_model("features")), tmp_path / "model.keras", metadata)
    with pytest.raises(UsageError, match="input must be 'waveform' for a model whose input is a waveform"):
        export(tmp_path / "model.keras", tmp_path / "model.tflite", input="features")
    done = export(tmp_path / "model.keras", tmp_path / "model.tflite")
    assert done.compared_on == "16 synthetic inputs" and load(done.path).metadata.input == "waveform"


def test_export_of_a_foreign_operator_is_refused(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Tangent(keras.layers.Layer):
        def call(self, x):
            return tf.reshape(tf.math.tan(0.7 * tf.tanh(x[:, :48])), (-1, 4, 4, 3))

    inputs = keras.Input((104,), name="features")
    model = keras.Model(inputs, keras.layers.UpSampling2D(4)(Tangent()(inputs)))
    with pytest.raises(ExportError, match=r"built-in TFLite operators. Received: Tan. Replace the layers"):
        export(model, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


def test_require_records_of_other_features_or_images_is_refused():
    metadata = ModelMetadata(image=ImageConfig(size=32))
    metadata.require_records(FeatureConfig(), ImageConfig(size=32, jpeg_quality=90))
    with pytest.raises(UsageError, match=r"the model's features, FeatureConfig\(sample_rate=16000.* Received: .*8000"):
        metadata.require_records(FeatureConfig(sample_rate=8000), metadata.image)
    with pytest.raises(UsageError, match=r"32 x 32 with 3 channels. Received: 64 x 64 with 1 channel$"):
        metadata.require_records(metadata.features, ImageConfig(size=64, channels=1))


def test_find_format_by_suffix_and_by_id():
    assert find_format(None, pathlib.Path("a/M.TFLITE")).id == "tflite"
    assert find_format(None, pathlib.Path("a/saved")).id == "saved-model"
    assert find_format("onnx", pathlib.Path("a/M.ONNX")).id == "onnx"
    # Folders are recognised by what is in them.
    assert find_format("saved-model", pathlib.Path("a/m.v2")).id == "saved-model"
    assert find_format("web", pathlib.Path("a/m.v2")).id == "web"
    for format, name in (("onnx", "m.tflite"), ("tflite", "m.onnx"), ("tflite", "m"), ("onnx", "m.v2")):
        with pytest.raises(
            UsageError, match=rf"path must end in \.{format} with format='{format}'.* Received: a/{name}\."
        ):
            find_format(format, pathlib.Path("a") / name)
    with pytest.raises(
        UsageError, match=r"path must end in the suffix of a format: .*\.tflite \(tflite\). Received: m\.pb"
    ):
        find_format(None, pathlib.Path("m.pb"))


def test_every_format_defines_what_export_and_the_command_need():
    for id, format in FORMATS.items():
        assert format.id == id and format.title and format.cores
        # None is a format that no name chooses.
        assert format.suffix is None or isinstance(format.suffix, str)
        options = format.Options()
        assert all(field.metadata["help"] for field in dataclasses.fields(options))
        assert isinstance(format.limits(options), Limits) and list(format.attempts(options)) == [options]


def test_export_on_another_backend_is_refused(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ExportError, match=r"Export needs Keras' TensorFlow backend.* Received: jax"):
        export(make_model("features"), tmp_path / "m.tflite")


def test_operator_that_fails_in_a_tflite_file_is_a_sentence():
    def runner(**values):
        raise RuntimeError("div.cc: data[i] != zero_point was not true")

    with pytest.raises(ModelError, match=r"The TFLite file must run on this input\. Received: div\.cc"):
        _by_row(runner, {"features": np.zeros((1, 4), np.float32)})


def test_load_of_a_broken_onnx_file_is_refused(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"broken.onnx can't be loaded as an ONNX model"):
        load(tmp_path / "broken.onnx")
