"""The networks: the paper's against PyTorch's outputs, the others by what they promise."""

import dataclasses
import json
import math
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.networks import different_networks
from support.paper_weights import draw_features, draw_weights, sample

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import UsageError
from keras_a2i.models import RECIPES, Recipe, encoder_generator, get_recipe, make_optimizer
from keras_a2i.records.augmentation import Augmentation

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "paper_network.npz"


def _numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def _inputs(model, n=3):
    """Features, or tones in noise."""
    rng, length = np.random.default_rng(0), model.input.shape[1]
    if model.input.name == "features":
        return rng.normal(0, 20, (n, length)).astype(np.float32)
    tones = np.sin(np.arange(length) * rng.uniform(0.05, 0.5, (n, 1))) * np.hanning(length)
    return (0.3 * tones + 0.01 * rng.standard_normal((n, length))).astype(np.float32)


def _count(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


@pytest.mark.parametrize("size", [32, 256])
def test_seed_network_equals_pytorch(size):
    golden = np.load(GOLDEN)
    rng = np.random.default_rng(size)
    model = encoder_generator("paper", image_size=size)
    with_weights = [layer for layer in model.layers if layer.weights]
    for layer, arrays in zip(with_weights, draw_weights(rng, size), strict=True):
        layer.set_weights(arrays)
    features = draw_features(rng)
    latent = keras.Model(model.input, model.get_layer("latent").output)(features)
    np.testing.assert_allclose(_numpy(latent), golden[f"latent_{size}"], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(sample(_numpy(model(features))), golden[f"infer_{size}"], atol=1e-4)
    np.testing.assert_allclose(sample(_numpy(model(features, training=True))), golden[f"train_{size}"], atol=1e-4)


@pytest.mark.parametrize(
    ("size", "channels"),
    [
        (16, [256, 128, 64, 3]),
        (32, [256, 128, 64, 32, 3]),
        (256, [256, 128, 64, 32, 16, 8, 4, 3]),
        (512, [256, 128, 64, 32, 16, 8, 4, 4, 3]),
    ],
)
def test_seed_generator_channels(size, channels):
    model = encoder_generator("paper", image_size=size)
    transposed = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert [layer.filters for layer in transposed] == channels
    assert {(layer.kernel_size, layer.strides) for layer in transposed} == {((4, 4), (2, 2))}


def test_seed_network_has_the_papers_parameters_and_takes_raw_features():
    model = encoder_generator("paper", normalization=(np.ones(104), np.ones(104)))
    assert _count(model) == 2_555_675
    kinds = {type(layer) for layer in model.layers}
    assert not kinds & {keras.layers.Normalization, keras.layers.Dropout, keras.layers.GaussianNoise}


def test_seed_weights_start_as_pytorchs():
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


@pytest.mark.parametrize("size", [16, 64, 512])
@pytest.mark.parametrize("recipe", different_networks())
def test_input_and_output(recipe, size):
    sound = FeatureConfig(sample_rate=8000, duration=0.5)
    model = encoder_generator(recipe, sound=sound, image_size=size, channels=1, n_labels=3)
    length = sound.n_features if RECIPES[recipe].input == "features" else sound.n_samples
    assert (model.input.name, model.input.dtype) == (RECIPES[recipe].input, "float32")
    assert model.input.shape == (None, length)
    assert (model.output_names, model.output.shape) == (["image"], (None, size, size, 1))
    images = _numpy(model(_inputs(model)))
    assert images.dtype == np.float32
    assert np.abs(images).max() <= 1


@pytest.mark.parametrize(("recipe", "most"), [("features", 3_000_000), ("tiny", 500_000)])
def test_sizes_of_the_presets(recipe, most):
    assert _count(encoder_generator(recipe)) <= most


@pytest.mark.parametrize("image_size", [16, 256])
@pytest.mark.parametrize("name", sorted(set(different_networks()) - {"paper", "tiny"}))
def test_every_preset_comes_in_three_sizes(name, image_size):
    counts = [
        _count(encoder_generator(get_recipe(name, size=size), image_size=image_size, n_labels=10))
        for size in ("tiny", "base", "large")
    ]
    assert counts[0] <= 500_000 and counts[1] <= 3_000_000
    assert counts[0] < counts[1] / 2 and counts[2] > 2.5 * counts[1]


def test_a_size_scales_the_widths_and_single_values_win():
    recipe = get_recipe("features", size="tiny", base_channels=24)
    assert recipe.encoder_units == (192, 96, 48) and recipe.base_channels == 24 and recipe.size == "tiny"
    assert recipe.epochs == get_recipe("features").epochs
    assert get_recipe("tiny", size="tiny") == get_recipe("tiny")
    assert [get_recipe("words", size=size).ensemble for size in ("tiny", "base", "large")] == [2, 4, 4]
    with pytest.raises(UsageError, match=r"must be one of \['tiny', 'base', 'large'\]. Received: 'huge'"):
        get_recipe("features", size="huge")
    with pytest.raises(UsageError, match=r"The paper's network has one size. Received: the recipe 'seed'"):
        get_recipe("paper", size="large")


def _statistics(n):
    rng = np.random.default_rng(1)
    return rng.normal(0, 20, n), rng.uniform(1, 400, n)


def test_features_are_standardised_and_clipped():
    mean, variance = _statistics(30)
    model = encoder_generator("features", n_features=30, image_size=16, normalization=(mean, variance))
    prepared = keras.Model(model.input, model.get_layer("unit_variance").output)
    rng = np.random.default_rng(2)
    features = mean + np.sqrt(variance) * rng.uniform(-9, 9, (50, 30))
    expected = np.clip((features - mean) / np.sqrt(variance), -4, 4)
    np.testing.assert_allclose(_numpy(prepared(features.astype(np.float32))), expected, atol=1e-4)


def test_a_feature_that_never_varied_stays_finite():
    mean, variance = _statistics(5)
    variance[2] = 0
    recipe = get_recipe("tiny", feature_clip=0)
    model = encoder_generator(recipe, n_features=5, image_size=16, normalization=(mean, variance))
    assert np.isfinite(_numpy(model(np.full((1, 5), 1e4, np.float32)))).all()


def test_no_normalization_leaves_features_alone():
    model = encoder_generator(get_recipe("tiny", feature_clip=0), n_features=5, image_size=16)
    features = np.random.default_rng(0).normal(0, 50, (4, 5)).astype(np.float32)
    prepared = keras.Model(model.input, model.get_layer("normalize").output)
    np.testing.assert_allclose(_numpy(prepared(features)), features, rtol=1e-6)


def test_noise_and_dropout_are_for_training_only():
    model = encoder_generator("features", n_features=8, image_size=16)
    latent = keras.Model(model.input, model.get_layer("latent").output)
    features = np.ones((2, 8), np.float32)
    np.testing.assert_array_equal(_numpy(latent(features)), _numpy(latent(features)))
    assert np.abs(_numpy(latent(features, training=True)) - _numpy(latent(features))).max() > 1e-3


@pytest.mark.parametrize("recipe", different_networks())
def test_file_round_trip(recipe, tmp_path):
    model = encoder_generator(recipe, image_size=32, n_labels=2, normalization=_statistics(104))
    inputs = _inputs(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(_numpy(loaded(inputs)), _numpy(model(inputs)), atol=1e-6)


def test_a_preset_of_sound_hears_through_the_feature_layers():
    overrides = {"input": "waveform", "feature_noise": 0.0}
    model = encoder_generator(get_recipe("tiny", **overrides), image_size=32, normalization=_statistics(104))
    assert model.input.shape == (None, 16_000) and model.get_layer("mfcc").n_mfcc == 13
    with pytest.raises(UsageError, match=r"input of a recipe must be 'waveform' for the encoder 'words'"):
        get_recipe("words", input="features")
    with pytest.raises(UsageError, match="encoder of a recipe must be one of"):
        get_recipe("features", encoder="conv")
    assert get_recipe("words", speed=0.2).augmentation == Augmentation(speed=0.2)
    with pytest.raises(UsageError, match="Did you mean 'noise_snr_db'"):
        get_recipe("words", noise_snr=3)


def test_words_are_few_parameters_and_don_t_depend_on_loudness_or_place():
    alone = encoder_generator(get_recipe("words", ensemble=1), image_size=32, channels=1, n_labels=10)
    model = encoder_generator("words", image_size=32, channels=1, n_labels=10)
    assert _count(alone) <= 1_000_000 and _count(model) <= 2_000_000
    word = np.zeros((2, 16_000), np.float32)
    chirp = 0.2 * np.sin(2 * np.pi * np.cumsum(np.linspace(300, 900, 4000)) / 16_000)
    word[0, 1600:5600], word[1, 9600:13_600] = chirp, 2 * chirp
    latents = _numpy(keras.Model(model.input, model.get_layer("latent").output)(word))
    np.testing.assert_allclose(latents[0], latents[1], atol=0.05 * np.abs(latents).max())


def test_mixed_precision_gives_float32_pictures():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = encoder_generator("features", n_features=12, image_size=16, normalization=_statistics(12))
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    features = np.random.default_rng(0).normal(0, 50, (4, 12)).astype(np.float32)
    images = model(features)
    assert keras.backend.standardize_dtype(images.dtype) == "float32"
    assert np.isfinite(_numpy(images)).all()


def test_default_learns_what_the_sound_says():
    """A bright row whose height a feature tells, on held-out sounds, against the mean picture."""
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
    model.compile(make_optimizer(recipe, 8 * 7), "mse", jit_compile=False)
    model.fit(features[train], images[train], batch_size=64, epochs=8, verbose=0)
    error = model.evaluate(features[held_out], images[held_out], verbose=0)
    baseline = np.mean((images[train].mean(axis=0) - images[held_out]) ** 2)
    assert error < 0.4 * baseline


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 100}, "power of two from 16 to 512"),
        ({"n_features": 0}, "n_features must be at least 1"),
        ({"channels": 4}, "channels must be 1"),
        ({"recipe": "words-adversarial"}, "'words-adversarial' decides between labels: n_labels must be 2 or more"),
        ({"normalization": (np.zeros(3), np.ones(3))}, r"of shape \(104,\) each. Received: \(3,\)"),
        ({"normalization": (np.zeros(104), -np.ones(104))}, "variance of at least 0"),
        ({"normalization": (np.full(104, np.nan), np.ones(104))}, "must be finite"),
        ({"recipe": "sead"}, "must be one of .*'sead'. Did you mean 'seed'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UsageError, match=message):
        encoder_generator(**arguments)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learing_rate": 0.1}, "Received: 'learing_rate'. Did you mean 'learning_rate'"),
        ({"name": "other"}, "Received: 'name'"),
        ({"learning_rate": 0}, r"learning_rate of a recipe must lie in \(0, 10\]"),
        ({"dropout": 1.0}, r"dropout of a recipe must lie in \[0, 1\)"),
        ({"feature_noise": float("nan")}, "feature_noise of a recipe must be a number from 0"),
        ({"global_clipnorm": -1.0}, "global_clipnorm of a recipe must be a number from 0"),
        ({"freeze_encoder_after": 0.0}, r"freeze_encoder_after of a recipe must lie in \(0, 1\]"),
        ({"schedule": "linear"}, "schedule of a recipe must be one of"),
        ({"epochs": 2.5}, "epochs of a recipe must be a whole number"),
        ({"min_steps": -1}, "min_steps of a recipe must be a whole number from 0"),
        ({"batch_size": True}, "batch_size of a recipe must be a whole number"),
        ({"normalize": 1}, "normalize of a recipe must be true or false"),
        ({"encoder_units": 512}, "encoder_units of a recipe must be a list"),
        ({"generator_channels": ()}, "generator_channels of a recipe must be a list"),
        ({"base_channels": 0}, "base_channels of a recipe must be a whole number"),
        ({"final_scale": 8}, "final_scale of a recipe must be 2 or 4"),
        ({"base_size": 3}, "base_size of a recipe must be 1, 2 or 4"),
    ],
)
def test_wrong_overrides(overrides, message):
    with pytest.raises(UsageError, match=message):
        get_recipe("features", **overrides)


def test_presets_survive_json():
    for recipe in RECIPES.values():
        assert Recipe(**json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe
    assert get_recipe("paper", epochs=3) == dataclasses.replace(RECIPES["paper"], epochs=3)


def test_seed_recipe_is_the_papers():
    seed = get_recipe("paper")
    assert (seed.learning_rate, seed.beta_1, seed.batch_size, seed.epochs) == (0.0625, 0.5, 64, 100)
    optimizer = make_optimizer(seed, 600)
    assert type(optimizer) is keras.optimizers.Adam
    assert (float(optimizer.learning_rate), optimizer.beta_1) == (0.0625, 0.5)


def test_cosine_schedule_rises_and_falls():
    optimizer = make_optimizer(get_recipe("features", learning_rate=0.01, warmup=0.2, weight_decay=0.1), 100)
    assert type(optimizer) is keras.optimizers.AdamW
    rates = [float(optimizer._learning_rate(step)) for step in (0, 10, 20, 60, 100, 150)]
    halfway = 0.01 * (0.99 * 0.5 + 0.01)
    np.testing.assert_allclose(rates, [1e-4, 0.00505, 0.01, halfway, 1e-4, 1e-4], rtol=1e-4)
    without = make_optimizer(get_recipe("features", learning_rate=0.01, warmup=0), 100)
    np.testing.assert_allclose([float(without._learning_rate(step)) for step in (0, 100)], [0.01, 1e-4], rtol=1e-4)


def test_steps_must_be_positive():
    with pytest.raises(UsageError, match="total_steps must be at least 1"):
        make_optimizer(get_recipe("paper"), 0)


def test_presets_import_no_keras():
    code = "import sys, keras_a2i.models.recipes; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_average_of_weights_forgets_the_first_steps():
    recipe = get_recipe("words")
    assert make_optimizer(recipe, 10_000).ema_momentum == 0.99
    assert make_optimizer(recipe, 100).ema_momentum == pytest.approx(0.8)
    assert make_optimizer(recipe, 10).ema_momentum == 0 and not make_optimizer(get_recipe("paper"), 10_000).use_ema


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_long_gradients_are_scaled_down(weight_decay):
    step = {}
    for clip in (0.0, 1.0):
        recipe = get_recipe("features", global_clipnorm=clip, weight_decay=weight_decay, schedule="constant")
        optimizer = make_optimizer(recipe, 10)
        variables = [keras.Variable(np.zeros(2, np.float32)), keras.Variable(np.zeros(1, np.float32))]
        optimizer.build(variables)
        # Norm 13 together: scaled to 1, or taken as they are; Adam's first moment is a tenth of what it was given.
        optimizer.apply([np.float32([3, 4]), np.float32([12])])
        step[clip] = np.concatenate([_numpy(moment) for moment in optimizer._momentums])
    np.testing.assert_allclose(step[0.0], [0.3, 0.4, 1.2], rtol=1e-5)
    np.testing.assert_allclose(step[1.0], np.array([0.3, 0.4, 1.2]) / 13, rtol=1e-5)


def test_a_scene_encoder_hears_silence_within_bounds():
    model = encoder_generator("scenes", sound=FeatureConfig(sample_rate=8000), image_size=16)
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


def test_every_preset_says_what_it_was_measured_to_do():
    results = {name: recipe.result for name, recipe in RECIPES.items()}
    assert all(results.values())
    told = [text for text in results.values() if not text.startswith("not measured")]
    assert len(set(told)) == len(told) >= 3 and all("keras-a2i" in text or "tools/" in text for text in told)
