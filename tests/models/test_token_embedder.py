"""The network from audio to a token, its pooling, and what is said without KerasHub."""

import sys

import keras
import numpy as np
import pytest

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError, MissingPackageError, ModelError, UsageError
from keras_a2i.layers import AttentivePooling
from keras_a2i.models import AudioToken, DiffusionConfig, ImageToAudio, TokenEmbedder
from keras_a2i.models.model_file import is_audio_token, load_model, save_model
from keras_a2i.serving.predictor import load

DIFFUSION = DiffusionConfig(preset="nowhere", image_size=32)
SMALL = {"token_dims": (4, 6), "token_scales": (0.5, 2.0), "channels": (8, 8), "units": 16}


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_pooling_is_a_mean_weighted_by_a_softmax():
    layer, x = AttentivePooling(3), random(2, 7, 5)
    layer.build(x.shape)
    layer.set_weights([random(*weight.shape) for weight in layer.weights])
    kernel, bias, score, shift = layer.get_weights()
    logits = (np.tanh(x @ kernel + bias) @ score + shift)[..., 0]
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(layer(x)), np.einsum("bn,bnd->bd", weights, x), rtol=1e-5, atol=1e-6)
    # Of equal vectors the mean is one of them, whatever the weights.
    np.testing.assert_allclose(np.asarray(layer(np.tile(x[:, :1], (1, 4, 1)))), x[:, 0], rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match=r"units must be 1 or more. Received: units=0"):
        AttentivePooling(0)


def test_tokens_are_those_of_numpy():
    features = FeatureConfig(embedding=12)
    mean, variance = random(12), np.full(12, 4.0)
    model = TokenEmbedder(
        DIFFUSION, features=features, input="features", frames=3, normalization=(mean, variance), **SMALL
    )
    for weight in model.trainable_weights:
        weight.assign(0.5 * random(*weight.shape))
    x = random(2, 12)
    frames = ((x - mean) / 2).reshape(2, 3, 4)
    (k1, b1), (k2, b2) = (model.get_layer(f"embedder_{i}").get_weights() for i in (1, 2))
    hidden = np.asarray(keras.ops.gelu(frames @ k1 + b1, approximate=False))
    pooled = np.asarray(model.get_layer("pooling")((hidden @ k2 + b2).astype(np.float32)))
    expected = pooled * np.array([0.5] * 4 + [2.0] * 6)
    np.testing.assert_allclose(np.asarray(model(x)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("features", "input", "n", "frames"),
    [
        (FeatureConfig(), "waveform", 16_000, 20),
        (FeatureConfig(), "features", 104, 8),
        (FeatureConfig(embedding=6), "features", 6, 1),
    ],
)
def test_inputs_become_vectors_over_time(features, input, n, frames):
    model = TokenEmbedder(DIFFUSION, features=features, input=input, **SMALL)
    assert model.input_shape == (None, n) and model.output_shape == (None, 10)
    assert model.get_layer("embedder_1").output.shape == (None, frames, 16)
    assert model.metadata.image.shape == (32, 32, 3) and model.metadata.n_inputs == n


def test_saved_embedder_is_recognised_and_refused_alone(tmp_path):
    model, path = TokenEmbedder(DIFFUSION, labels=("a", "b"), **SMALL), tmp_path / "model.keras"
    save_model(model, path, model.metadata)
    assert is_audio_token(tmp_path) and is_audio_token(path) and not is_audio_token(tmp_path / "other")
    loaded = keras.saving.load_model(path)
    assert loaded.get_config() == model.get_config() and loaded.metadata == model.metadata
    x = 0.1 * random(2, 16_000)
    np.testing.assert_allclose(loaded.predict_on_batch(x), model.predict_on_batch(x), atol=1e-6)
    with pytest.raises(UsageError, match=r"must contain the network .* token_embedder of the recipe audio-token"):
        load_model(path)
    with pytest.raises(ModelError, match=r"must be one of fit-image-to-audio .* TokenEmbedder"):
        ImageToAudio.from_preset(path)


def test_without_kerashub_one_sentence_says_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    model = TokenEmbedder(DIFFUSION, **SMALL)
    save_model(model, tmp_path / "model.keras", model.metadata)
    for call in (DIFFUSION.load, lambda: AudioToken.from_preset(tmp_path), lambda: load(tmp_path)):
        with pytest.raises(MissingPackageError, match=r'audio-token needs .* keras-hub.* "keras-a2i\[diffusion\]"$'):
            call()


def test_other_models_are_no_audio_tokens(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    assert not is_audio_token(tmp_path)
    with pytest.raises(ModelError, match=r"must be one of fit-audio-token .* a Sequential"):
        AudioToken.from_preset(tmp_path)
    with pytest.raises(UsageError, match=r"steps must be left out with a model that doesn't .* fit_audio_token"):
        load(tmp_path, steps=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, r"units and frames must be whole numbers from 1.* units=0"),
        ({"token_scales": (1.0,)}, r"one of token_scales for each of token_dims"),
        ({"frames": 2}, r"frames must divide the length of an embedding, and be 1 for audio. Received: frames=2 with"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        TokenEmbedder(DIFFUSION, **(SMALL | arguments))


@pytest.mark.parametrize("prompt", ["a photo", "a * of *", "a photo of*"])
def test_prompt_holds_the_place_of_the_audio_once(prompt):
    with pytest.raises(UsageError, match=r"prompt must hold the word \"\*\" once, .* Received: prompt="):
        DiffusionConfig(preset="x", prompt=prompt)
    with pytest.raises(UsageError, match=r"image_size must be a multiple of 16.* Received: image_size=40"):
        DiffusionConfig(preset="x", image_size=40)
    with pytest.raises(ConfigError, match="dtype must be one of"):
        DiffusionConfig(preset="x", dtype="int8")
