"""The dtype policy of the three model classes: stored in their files, and built under it whatever the global one is."""

import keras
import numpy as np
import pytest

from keras_a2i.models import AudioToImage, DenseEncoder, ImageToAudio, TransposedGenerator
from keras_a2i.models.dtype_policy import dtype_policy
from keras_a2i.models.token_diffusion import DiffusionConfig
from keras_a2i.models.token_embedder import TokenEmbedder

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((2, 104)).astype(np.float32)
IMAGES = [RNG.uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32), np.ones((2, 4), np.float32)]


def to_image():
    own = keras.Sequential([keras.Input((104,)), keras.layers.Dense(8), keras.layers.Dense(8, dtype="float32")])
    return AudioToImage(own, TransposedGenerator(channels=(8,), base_channels=8), image_size=16)


def dense():
    return AudioToImage(DenseEncoder(units=(8, 4)), TransposedGenerator(channels=(8,), base_channels=8), image_size=16)


def to_audio():
    return ImageToAudio(
        image_size=16, sample_rate=8000, duration=0.25, latent_dim=8, style_units=4, widths=(8, 8, 4, 4, 4)
    )


def to_token():
    diffusion = DiffusionConfig(preset="stable_diffusion_3.5_medium", image_size=32)
    return TokenEmbedder(diffusion, token_dims=(4, 6), token_scales=(0.5, 2.0), units=8, input="features")


MODELS = {
    "dense": (dense, FEATURES),
    "own": (to_image, FEATURES),
    "audio": (to_audio, IMAGES),
    "token": (to_token, FEATURES),
}


def policies(model):
    """The policies of all layers, within models that are layers too."""
    return [layer.dtype_policy.name for layer in model._flatten_layers()]


@pytest.mark.training
@pytest.mark.backend
@pytest.mark.parametrize("name", MODELS)
def test_file_keeps_the_policy_of_its_model_whatever_the_global_one_is(name, tmp_path):
    build, inputs = MODELS[name]
    for policy, other in (("mixed_bfloat16", "float32"), ("float32", "mixed_bfloat16")):
        with dtype_policy(policy):
            model = build()
        expected = model.predict_on_batch(inputs)
        model.save(tmp_path / "model.keras")
        with dtype_policy(other):
            loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
            assert keras.config.dtype_policy().name == other
        assert policies(loaded) == policies(model) and policy in policies(model)
        np.testing.assert_array_equal(loaded.predict_on_batch(inputs), expected)


@pytest.mark.parametrize("name", ["dense", "audio", "token"])
def test_configuration_of_an_earlier_version_is_built_in_float32(name):
    model = MODELS[name][0]()
    config = model.get_config()
    del config["dtype"]
    before = dict(config)
    with dtype_policy("mixed_float16"):
        loaded = type(model).from_config(config)
    assert set(policies(loaded)) == {"float32"} and config == before
