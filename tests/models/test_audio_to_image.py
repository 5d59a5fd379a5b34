"""`AudioToImage`: own and built-in parts, saving, presets, latents and styles, and what it refuses."""

import dataclasses
import sys
import types

import keras
import numpy as np
import pytest

import keras_a2i as a2i
from keras_a2i.config import FeatureConfig
from keras_a2i.errors import MissingPackageError, ModelError, UsageError
from keras_a2i.models import (
    AudioToImage,
    DenseEncoder,
    FrameEncoder,
    MosaicGenerator,
    ResidualGenerator,
    SceneEncoder,
    TransposedGenerator,
    WordEncoder,
)
from keras_a2i.models.label_calibration import LabelCalibration
from keras_a2i.models.model_file import load_model, read_metadata, save_model
from keras_a2i.objectives import MeanSquaredError, TrainingModel
from keras_a2i.serving.predictor import as_predictor

RATE = FeatureConfig(sample_rate=8000, duration=0.5)


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def inputs_of(model, n=2):
    return 0.1 * np.random.default_rng(0).standard_normal((n, model.input_shape[1])).astype(np.float32)


def own_encoder():
    return keras.Sequential(
        [
            keras.Input((4000,)),
            a2i.layers.LogMel(8000, convention="htk", n_mels=16, frame_length=400, hop_length=200),
            keras.layers.LSTM(8),
            keras.layers.Dense(6),
        ]
    )


def own_generator(units=6):
    return keras.Sequential(
        [
            keras.Input((units,)),
            keras.layers.Dense(16 * 16, activation="tanh"),
            keras.layers.Reshape((16, 16, 1)),
        ]
    )


MODELS = {
    "dense": lambda: AudioToImage(
        DenseEncoder(units=(8, 4)),
        TransposedGenerator(channels=(8,), base_channels=8),
        image_size=16,
        normalization=(np.arange(104.0), np.full(104, 4.0)),
    ),
    "words": lambda: AudioToImage(
        WordEncoder(channels=(4, 4, 4, 4, 8), latent_dim=4, ensemble=2),
        ResidualGenerator(channels=(8,), base_channels=8, label_sharpness=4.0),
        image_size=16,
        channels=1,
        features=RATE,
        labels=("high", "low"),
        style_units=2,
    ),
    "scenes": lambda: AudioToImage(
        SceneEncoder(channels=(4, 4, 4, 4, 8), latent_dim=4),
        ResidualGenerator(channels=(8,), base_channels=8),
        image_size=16,
        features=RATE,
    ),
    "frames": lambda: AudioToImage(
        FrameEncoder(channels=(4, 4, 4), units=8, latent_dim=4),
        MosaicGenerator(n_exemplars=3, query_dim=4, width=8, blocks=1),
        image_size=16,
        features=RATE,
        style_units=2,
    ),
    "own encoder": lambda: AudioToImage(
        own_encoder(), ResidualGenerator(channels=(8,), base_channels=8), image_size=16, features=RATE
    ),
    "own generator": lambda: AudioToImage(DenseEncoder(units=(8, 6)), own_generator()),
    "own parts": lambda: AudioToImage(own_encoder(), own_generator(), features=RATE),
}


@pytest.mark.training
@pytest.mark.parametrize("name", MODELS)
def test_model_saves_loads_clones_and_splits_at_the_latent(name, tmp_path):
    model = MODELS[name]()
    inputs = inputs_of(model)
    images = numpy(model(inputs))
    assert model.output_names == ["image"] and images.dtype == np.float32
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded) is AudioToImage
    if not name.startswith("own"):
        assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(numpy(loaded(inputs)), images, atol=1e-6)
    np.testing.assert_allclose(loaded.decode(loaded.encode(inputs)), images, atol=1e-6)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(numpy(clone(inputs)), images, atol=1e-6)
    assert len({id(weight) for weight in model.weights}) == len(model.weights)


@pytest.mark.training
def test_metadata_describes_input_and_output():
    words, dense = MODELS["words"]().metadata, MODELS["dense"]().metadata
    assert (words.input, words.labels, words.style_units, words.image.shape) == (
        "waveform",
        ("high", "low"),
        2,
        (16, 16, 1),
    )
    assert words.features == RATE and dense.features == FeatureConfig() and dense.input == "features"
    np.testing.assert_allclose(dense.feature_mean, np.arange(104.0))
    np.testing.assert_allclose(dense.feature_std, 2.0)
    embedding = AudioToImage(DenseEncoder(units=(8, 4)), own_generator(4), n_features=12).metadata
    assert embedding.features.embedding == 12


def test_licence_recipe_and_names_of_a_file_survive_the_class(tmp_path):
    options = {"labels": ("high", "low")}, {"n_labels": 2}
    named, model = (AudioToImage(DenseEncoder(units=(6,)), own_generator(), n_features=12, **each) for each in options)
    features = FeatureConfig(embedding=12, embedding_name="CLAP")
    metadata = dataclasses.replace(named.metadata, features=features, license="CC0-1.0", recipe="words-aligned")
    save_model(model, tmp_path / "model.keras", metadata)
    loaded = AudioToImage.from_preset(tmp_path)
    assert loaded.metadata == load_model(tmp_path / "model.keras")[1] == metadata
    loaded.save_to_preset(tmp_path / "again")
    assert read_metadata(tmp_path / "again" / "model.keras") == metadata
    # Plain Keras stores them, too, and so does a copy that isn't compiled.
    loaded.compile("adam", loss="mse")
    loaded.save(tmp_path / "plain.keras")
    save_model(loaded, tmp_path / "copy.keras", loaded.metadata)
    for name in ("plain.keras", "copy.keras"):
        assert keras.saving.load_model(tmp_path / name, compile=False).metadata == metadata


def test_configuration_of_an_earlier_version_has_neither_licence_nor_recipe():
    config = MODELS["dense"]().get_config()
    del config["license"], config["recipe"]
    model = AudioToImage.from_config(config)
    assert model.license == model.recipe == ""


def test_frontend_keeps_all_metadata_but_the_input():
    model = MODELS["dense"]()
    model.license, model.recipe = "MIT", "features"
    model.calibration = LabelCalibration(temperature=3.0, threshold=1.0)
    with_frontend = a2i.with_frontend(model)
    assert with_frontend.metadata == dataclasses.replace(model.metadata, input="waveform")
    copy = AudioToImage.from_config(with_frontend.get_config())
    assert copy.metadata == with_frontend.metadata


def test_own_encoder_input_is_inferred_or_given():
    assert MODELS["own encoder"]().input_kind == "waveform"
    vectors = keras.Sequential([keras.Input((12,)), keras.layers.Dense(6)])
    assert AudioToImage(vectors, own_generator()).input_kind == "features"
    given = AudioToImage(
        vectors, own_generator(), input="waveform", features=FeatureConfig(duration=0.05, frame=0.05, hop=0.05)
    )
    assert given.input_kind == "waveform"


@pytest.mark.training
def test_preset_round_trip_keeps_the_images_and_drops_the_optimizer(tmp_path):
    model = MODELS["own parts"]()
    model.compile("adam", loss=lambda real, generated: keras.ops.mean(keras.ops.square(real - generated)))
    inputs = inputs_of(model)
    model.fit(inputs, np.zeros((2, 16, 16, 1), np.float32), verbose=0)
    model.save_to_preset(tmp_path / "preset")
    loaded = AudioToImage.from_preset(tmp_path / "preset")
    np.testing.assert_allclose(numpy(loaded(inputs)), numpy(model(inputs)), atol=1e-6)
    assert not loaded.compiled
    assert AudioToImage.from_preset(tmp_path / "preset" / "model.keras").features == RATE


def test_preset_from_the_hub(tmp_path, monkeypatch):
    MODELS["dense"]().save_to_preset(tmp_path)
    hub = types.SimpleNamespace(snapshot_download=lambda repository, allow_patterns: str(tmp_path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert AudioToImage.from_preset("hf://someone/surf").image.size == 16
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match="keras-a2i\\[hub\\]"):
        AudioToImage.from_preset("hf://someone/surf")


def test_preset_that_is_not_there_or_another_model_raises(tmp_path):
    with pytest.raises(ModelError, match=r"A preset must be a run folder.*Received: 'nothing'"):
        AudioToImage.from_preset("nothing")
    with pytest.raises(ModelError, match=r"must hold a model.keras"):
        AudioToImage.from_preset(tmp_path)
    keras.Sequential([keras.Input((104,)), *own_generator(104).layers]).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"A preset must be an AudioToImage.*Sequential. Open it with keras_a2i.load"):
        AudioToImage.from_preset(tmp_path)


@pytest.mark.training
def test_sample_draws_styles_by_seed_and_temperature():
    model = MODELS["words"]()
    inputs = inputs_of(model)
    samples = model.sample(inputs, 3, seed=1)
    assert samples.shape == (2, 3, 16, 16, 1)
    np.testing.assert_array_equal(samples, model.sample(inputs, 3, seed=1))
    assert np.abs(samples[:, 0] - samples[:, 1]).max() > 1e-4
    np.testing.assert_allclose(model.sample(inputs, 2, temperature=0)[:, 1], numpy(model(inputs)), atol=1e-6)
    with pytest.raises(UsageError, match="samples need a model with a style"):
        MODELS["dense"]().sample(np.zeros((1, 104)), 2)
    with pytest.raises(UsageError, match=r"temperature between 0 and 4. Received: samples=2, temperature=5"):
        model.sample(inputs, 2, temperature=5)
    with pytest.raises(UsageError, match=r"The input must have the shape \(batch, 4000\). Received: shape \(2, 3\)"):
        model.encode(np.zeros((2, 3)))


@pytest.mark.parametrize("name", ["words", "own encoder"])
def test_saved_model_keeps_which_layers_are_frozen(name, tmp_path):
    model = MODELS[name]()
    n_all = len(model.trainable_weights)
    model.encoder.trainable = False
    frozen = [weight.path for weight in model.trainable_weights]
    assert 0 < len(frozen) < n_all
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_weights) == len(frozen)
    loaded.encoder.trainable = True
    assert len(loaded.trainable_weights) == n_all


def test_file_of_a_training_model_is_opened_as_the_model_within(tmp_path):
    model = MODELS["dense"]()
    training = TrainingModel(model, [MeanSquaredError()])
    training.save(tmp_path / "checkpoint.keras")
    opened = a2i.load(tmp_path / "checkpoint.keras")
    inputs = inputs_of(model)
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(opened.predict_inputs(inputs), expected, atol=1e-6)
    np.testing.assert_allclose(as_predictor(training).predict_inputs(inputs), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"encoder": keras.Sequential([keras.Input((8, 8)), keras.layers.Dense(4)])},
            "must accept one input",
        ),
        (
            {"encoder": keras.Sequential([keras.Input((8,)), keras.layers.Reshape((2, 4))])},
            r"The encoder must return vectors \(batch, n\)",
        ),
        ({"generator": keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])}, "must return square images"),
        ({"generator": own_generator(4), "image_size": 32}, r"given \(32, None\). Received: an output of shape"),
        ({"style_units": -1}, "style_units must be a whole number from 0"),
        (
            {"labels": ("a", "b"), "n_labels": 3},
            "n_labels must be the number of labels. Received: n_labels=3",
        ),
        ({"input": "waveform"}, "input must be that of the encoder, 'features'. Received: input='waveform'"),
        ({"input": "audio"}, "input must be one of features, waveform. Received: input='audio'"),
        ({"channels": 2, "image_size": 16}, "channels must be 1"),
        (
            {"encoder": "scenes"},
            r"encoder must be an Encoder .* or a keras.Model. Received: 'scenes'. .*encoder_generator",
        ),
        ({"generator": None}, "generator must be a Generator of keras_a2i.models or a keras.Model. Received: None"),
        ({"features": {"n_mfcc": 13}}, "features must be a FeatureConfig. Received: {'n_mfcc': 13}"),
        ({"generator": own_generator(5)}, r"the latent vector of the encoder, \(batch, 4\). .* shape \(None, 5\)"),
        (
            {"encoder": keras.Sequential([keras.Input((4000,), name="waveform"), keras.layers.Dense(4)])},
            "The input 'waveform' of the encoder must have the samples of a clip, 16000. Received: 4000",
        ),
        ({"encoder": DenseEncoder}, r"encoder must be an instance. Received: a class. Pass DenseEncoder\(\)"),
        (
            {"generator": ResidualGenerator},
            r"generator must be an instance. Received: a class. Pass ResidualGenerator\(\)",
        ),
    ],
)
def test_wrong_arguments_raise(arguments, message):
    with pytest.raises(UsageError, match=message):
        AudioToImage(**({"encoder": DenseEncoder(units=(8, 4)), "generator": ResidualGenerator()} | arguments))
