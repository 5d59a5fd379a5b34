"""Export and the facade: every format gives the Keras model's pictures, for sound of any kind."""

import json

import keras
import numpy as np
import pytest
import python_speech_features
import soundfile
import soxr
import tensorflow as tf

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ExportError, ModelError, SourceError, UsageError
from keras_a2i.exporters.agreement import LIMITS
from keras_a2i.exporters.export import export
from keras_a2i.exporters.runtime import operators
from keras_a2i.features.mfcc import mfcc
from keras_a2i.models.model_file import ModelMetadata, load_model, read_metadata, save_model
from keras_a2i.models.network import encoder_generator
from keras_a2i.serving.predictor import load

METADATA = ModelMetadata(
    features=FeatureConfig(),
    image=ImageConfig(size=16),
    recipe="tiny",
    feature_mean=(1.0,) * 104,
    feature_std=(15.0,) * 104,
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = encoder_generator("tiny", image_size=16, normalization=(np.ones(104), np.full(104, 225.0)))
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
    return {
        "run": folder / "run",
        "keras": folder / "run" / "model.keras",
        "tflite": folder / "model.tflite",
        "saved-model": folder / "saved",
    }


FORMATS = ["run", "keras", "tflite", "saved-model"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_model_s_pictures_and_knows_its_configuration(paths, model, name):
    predictor = load(paths[name])
    assert predictor.metadata == METADATA
    features = np.random.default_rng(1).normal(1, 15, (40, 104)).astype(np.float32)
    np.testing.assert_allclose(predictor.predict_features(features), model.predict(features, verbose=0), atol=1e-4)


def test_tflite_is_read_by_tensorflow_s_own_interpreter_and_holds_built_in_operators(paths, model):
    interpreter = tf.lite.Interpreter(str(paths["tflite"]))
    runner = interpreter.get_signature_runner("serving_default")
    features = np.full((1, 104), 3.0, np.float32)
    np.testing.assert_allclose(runner(features=features)["image"], model.predict(features, verbose=0), atol=1e-4)
    used = operators(paths["tflite"])
    assert "CONV_2D" in used and not any(name.startswith(("Flex", "CUSTOM", "VAR", "READ")) for name in used)


def test_saved_model_has_a_named_signature(paths):
    signature = tf.saved_model.load(str(paths["saved-model"])).signatures["serving_default"]
    assert signature(features=tf.zeros((3, 104)))["image"].shape == (3, 16, 16, 3)


def test_a_keras_file_with_metadata_is_an_ordinary_keras_file(paths, model):
    features = np.ones((2, 104), np.float32)
    loaded = keras.saving.load_model(paths["keras"])
    np.testing.assert_array_equal(loaded.predict(features, verbose=0), model.predict(features, verbose=0))


def test_a_keras_file_without_metadata_takes_the_default_features(model, tmp_path):
    model.save(tmp_path / "plain.keras")
    assert read_metadata(tmp_path / "plain.keras") is None
    assert load(tmp_path / "plain.keras").metadata == ModelMetadata(image=ImageConfig(size=16))


def test_predict_hears_what_records_would_hold(paths, model):
    rng = np.random.default_rng(2)
    waveform = rng.uniform(-0.5, 0.5, 40_000).astype(np.float32)
    pictures = load(paths["run"]).predict(waveform, 16_000)
    assert pictures.shape == (3, 16, 16, 3)
    pcm = np.pad(np.rint(waveform * 32768), (0, 48_000 - 40_000)).reshape(3, 16_000)
    features = [python_speech_features.mfcc(np.pad(w, (0, 2000)), 16_000, 0.25, 0.125, nfft=4096).ravel() for w in pcm]
    expected = model.predict(np.array(features, np.float32), verbose=0)
    np.testing.assert_allclose(pictures, expected, atol=1e-4)


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
def test_any_rate_length_and_channels(paths, waveform, rate, count):
    pictures = load(paths["tflite"]).predict(waveform, rate)
    assert pictures.shape == (count, 16, 16, 3) and np.isfinite(pictures).all() and np.abs(pictures).max() <= 1


def test_stereo_is_the_mean_of_its_channels_and_int16_is_scaled(paths):
    predictor = load(paths["run"])
    rng = np.random.default_rng(3)
    pcm = rng.integers(-20_000, 20_000, (16_000, 2), dtype=np.int16)
    mono = pcm.astype(np.float64).mean(axis=1) / 32768
    np.testing.assert_allclose(predictor.predict(pcm, 16_000), predictor.predict(mono, 16_000), atol=1e-5)


def test_a_file_in_pieces_equals_the_file_in_one(paths, tmp_path):
    rate = 22_050
    sound = np.random.default_rng(4).uniform(-0.5, 0.5, rate * 70 + 123).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", sound, rate, subtype="FLOAT")
    predictor = load(paths["run"])
    streamed = list(predictor.stream_file(tmp_path / "long.wav"))
    assert [len(part) for part in streamed] == [32, 32, 7]
    whole = predictor.predict(soxr.resample(sound, rate, 16_000), 16_000)
    # The stream resampler rounds differently in the last bits; sixteen-bit steps make that visible in places.
    np.testing.assert_allclose(np.concatenate(streamed), whole, atol=0.02)


def test_one_predict_for_files_sound_and_features(paths, tmp_path):
    rng = np.random.default_rng(5)
    pcm = rng.integers(-9000, 9000, 40_000, dtype=np.int16)
    soundfile.write(tmp_path / "sound.wav", pcm, 16_000)
    predictor = load(paths["run"])
    by_file = predictor.predict(tmp_path / "sound.wav")
    np.testing.assert_array_equal(by_file, predictor.predict(str(tmp_path / "sound.wav")))
    np.testing.assert_allclose(by_file, predictor.predict(pcm, 16_000), atol=1e-5)
    windows = np.pad(pcm, (0, 8000)).reshape(3, 16_000).astype(np.float32) / 32_768
    np.testing.assert_allclose(by_file, predictor.predict_clips(windows), atol=1e-5)
    features = mfcc(windows, METADATA.features)
    np.testing.assert_allclose(by_file, predictor.predict(features), atol=1e-5)
    halves = predictor.generate_latents(predictor.encode_clips(windows))
    np.testing.assert_allclose(by_file, halves, atol=1e-5)


def test_only_a_model_that_can_be_cut_in_two_gives_latents(paths):
    for name in ("tflite", "saved-model"):
        with pytest.raises(UsageError, match=r"Latent vectors must come from a run folder or a .keras file"):
            load(paths[name]).encode_clips(np.zeros((1, 16_000), np.float32))


@pytest.mark.parametrize("waveform", [np.array([0.0, np.nan]), np.zeros(0), np.zeros((2, 2, 2))])
def test_sound_that_can_t_be_used(paths, waveform):
    with pytest.raises(UsageError, match="Sound must be finite samples"):
        load(paths["run"]).predict(waveform, 16_000)


def test_channels_first_and_impossible_rates(paths):
    with pytest.raises(UsageError, match=r"channels last, \(n, channels\). Received: shape \(2, 44100\)"):
        load(paths["run"]).predict(np.zeros((2, 44_100)), 44_100)
    with pytest.raises(UsageError, match="sample_rate must lie between"):
        load(paths["run"]).predict(np.zeros(100), 0)


def test_features_that_can_t_be_used(paths):
    for features in (np.zeros((2, 103)), np.full((1, 104), np.inf), np.zeros(104)):
        with pytest.raises(UsageError, match=r"Features must be finite, \(batch, 104\). Received: shape"):
            load(paths["run"]).predict_features(features)
    with pytest.raises(SourceError, match="doesn't exist"):
        list(load(paths["run"]).stream_file("nowhere.wav"))


def test_what_isn_t_a_model(tmp_path, model):
    with pytest.raises(ModelError, match=r"A model is a run folder, .* which doesn't exist"):
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
    with pytest.raises(ModelError, match="must take features"):
        load(tmp_path / "dense.keras")
    save_model(model, tmp_path / "other.keras", ModelMetadata(image=ImageConfig(size=32)))
    with pytest.raises(ModelError, match=r"must take 104 features and give pictures \(32, 32, 3\)"):
        load_model(tmp_path / "other.keras")


def test_a_model_with_code_in_it_isn_t_run(tmp_path):
    inputs = keras.Input((104,))
    x = keras.layers.Lambda(lambda x: keras.ops.zeros((1, 16, 16, 3)), output_shape=(16, 16, 3))(inputs)
    keras.Model(inputs, x).save(tmp_path / "lambda.keras")
    with pytest.raises(ModelError, match="can't be loaded as a Keras model"):
        load(tmp_path / "lambda.keras")


def test_export_replaces_only_when_asked_and_leaves_nothing_half_written(model, tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        export(model, path)
    for format in ("tflite", "saved-model"):
        with pytest.raises(UsageError, match="Only an earlier export is replaced"):
            export(model, path, format=format, overwrite=True)
        with pytest.raises(UsageError, match="Only an earlier export is replaced"):
            export(model, tmp_path, format=format, overwrite=True)
    with pytest.raises(UsageError, match="needs a name of its own"):
        export(model, ".", overwrite=True)
    path.unlink()
    export(model, path)
    before = path.read_bytes()
    monkeypatch.setitem(LIMITS, "tflite", {"max": -1.0})
    with pytest.raises(ExportError, match="must agree with the Keras model"):
        export(model, path, overwrite=True)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["model.tflite"]
    monkeypatch.undo()
    done = export(model, path, overwrite=True)
    assert done.size == path.stat().st_size > 100_000 and done.agreement.max <= 1e-4
    with pytest.raises(UsageError, match="must be one of saved-model, tflite, onnx"):
        export(model, path, format="coreml")


def test_an_operator_that_isn_t_built_in_is_refused(tmp_path):
    inputs = keras.Input((104,), name="features")

    @keras.saving.register_keras_serializable("tests")
    class Betainc(keras.layers.Layer):
        def call(self, x):
            return tf.reshape(tf.math.betainc(x[:, :48], x[:, :48], x[:, :48]), (-1, 4, 4, 3))

    x = keras.layers.UpSampling2D(4)(Betainc()(inputs))
    with pytest.raises(ExportError, match="must be made of built-in TFLite operators"):
        export(keras.Model(inputs, x), tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


def test_metadata_of_another_version_is_refused(model, tmp_path):
    path = tmp_path / "model.keras"
    save_model(model, path, METADATA)
    import zipfile

    values = json.loads(METADATA.to_json()) | {"schema_version": 99}
    with zipfile.ZipFile(tmp_path / "future.tflite", "w") as archive:
        archive.writestr("keras_a2i.json", json.dumps(values))
    with pytest.raises(ModelError, match=r"schema version 1. Received: 99"):
        read_metadata(tmp_path / "future.tflite")
