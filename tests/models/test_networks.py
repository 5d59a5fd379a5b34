"""The networks: the paper's against PyTorch's outputs, the others by what they promise."""

import math
import pathlib

import keras
import numpy as np
import pytest
from support.networks import different_networks
from support.paper_weights import draw_features, draw_weights, sample

from keras_a2i import encoder_generator, get_recipe
from keras_a2i.config import FeatureConfig
from keras_a2i.errors import UsageError
from keras_a2i.models import (
    DenseEncoder,
    FrameEncoder,
    ResidualGenerator,
    SceneEncoder,
    TransposedGenerator,
    WordEncoder,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "paper_network.npz"


def _numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def _inputs(model, n=3):
    """Features, or tones in noise, and reference images for a model that has them."""
    first, *references = model.inputs
    rng, length = np.random.default_rng(0), first.shape[1]
    if first.name == "features":
        return rng.normal(0, 20, (n, length)).astype(np.float32)
    tones = np.sin(np.arange(length) * rng.uniform(0.05, 0.5, (n, 1))) * np.hanning(length)
    audio = (0.3 * tones + 0.01 * rng.standard_normal((n, length))).astype(np.float32)
    images = [rng.uniform(-1, 1, (n, *each.shape[1:])).astype(np.float32) for each in references]
    return (audio, *images) if images else audio


def _count(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


@pytest.mark.training
@pytest.mark.parametrize("size", [32, 256])
def test_paper_network_equals_pytorch(size):
    golden = np.load(GOLDEN)
    rng = np.random.default_rng(size)
    model = encoder_generator("paper", image_size=size)
    with_weights = [layer for layer in model.layers if layer.weights]
    for layer, arrays in zip(with_weights, draw_weights(rng, size), strict=True):
        layer.set_weights(arrays)
    features = draw_features(rng)
    np.testing.assert_allclose(model.encode(features), golden[f"latent_{size}"], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(sample(_numpy(model(features))), golden[f"infer_{size}"], atol=1e-4)
    np.testing.assert_allclose(sample(_numpy(model(features, training=True))), golden[f"train_{size}"], atol=1e-4)


@pytest.mark.training
@pytest.mark.parametrize(
    ("size", "channels"),
    [
        (16, [256, 128, 64, 3]),
        (32, [256, 128, 64, 32, 3]),
        (256, [256, 128, 64, 32, 16, 8, 4, 3]),
        (512, [256, 128, 64, 32, 16, 8, 4, 4, 3]),
    ],
)
def test_paper_generator_channels(size, channels):
    model = encoder_generator("paper", image_size=size)
    transposed = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert [layer.filters for layer in transposed] == channels
    assert {(layer.kernel_size, layer.strides) for layer in transposed} == {((4, 4), (2, 2))}


def test_paper_network_has_the_parameters_of_the_paper_and_unscaled_features():
    model = encoder_generator("paper", normalization=(np.ones(104), np.ones(104)))
    assert _count(model) == 2_555_675
    kinds = {type(layer) for layer in model.layers}
    assert not kinds & {keras.layers.Normalization, keras.layers.Dropout, keras.layers.GaussianNoise}


def test_paper_network_initial_weights_follow_pytorch():
    # The smallest kernel has so few weights that their deviation differs by chance.
    keras.utils.set_random_seed(0)
    model = encoder_generator("paper")
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            fan_in = layer.kernel.shape[0]
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            fan_in = layer.filters * 16
        else:
            continue
        limit = 1 / math.sqrt(fan_in)
        kernel, bias = layer.get_weights()
        assert 0.95 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)
        assert np.std(kernel) == pytest.approx(limit / math.sqrt(3), rel=0.1)
        assert 0 < np.abs(bias).max() <= limit * (1 + 1e-6)


@pytest.mark.training
@pytest.mark.parametrize("size", [16, 512])
@pytest.mark.parametrize("recipe", different_networks())
def test_network_input_and_output(recipe, size):
    features = FeatureConfig(sample_rate=8000, duration=0.5)
    model = encoder_generator(recipe, features=features, image_size=size, channels=1, n_labels=3)
    kind = get_recipe(recipe).encoder.input_kind
    length = features.n_features if kind == "features" else features.n_samples
    audio, *others = model.inputs
    assert (audio.name, audio.dtype, audio.shape, model.input_kind) == (kind, "float32", (None, length), kind)
    assert [(each.name, each.shape) for each in others] == [("reference", (None, size, size, 1))] * model.has_reference
    assert (model.output_names, model.output.shape) == (["image"], (None, size, size, 1))
    images = _numpy(model(_inputs(model, 1)))
    assert images.dtype == np.float32
    assert np.abs(images).max() <= 1


@pytest.mark.training
@pytest.mark.parametrize("name", sorted(set(different_networks()) - {"paper"}))
def test_network_comes_in_three_sizes(name):
    counts = [
        _count(encoder_generator(get_recipe(name, size=size), image_size=256, n_labels=10))
        for size in ("tiny", "base", "large")
    ]
    assert counts[0] <= 500_000 and counts[1] <= 3_000_000
    assert counts[0] < counts[1] / 2 and counts[2] > 2.5 * counts[1]


def test_size_scales_widths_and_single_settings_take_precedence():
    recipe = get_recipe("features", size="tiny", base_channels=24)
    assert recipe.encoder.units == (192, 96, 48) and recipe.generator.base_channels == 24
    assert recipe.epochs == get_recipe("features").epochs
    words = [get_recipe("words-adversarial", size=size).encoder for size in ("tiny", "base", "large")]
    assert [encoder.ensemble for encoder in words] == [1, 2, 2]
    assert SceneEncoder().scaled("tiny").channels == (8, 16, 36, 36, 48)
    tiny = FrameEncoder().scaled("tiny")
    assert (tiny.channels, tiny.units, tiny.latent_dim) == ((12, 16, 24), 48, 64)
    with pytest.raises(UsageError, match=r"size must be one of \['tiny', 'base', 'large'\]. Received: size='huge'"):
        get_recipe("features", size="huge")
    with pytest.raises(UsageError, match=r"TransposedGenerator comes in one size. Received: size='large'"):
        get_recipe("paper", size="large")


def _statistics(n):
    rng = np.random.default_rng(1)
    return rng.normal(0, 20, n), rng.uniform(1, 400, n)


def _dense(n_features=8, normalization=None, **settings):
    return encoder_generator(
        get_recipe("features", size="tiny", **settings),
        n_features=n_features,
        image_size=16,
        normalization=normalization,
    )


def test_dense_encoder_standardises_and_clips():
    mean, variance = _statistics(30)
    model = encoder_generator("features", n_features=30, image_size=16, normalization=(mean, variance))
    prepared = keras.Model(model.input, model.get_layer("unit_variance").output)
    rng = np.random.default_rng(2)
    features = mean + np.sqrt(variance) * rng.uniform(-9, 9, (50, 30))
    expected = np.clip((features - mean) / np.sqrt(variance), -4, 4)
    np.testing.assert_allclose(_numpy(prepared(features.astype(np.float32))), expected, atol=1e-4)


def test_dense_encoder_constant_feature_stays_finite():
    mean, variance = _statistics(5)
    variance[2] = 0
    model = _dense(5, (mean, variance), feature_clip=0)
    assert np.isfinite(_numpy(model(np.full((1, 5), 1e4, np.float32)))).all()


def test_dense_encoder_without_normalization_leaves_features_unscaled():
    model = _dense(5, feature_clip=0)
    features = np.random.default_rng(0).normal(0, 50, (4, 5)).astype(np.float32)
    prepared = keras.Model(model.input, model.get_layer("normalize").output)
    np.testing.assert_allclose(_numpy(prepared(features)), features, rtol=1e-6)


def test_noise_and_dropout_only_affect_training():
    model = encoder_generator("features", n_features=8, image_size=16)
    features = np.ones((2, 8), np.float32)
    np.testing.assert_array_equal(_numpy(model.encoder(features)), _numpy(model.encoder(features)))
    difference = _numpy(model.encoder(features, training=True)) - _numpy(model.encoder(features))
    assert np.abs(difference).max() > 1e-3


@pytest.mark.training
@pytest.mark.parametrize("recipe", different_networks())
def test_file_round_trip(recipe, tmp_path):
    model = encoder_generator(recipe, image_size=32, n_labels=2, normalization=_statistics(104))
    inputs = _inputs(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(_numpy(loaded(inputs)), _numpy(model(inputs)), atol=1e-6)


def test_dense_encoder_of_waveforms_computes_mfcc():
    model = encoder_generator(get_recipe("features", input="waveform"), image_size=32, normalization=_statistics(104))
    assert model.input_shape == (None, 16_000) and model.get_layer("mfcc").n_mfcc == 13


@pytest.mark.training
def test_word_encoder_is_small_and_independent_of_loudness_and_position():
    alone = encoder_generator(get_recipe("words-adversarial", ensemble=1), image_size=32, channels=1, n_labels=10)
    model = encoder_generator("words-adversarial", image_size=32, channels=1, n_labels=10)
    assert _count(alone) <= 1_000_000 and _count(model) <= 2_000_000
    word = np.zeros((2, 16_000), np.float32)
    chirp = 0.2 * np.sin(2 * np.pi * np.cumsum(np.linspace(300, 900, 4000)) / 16_000)
    word[0, 1600:5600], word[1, 9600:13_600] = chirp, 2 * chirp
    latents = model.encode(word)
    np.testing.assert_allclose(latents[0], latents[1], atol=0.05 * np.abs(latents).max())


def test_mixed_precision_returns_float32_images():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = encoder_generator("features", n_features=12, image_size=16, normalization=_statistics(12))
    finally:
        keras.config.set_dtype_policy("float32")
    features = np.random.default_rng(0).normal(0, 50, (4, 12)).astype(np.float32)
    images = model(features)
    assert keras.backend.standardize_dtype(images.dtype) == "float32"
    assert np.isfinite(_numpy(images)).all()


@pytest.mark.training
def test_features_recipe_learns_what_determines_the_image():
    """A bright row whose height depends on a feature, on held-out pairs, against the mean image."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    height = rng.integers(0, 4, 512)
    images = np.full((512, 16, 16, 3), -0.8, np.float32)
    images[np.arange(512)[:, None], height[:, None] * 4 + np.arange(4)] = 0.8
    features = rng.standard_normal((512, 10)) + 3 * np.eye(4, 10)[height]
    features = (features * 20 + 7).astype(np.float32)
    train, held_out = slice(0, 448), slice(448, None)
    recipe = get_recipe("features", epochs=8)
    statistics = features[train].mean(axis=0), features[train].var(axis=0)
    model = encoder_generator(recipe, n_features=10, image_size=16, normalization=statistics)
    model.compile(recipe.make_optimizer(8 * 7), "mse", jit_compile=False)
    model.fit(features[train], images[train], batch_size=64, epochs=8, verbose=0)
    error = model.evaluate(features[held_out], images[held_out], verbose=0)
    baseline = np.mean((images[train].mean(axis=0) - images[held_out]) ** 2)
    assert error < 0.4 * baseline


@pytest.mark.training
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 100}, "power of two from 16 to 512"),
        ({"n_features": 0}, "n_features must be at least 1"),
        ({"channels": 4}, "channels must be 1"),
        ({"recipe": "words-adversarial"}, "n_labels must be 2 or more for a generator that chooses between labels"),
        (
            {"recipe": "features", "normalization": (np.zeros(3), np.ones(3))},
            r"of shape \(104,\) each. Received: \(3,\)",
        ),
        ({"recipe": "features", "normalization": (np.zeros(104), -np.ones(104))}, "variance of at least 0"),
        ({"recipe": "features", "normalization": (np.full(104, np.nan), np.ones(104))}, "must be finite"),
        ({"recipe": "papper"}, "Received: 'papper'. Did you mean 'paper'"),
    ],
)
def test_encoder_generator_wrong_arguments_raise(arguments, message):
    with pytest.raises(UsageError, match=message):
        encoder_generator(**arguments)


@pytest.mark.parametrize(
    ("part", "arguments", "message"),
    [
        (DenseEncoder, {"dropout": 1.0}, r"dropout must be a number in \[0, 1\). Received: dropout=1.0"),
        (DenseEncoder, {"feature_noise": float("nan")}, "feature_noise must be a number in"),
        (DenseEncoder, {"normalize": 1}, "normalize must be true or false"),
        (DenseEncoder, {"units": 512}, "units must be whole numbers from 1"),
        (DenseEncoder, {"input": "audio"}, "input must be one of"),
        (WordEncoder, {"channels": (8, 8)}, "channels must be 5 whole numbers from 1"),
        (WordEncoder, {"ensemble": 0}, "ensemble must be a whole number from 1"),
        (TransposedGenerator, {"channels": ()}, "channels must be whole numbers from 1"),
        (
            TransposedGenerator,
            {"base_channels": 0},
            "base_channels must be a whole number from 1 unless",
        ),
        (TransposedGenerator, {"base_size": 3}, r"base_size must be one of \[1, 2, 4\]"),
        (ResidualGenerator, {"final_scale": 8}, r"final_scale must be one of \[2, 4\]"),
        (ResidualGenerator, {"base_channels": 0}, "base_channels must be a whole number from 1"),
        (ResidualGenerator, {"label_sharpness": -1.0}, "label_sharpness must be a number in"),
    ],
)
def test_network_part_wrong_arguments_raise(part, arguments, message):
    with pytest.raises(UsageError, match=message):
        part(**arguments)


@pytest.mark.training
def test_vector_of_a_frame_depends_on_the_audio_around_it_alone():
    x = keras.Input((16_000,))
    # So wide that no frame meets units alone that its activation turns off.
    encoder = keras.Model(x, FrameEncoder(channels=(16, 16, 16), units=16, latent_dim=5).connect(x, FeatureConfig()))
    clip = np.random.default_rng(0).standard_normal((1, 16_000)).astype(np.float32)
    other = clip.copy()
    other[:, 8_000:] = 0.3 * clip[:, :8_000]
    one, two = (keras.ops.convert_to_numpy(encoder(each)).reshape(39, 5) for each in (clip, other))
    # Frames of 50 ms, one every 25 ms; four convolutions over three frames reach four frames ahead.
    np.testing.assert_array_equal(one[:15], two[:15])
    assert all(np.abs(one[i] - two[i]).max() > 1e-3 for i in range(16, 39))


@pytest.mark.parametrize(("duration", "n_frames"), [(0.5, 19), (2.0, 79), (10.0, 79)])
def test_long_clips_have_longer_frames_and_no_more_of_them(duration, n_frames):
    features = FeatureConfig(duration=duration)
    x = keras.Input((features.n_samples,))
    assert FrameEncoder(channels=(4, 4, 4), units=8, latent_dim=5).connect(x, features).shape == (None, 5 * n_frames)


def test_scene_encoder_bounds_silence():
    model = encoder_generator("scenes", features=FeatureConfig(sample_rate=8000), image_size=16)
    sounds = _inputs(model, 8)
    statistics = keras.Model(model.input, model.get_layer("standardised").output)
    for _ in range(60):
        statistics(sounds, training=True)
    heard = keras.Model(model.input, model.get_layer("unit_variance").output)
    silence = np.zeros_like(sounds[:1])
    assert np.abs(_numpy(statistics(silence))).max() > 4
    np.testing.assert_allclose(np.abs(_numpy(heard(silence))).max(), 4, rtol=1e-6)
    inside = _numpy(statistics(sounds))
    np.testing.assert_allclose(_numpy(heard(sounds)), np.clip(inside, -4, 4), atol=1e-5)
