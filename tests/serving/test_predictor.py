"""The Predictor: the same images from every format, for files, samples, features and vectors."""

import dataclasses
import json
import zipfile

import keras
import numpy as np
import pytest
import python_speech_features
import soundfile
import soxr
import tensorflow as tf
from support.loudness_model import Loudness
from support.networks import tiny_network

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ExportError, ModelError, SourceError, UsageError
from keras_a2i.exporters import FORMATS
from keras_a2i.exporters.export import export
from keras_a2i.exporters.formats import Limits
from keras_a2i.exporters.interpreter import operators
from keras_a2i.features.mfcc import mfcc
from keras_a2i.models.model_file import ModelMetadata, load_model, read_metadata, save_model
from keras_a2i.serving.model_inputs import clip_inputs
from keras_a2i.serving.predictor import Predictor, as_predictor, load

METADATA = ModelMetadata(
    features=FeatureConfig(),
    image=ImageConfig(size=16),
    recipe="features",
    feature_mean=(1.0,) * 104,
    feature_std=(15.0,) * 104,
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = tiny_network(image_size=16, normalization=(np.ones(104), np.full(104, 225.0)))
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "moving" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.fixture(scope="module")
def paths(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "run").mkdir()
    save_model(model, folder / "run" / "model.keras", METADATA)
    export(folder / "run", folder / "model.tflite", format="tflite")
    export(folder / "run" / "model.keras", folder / "saved", format="saved-model")
    export(folder / "run", folder / "model.onnx")
    return {
        "run": folder / "run",
        "keras": folder / "run" / "model.keras",
        "tflite": folder / "model.tflite",
        "saved-model": folder / "saved",
        "onnx": folder / "model.onnx",
    }


@pytest.mark.training
@pytest.mark.parametrize("name", ["run", "keras", "tflite", "saved-model", "onnx"])
def test_load_of_every_format_predicts_the_same_images_and_keeps_metadata(paths, model, name):
    predictor = load(paths[name])
    assert predictor.metadata == METADATA
    features = np.random.default_rng(1).normal(1, 15, (40, 104)).astype(np.float32)
    np.testing.assert_allclose(predictor.predict(features), model.predict(features, verbose=0), atol=1e-4)
    np.testing.assert_array_equal(predictor.predict_inputs(features), predictor.predict(features))
    assert [len(images) for images in predictor.stream(features)] == [32, 8]
    assert (predictor.model is not None) == predictor.can_encode == (name in ("run", "keras"))
    can = "; latent vectors" if predictor.can_encode else ""
    assert repr(predictor) == f"Predictor('features': features (n, 104) to images (n, 16, 16, 3){can})"


def test_tflite_file_runs_in_tensorflow_interpreter_with_built_in_operators(paths, model):
    interpreter = tf.lite.Interpreter(str(paths["tflite"]))
    runner = interpreter.get_signature_runner("serving_default")
    features = np.full((1, 104), 3.0, np.float32)
    np.testing.assert_allclose(runner(features=features)["image"], model.predict(features, verbose=0), atol=1e-4)
    used = operators(paths["tflite"])
    assert "CONV_2D" in used and not any(name.startswith(("Flex", "CUSTOM", "VAR", "READ")) for name in used)


def test_saved_model_has_a_named_signature(paths):
    signature = tf.saved_model.load(str(paths["saved-model"])).signatures["serving_default"]
    assert signature(features=tf.zeros((3, 104)))["image"].shape == (3, 16, 16, 3)


@pytest.mark.training
def test_keras_file_with_metadata_is_an_ordinary_keras_file(paths, model):
    features = np.ones((2, 104), np.float32)
    loaded = keras.saving.load_model(paths["keras"])
    np.testing.assert_array_equal(loaded.predict(features, verbose=0), model.predict(features, verbose=0))


def test_keras_file_without_metadata_has_default_features(model, tmp_path):
    keras.Model(model.inputs, model.outputs).save(tmp_path / "plain.keras")
    assert read_metadata(tmp_path / "plain.keras") is None
    assert load(tmp_path / "plain.keras").metadata == ModelMetadata(image=ImageConfig(size=16))


def test_predict_of_samples_uses_the_features_of_records(paths, model):
    rng = np.random.default_rng(2)
    waveform = rng.uniform(-0.5, 0.5, 40_000).astype(np.float32)
    images = load(paths["run"]).predict(waveform, 16_000)
    assert images.shape == (3, 16, 16, 3)
    pcm = np.pad(np.rint(waveform * 32768), (0, 48_000 - 40_000)).reshape(3, 16_000)
    features = [python_speech_features.mfcc(np.pad(w, (0, 2000)), 16_000, 0.25, 0.125, nfft=4096).ravel() for w in pcm]
    expected = model.predict(np.array(features, np.float32), verbose=0)
    np.testing.assert_allclose(images, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("waveform", "rate", "count"),
    [
        (np.zeros(1), 16_000, 1),
        (np.zeros(16_000, np.int16), 16_000, 1),
        (np.ones((44_100 * 2 + 10, 2)), 44_100, 3),
        (np.tile([1.0, -1.0], 48_000), 96_000, 1),
        (np.zeros((800, 6)), 8_000, 1),
    ],
)
def test_predict_of_any_rate_length_and_channels_is_finite(paths, waveform, rate, count):
    images = load(paths["tflite"]).predict(waveform, rate)
    assert images.shape == (count, 16, 16, 3) and np.isfinite(images).all() and np.abs(images).max() <= 1


def test_predict_of_stereo_uses_the_mean_and_int16_is_scaled(paths):
    predictor = load(paths["run"])
    rng = np.random.default_rng(3)
    pcm = rng.integers(-20_000, 20_000, (16_000, 2), dtype=np.int16)
    mono = pcm.astype(np.float64).mean(axis=1) / 32768
    np.testing.assert_allclose(predictor.predict(pcm, 16_000), predictor.predict(mono, 16_000), atol=1e-5)


@pytest.mark.training
def test_stream_of_a_file_equals_predict_of_its_samples(paths, tmp_path):
    rate = 22_050
    samples = np.random.default_rng(4).uniform(-0.5, 0.5, rate * 70 + 123).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", samples, rate, subtype="FLOAT")
    predictor = load(paths["run"])
    streamed = list(predictor.stream(tmp_path / "long.wav"))
    assert [len(part) for part in streamed] == [32, 32, 7]
    whole = predictor.predict(soxr.resample(samples, rate, 16_000), 16_000)
    # The stream resampler rounds differently in the last bits; sixteen-bit steps make that visible in places.
    np.testing.assert_allclose(np.concatenate(streamed), whole, atol=0.02)


@pytest.mark.training
def test_predict_of_file_samples_clips_and_features_agree(paths, tmp_path):
    rng = np.random.default_rng(5)
    pcm = rng.integers(-9000, 9000, 40_000, dtype=np.int16)
    soundfile.write(tmp_path / "sound.wav", pcm, 16_000)
    predictor = load(paths["run"])
    by_file = predictor.predict(tmp_path / "sound.wav")
    np.testing.assert_array_equal(by_file, predictor.predict(str(tmp_path / "sound.wav")))
    np.testing.assert_allclose(by_file, predictor.predict(pcm, 16_000), atol=1e-5)
    clips = np.pad(pcm, (0, 8000)).reshape(3, 16_000).astype(np.float32) / 32_768
    np.testing.assert_allclose(by_file, predictor.predict(clip_inputs(clips, METADATA)), atol=1e-5)
    features = mfcc(clips, METADATA.features)
    np.testing.assert_allclose(by_file, predictor.predict(features), atol=1e-5)
    latents = predictor.encode(pcm, 16_000)
    np.testing.assert_allclose(latents, predictor.encode(tmp_path / "sound.wav"), atol=1e-4)
    np.testing.assert_allclose(by_file, predictor.decode(latents), atol=1e-5)


def test_encode_and_sample_of_other_formats_are_refused(paths):
    features = np.zeros((1, 104), np.float32)
    for name in ("tflite", "saved-model"):
        with pytest.raises(
            UsageError, match=r"Latent vectors need a model with an encoder and a generator: a run folder"
        ):
            load(paths[name]).encode(features)
    with pytest.raises(UsageError, match=r"samples need a model with a style"):
        load(paths["run"]).sample(features, 2)
    with pytest.raises(UsageError, match=r"latents must be finite, \(n, \d+\)\. Received: shape \(7,\)"):
        load(paths["run"]).decode(np.zeros(7))


@pytest.mark.training
@pytest.mark.parametrize("waveform", [np.array([0.0, np.nan]), np.zeros(0), np.zeros((2, 2, 2))])
def test_predict_of_bad_samples_is_refused(paths, waveform):
    with pytest.raises(UsageError, match=r"audio must be finite samples, \(n,\) or \(n, channels\)"):
        load(paths["run"]).predict(waveform, 16_000)


def test_predict_of_channels_first_or_a_bad_rate_is_refused(paths):
    with pytest.raises(
        UsageError, match=r"audio must have its channels last, \(n, channels\). Received: shape \(2, 44100\)"
    ):
        load(paths["run"]).predict(np.zeros((2, 44_100)), 44_100)
    with pytest.raises(UsageError, match=r"sample_rate must be between 1000 and 768000 Hz. Received: sample_rate=0"):
        load(paths["run"]).predict(np.zeros(100), 0)


@pytest.mark.training
def test_predict_of_bad_features_is_refused(paths):
    for features in (np.zeros((2, 103)), np.full((1, 104), np.inf), np.zeros(104)):
        with pytest.raises(
            UsageError, match=r"inputs of this model must be finite features, \(batch, 104\). Received: shape"
        ):
            load(paths["run"]).predict(features)
    with pytest.raises(SourceError, match="doesn't exist"):
        list(load(paths["run"]).stream("nowhere.wav"))


def test_load_of_something_else_is_refused(tmp_path, model):
    with pytest.raises(ModelError, match=r"A model must be a run folder, .* which doesn't exist"):
        load(tmp_path / "nothing")
    with pytest.raises(ModelError, match="which is something else"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"has no model.keras yet"):
        load(tmp_path)
    for name in ("broken.keras", "broken.tflite"):
        (tmp_path / name).write_bytes(b"not a model")
        with pytest.raises(ModelError, match=name):
            load(tmp_path / name)
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "saved_model.pb").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="isn't a SavedModel"):
        load(saved)
    dense = keras.Sequential([keras.Input((104,)), keras.layers.Dense(3)])
    dense.save(tmp_path / "dense.keras")
    with pytest.raises(ModelError, match=r"must accept features .* and return images"):
        load(tmp_path / "dense.keras")
    save_model(model, tmp_path / "other.keras", ModelMetadata(image=ImageConfig(size=32)))
    with pytest.raises(ModelError, match=r"104 features .*\(32, 32, 3\)"):
        load_model(tmp_path / "other.keras")


def test_load_of_a_model_with_code_in_it_is_refused(tmp_path):
    inputs = keras.Input((104,))
    x = keras.layers.Lambda(lambda x: keras.ops.zeros((1, 16, 16, 3)), output_shape=(16, 16, 3))(inputs)
    keras.Model(inputs, x).save(tmp_path / "lambda.keras")
    with pytest.raises(ModelError, match="can't be loaded as a Keras model"):
        load(tmp_path / "lambda.keras")


@pytest.mark.training
def test_export_replaces_only_exports_when_asked_and_leaves_nothing_behind(model, tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"mine")
    with pytest.raises(
        UsageError, match=r"path must not exist. Received: .*model.tflite. Choose another, or pass overwrite=True"
    ):
        export(model, path)
    for format, target in (("tflite", path), ("saved-model", path), ("saved-model", tmp_path)):
        with pytest.raises(UsageError, match=r"path must be free or an earlier export"):
            export(model, target, format=format, overwrite=True)
    with pytest.raises(UsageError, match="path must end in a name"):
        export(model, ".", overwrite=True)
    path.unlink()
    export(model, path)
    before = path.read_bytes()
    monkeypatch.setattr(FORMATS["tflite"], "limits", lambda options: Limits(max=-1.0))
    with pytest.raises(ExportError, match="must agree with the Keras model"):
        export(model, path, overwrite=True)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["model.tflite"]
    monkeypatch.undo()
    done = export(model, path, overwrite=True)
    assert done.size == path.stat().st_size > 100_000 and done.agreement.max <= 1e-4
    with pytest.raises(UsageError, match="format must be one of onnx, saved-model, tflite"):
        export(model, path, format="coreml")


def test_export_of_an_operator_that_is_not_built_in_is_refused(tmp_path):
    inputs = keras.Input((104,), name="features")

    @keras.saving.register_keras_serializable("tests")
    class Betainc(keras.layers.Layer):
        def call(self, x):
            return tf.reshape(tf.math.betainc(x[:, :48], x[:, :48], x[:, :48]), (-1, 4, 4, 3))

    x = keras.layers.UpSampling2D(4)(Betainc()(inputs))
    with pytest.raises(ExportError, match="must consist of built-in TFLite operators"):
        export(keras.Model(inputs, x), tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


def test_read_metadata_of_another_version_is_refused(model, tmp_path):
    path = tmp_path / "model.keras"
    save_model(model, path, METADATA)
    import zipfile

    values = json.loads(METADATA.to_json()) | {"schema_version": 99}
    with zipfile.ZipFile(tmp_path / "future.tflite", "w") as archive:
        archive.writestr("keras_a2i.json", json.dumps(values))
    with pytest.raises(ModelError, match=r"schema version 1. Received: 99"):
        read_metadata(tmp_path / "future.tflite")


@pytest.mark.training
def test_as_predictor_of_anything_that_predicts(paths, model, tmp_path):
    features = np.random.default_rng(1).normal(1, 15, (3, 104)).astype(np.float32)
    expected = model.predict(features, verbose=0)
    sequential = keras.Sequential(
        [keras.Input((104,)), keras.layers.Dense(768, "tanh"), keras.layers.Reshape((16, 16, 3))]
    )
    sequential.compile("adam", loss=lambda real, images: keras.ops.mean(images))
    for anything, wanted in (
        (load(paths["run"]), expected),
        (str(paths["run"]), expected),
        (paths["tflite"], expected),
        (model, expected),
        (sequential, sequential.predict(features, verbose=0)),
    ):
        predictor = as_predictor(anything)
        np.testing.assert_allclose(predictor.predict(features), wanted, atol=1e-4)
        assert as_predictor(predictor) is predictor
    by_function = as_predictor(lambda inputs: np.zeros((len(inputs), 16, 16, 3)), METADATA)
    assert by_function.predict(features).dtype == np.float32 and by_function.model is None
    assert as_predictor(model, METADATA).metadata == METADATA and as_predictor(sequential).model is sequential


def test_as_predictor_of_something_else_is_refused():
    with pytest.raises(
        UsageError, match=r"model must be a Predictor, a Keras model, a path or a function. Received: int"
    ):
        as_predictor(3)
    with pytest.raises(UsageError, match=r"metadata must be given with a function.* Received: zeros without metadata"):
        as_predictor(np.zeros)
    with pytest.raises(UsageError, match=r"metadata must be given with a Keras model whose input isn't defined yet"):
        as_predictor(keras.Sequential([keras.layers.Dense(3)]))
    dense = keras.Sequential([keras.Input((104,)), keras.layers.Dense(768), keras.layers.Reshape((16, 16, 3))])
    with pytest.raises(ModelError, match=r"104 features .*\(32, 32, 3\)"):
        as_predictor(dense, ModelMetadata(image=ImageConfig(size=32)))


def test_metadata_of_a_file_without_any_count_and_others_than_a_model_holds_are_refused(paths, tmp_path):
    dense = keras.Sequential([keras.Input((104,)), keras.layers.Dense(768), keras.layers.Reshape((16, 16, 3))])
    dense.save(tmp_path / "own.keras")
    metadata = ModelMetadata(image=ImageConfig(size=16), license="MIT", labels=("a", "b"))
    for model in (dense, tmp_path / "own.keras", str(tmp_path / "own.keras")):
        assert as_predictor(model, metadata, input="features", sample_rate=16_000).metadata == metadata
        with pytest.raises(UsageError, match=r"input must be left out .*, 'features'. Received: input='waveform'"):
            as_predictor(model, metadata, input="waveform")
    refused = r"metadata must be left out for a model that holds its own, or be equal to them. Received: .* license"
    for model in (paths["run"], paths["keras"], paths["tflite"], load(paths["run"])):
        known = as_predictor(model).metadata
        assert as_predictor(model, known).metadata == known
        with pytest.raises(UsageError, match=refused):
            as_predictor(model, dataclasses.replace(known, license="none"))
        with pytest.raises(UsageError, match=r"sample_rate must be left out .*, 16000. Received: sample_rate=8000"):
            as_predictor(model, sample_rate=8000)
    with pytest.raises(UsageError, match=r"input must be left out .* Received: input='waveform'"):
        as_predictor(np.zeros, metadata, input="waveform")


def test_sample_replaces_the_style_and_decodes():
    metadata = ModelMetadata(image=ImageConfig(size=16, channels=1), style_units=2)
    styles = []

    def decode(latents):
        styles.append(latents.copy())
        return np.tile(latents.sum(axis=1)[:, None, None, None], (1, 16, 16, 1))

    predictor = Predictor(decode, metadata, encode_fn=lambda x: np.tile(x[:, :1], (1, 3)), decode_fn=decode)
    images = predictor.sample(np.ones((2, 104), np.float32), 3, temperature=2.0, seed=5)
    expected = 2 * np.random.default_rng(5).standard_normal((3, 2))
    assert images.shape == (2, 3, 16, 16, 1)
    np.testing.assert_allclose(np.array(styles)[:, 0], np.pad(expected, ((0, 0), (1, 0)), constant_values=1), rtol=1e-6)
    np.testing.assert_allclose(images[:, :, 0, 0, 0], np.tile(1 + expected.sum(axis=1), (2, 1)), rtol=1e-5)
    for n, temperature in ((0, 1.0), (1, -0.1), (1, 4.1), (1, float("nan"))):
        with pytest.raises(UsageError, match=r"samples must be 1 or more, and temperature between 0 and 4. Received"):
            predictor.sample(np.ones((2, 104), np.float32), n, temperature)


@pytest.fixture
def styled():
    """Models with two style units: by latent vectors of three numbers, and by a style beside the input."""
    metadata = ModelMetadata(image=ImageConfig(size=16, channels=1), style_units=2)

    def fill(values):
        return np.tile(values.sum(axis=1)[:, None, None, None], (1, 16, 16, 1))

    halves = {"encode_fn": lambda x: np.tile(x[:, :1], (1, 3)), "decode_fn": fill, "latent_dim": 3}
    return Predictor(fill, metadata, **halves), Predictor(fill, metadata, style_fn=lambda x, s: fill(x[:, :1] + s))


def test_predictor_in_one_line(styled):
    assert repr(styled[0]) == "Predictor(features (n, 104) to images (n, 16, 16, 1); latent vectors, samples)"
    assert repr(styled[1]) == "Predictor(features (n, 104) to images (n, 16, 16, 1); samples)"
    metadata = dataclasses.replace(METADATA, input="waveform", recipe="talking", reference=True)
    predictor = Predictor(None, metadata, classify_fn=lambda x: x)
    expected = "waveform (n, 16000) to images (n, 16, 16, 3), with a reference image; labels"
    assert repr(predictor) == f"Predictor('talking': {expected})"


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2), (3, 2, 1), ()])
def test_styles_of_a_wrong_shape_are_refused(styled, shape):
    inputs = np.ones((4, 104), np.float32)
    rule = r"styles must be finite, \(4, 2\) for a style of every image, or \(2,\) for one of all. Received: shape"
    for predictor in styled:
        with pytest.raises(UsageError, match=rule):
            predictor.predict_inputs(inputs, np.zeros(shape))
    with pytest.raises(UsageError, match=rule):
        styled[0].decode(np.zeros((4, 3)), np.zeros(shape))
    with pytest.raises(UsageError, match=rule):
        styled[0].predict_inputs(inputs, np.full((4, 2), np.nan))


def test_one_style_is_that_of_every_image(styled):
    inputs = np.ones((40, 104), np.float32)
    for predictor in styled:
        one, all_ = (predictor.predict_inputs(inputs, style) for style in (np.array([1, 2]), np.tile([1, 2], (40, 1))))
        np.testing.assert_array_equal(one, all_)
        assert len(np.unique(one)) == 1 and one[0, 0, 0, 0] > 3


@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (3,), (1, 1, 3)])
def test_latents_of_a_wrong_shape_are_refused(styled, shape):
    with pytest.raises(UsageError, match=r"latents must be finite, \(n, 3\)\. Received: shape"):
        styled[0].decode(np.zeros(shape))


def test_references_that_do_not_fit_are_refused(styled):
    inputs = np.ones((4, 104), np.float32)
    with pytest.raises(UsageError, match="references must be left out for a model without a reference image"):
        styled[0].predict_inputs(inputs, references=np.zeros((4, 16, 16, 1)))
    metadata = ModelMetadata(image=ImageConfig(size=16, channels=1), reference=True)
    predictor = Predictor(None, metadata, reference_fn=lambda inputs, references: references)
    for shape in ((1, 16, 16, 1), (4, 16, 16, 3), (16, 16, 1)):
        with pytest.raises(UsageError, match=r"references must be finite images in \[-1, 1\], \(4, 16, 16, 1\)"):
            predictor.predict_inputs(inputs, references=np.zeros(shape))
    images = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 1)).astype(np.float32)
    np.testing.assert_array_equal(predictor.predict_inputs(inputs, references=images), images)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_sample_with_a_seed_that_is_none_is_refused(styled, seed):
    with pytest.raises(UsageError, match=rf"seed must be a whole number from 0. Received: seed={seed!r}"):
        styled[0].sample(np.ones((1, 104), np.float32), 2, seed=seed)


@pytest.mark.parametrize(
    ("dtype", "scale", "middle"),
    [(np.int8, 128, 0), (np.uint8, 128, 128), (np.int16, 32_768, 0), (np.int32, 2**31, 0)],
)
def test_integers_are_scaled_by_their_type(dtype, scale, middle):
    floats = np.random.default_rng(0).uniform(-0.5, 0.5, 4_000)
    integers = np.rint(floats * scale + middle).astype(dtype)
    exact = ((integers.astype(np.float64) - middle) / scale).astype(np.float32)
    model = Loudness()
    np.testing.assert_array_equal(model.predict(integers, 16_000), model.predict(exact, 16_000))
    clips = integers.reshape(1, -1)[:, : model.metadata.n_inputs]
    np.testing.assert_array_equal(model.predict(clips), model.predict(exact[None, : clips.shape[1]]))


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.full(4_000, 12_000.0), r"must lie within \[-1, 1\].*a peak of 12000.*32768 for 16-bit"),
        (np.zeros(4_000, np.int64), r"must be floats in \[-1, 1\], int8, int16, int32 or uint8. Received: int64"),
        (np.zeros(4_000, np.uint16), "Received: uint16"),
        (np.zeros(4_000, bool), "audio must be numbers. Received: bool"),
        (np.zeros(4_000, np.complex64), "audio must be numbers. Received: complex64"),
    ],
)
def test_samples_of_another_unit_are_refused(audio, message):
    with pytest.raises(UsageError, match=message):
        Loudness().predict(audio, 16_000)


def test_model_that_generates_nan_is_refused(model, tmp_path):
    broken = Predictor(lambda inputs: np.full((len(inputs), 16, 16, 3), np.nan, np.float32), METADATA)
    with pytest.raises(ModelError, match=r"must generate finite images. Received: NaN or infinite pixels"):
        broken.predict(np.zeros((1, 104), np.float32))
    copy = keras.models.clone_model(model)
    weights = model.get_weights()
    weights[0] = weights[0] * np.nan
    copy.set_weights(weights)
    save_model(copy, tmp_path / "nan.keras", METADATA)
    with pytest.raises(ModelError, match=r"weights of a model must be finite. Received: nan\.keras with NaN"):
        load(tmp_path / "nan.keras")


def test_archives_that_unpack_to_far_more_are_refused(paths, tmp_path):
    def with_member(name, member):
        path = tmp_path / f"bomb{paths[name].suffix}"
        path.write_bytes(paths[name].read_bytes())
        if member == "keras_a2i.json":
            with zipfile.ZipFile(path, "w") if name == "keras" else path.open("wb"):
                pass
            path.write_bytes(paths["tflite"].read_bytes().split(b"PK\3\4")[0])
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, bytes(200 << 20))
        return path

    with pytest.raises(ModelError, match=r"may unpack to at most 8 times its size. Received: bomb\.keras"):
        load(with_member("keras", "assets/zeros"))
    with pytest.raises(ModelError, match=r"may have at most 8,388,608 bytes. Received: bomb\.tflite with 209,715,200"):
        load(with_member("tflite", "keras_a2i.json"))


@pytest.mark.parametrize("name", ["keras", "tflite"])
def test_damaged_archive_is_one_sentence(paths, tmp_path, name):
    data = bytearray(paths[name].read_bytes())
    at = data.rindex(b'"schema_version"')
    data[at + 3] ^= 1
    path = tmp_path / f"damaged{paths[name].suffix}"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=rf"damaged\{path.suffix} can't be .*: Bad CRC-32"):
        load(path)
