"""Recipes: names, settings, optimizers, and what they refuse."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_a2i.errors import UsageError
from keras_a2i.models import DenseEncoder, ResidualGenerator
from keras_a2i.models.network_part import SIZES
from keras_a2i.optimizers import FlatAdam
from keras_a2i.recipes import describe_recipe, get_recipe, recipe_names
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.recipes.settings import list_settings
from keras_a2i.records.augmentation import Augmentation

PLAIN = {"adversarial": 0, "variational": 0, "perceptual": 0, "style_units": 0, "autoencoder_epochs": 0}
"""Settings of words-adversarial without a style, an image autoencoder and a discriminator."""


def test_recipe_names_and_descriptions_need_no_keras():
    code = (
        "import sys; from keras_a2i.recipes import describe_recipe, recipe_names; [describe_recipe(n) for n in "
        "recipe_names()]; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_states_purpose_result_and_command(name):
    purpose, result = describe_recipe(name)
    assert purpose.endswith(".") and "Result:" in result and "Command:" in result
    assert "keras-a2i" in result or "tools/" in result
    assert get_recipe(name).name == name


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_survives_json(name):
    recipe = get_recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_paper_recipe_is_that_of_the_paper():
    paper = get_recipe("paper")
    assert (paper.learning_rate, paper.beta_1, paper.batch_size, paper.epochs) == (0.0625, 0.5, 64, 100)
    assert paper.weights == {"mse": 1.0}
    optimizer = paper.make_optimizer(600)
    # Its steps equal those of Adam of Keras, see tests/optimizers.
    assert type(optimizer) is FlatAdam and not optimizer.weight_decay
    assert (float(optimizer.learning_rate), optimizer.beta_1) == (0.0625, 0.5)


def test_settings_change_single_values():
    settings = {"labels": 3, "latent_dim": 16, "generator.channels": 8, "variational.warmup": 0.1}
    recipe = get_recipe("words-aligned", **settings)
    assert recipe.weights["labels"] == 3 and recipe.encoder.latent_dim == 16 and recipe.generator.channels == (8,)
    assert recipe.make_objectives(seed=5)[0].batch_size == recipe.batch_size
    assert get_recipe("words-aligned", speed=0.2).augmentation == Augmentation(speed=0.2)
    assert get_recipe("words-aligned", augmentation=Augmentation()).augmentation == Augmentation()
    encoder = DenseEncoder(units=(4,))
    assert get_recipe("features", encoder=encoder).encoder == encoder
    mse = get_recipe("words-adversarial", **PLAIN, objectives={"mse": 1.0}, label_sharpness=0)
    assert mse.weights == {"mse": 1.0}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("papper", r"Did you mean 'paper'\?"),
        ("words-variational", r"Did you mean 'words-adversarial'\?"),
        ("words", "Similar ones are words-adversarial, words-aligned, words-exemplars"),
        ("words-consistent", "Similar ones are words-adversarial, words-aligned, words-exemplars"),
        ("music", "There are exemplars, features, paper, scenes, .*, words-exemplars"),
    ],
)
def test_unknown_name_is_refused_with_the_nearest_or_those_that_begin_alike(name, hint):
    with pytest.raises(UsageError, match=rf"must be one of the known ones. Received: '{name}'. {hint}$"):
        get_recipe(name)


def test_every_listed_setting_can_be_set_to_its_value():
    for name in recipe_names():
        recipe = get_recipe(name)
        same = get_recipe(name, **list_settings(recipe))
        assert same.to_dict() | {"objectives": 0} == recipe.to_dict() | {"objectives": 0}
        assert same.weights == recipe.weights


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learing_rate": 0.1}, "Received: 'learing_rate'. Did you mean 'learning_rate'"),
        ({"noise_snr": 3}, "Did you mean 'noise_snr_db'"),
        ({"channels": 8}, "Received: 'channels'. Choose between encoder.channels, generator.channels"),
        ({"name": "other"}, "Received: 'name'"),
        ({"learning_rate": 0}, r"learning_rate must be a number in \(0, 10\]"),
        ({"global_clipnorm": -1.0}, "global_clipnorm must be a number in"),
        ({"freeze_encoder_after": 0.0}, r"freeze_encoder_after must be a number in \(0, 1\]"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"epochs": 2.5}, "epochs must be a whole number from 1"),
        ({"min_steps": -1}, "min_steps must be a whole number from 0"),
        ({"batch_size": True}, "batch_size must be a whole number from 1"),
        ({"shuffle_within_label": 1}, "shuffle_within_label must be true or false"),
        ({"ema_momentum": 1.0}, r"ema_momentum must be a number in \[0, 1\)"),
        ({"style_units": -1}, "style_units must be a whole number from 0"),
        ({"variational": 1.0}, "style_units must be above 0 for the objective variational"),
        ({"contrastive": 1.0}, "autoencoder_epochs must be above 0 for the objectives contrastive"),
        ({"temporal": 1.0}, "shuffle_within_label must be false for the objective temporal"),
        ({"mse": 0.0}, "objectives must contain one that compares images"),
        ({"ssim": -1.0}, "The weight of ssim must be a number"),
        ({"labels": 0.0}, "label_sharpness must be 0 without the objective labels"),
        ({"encoder": DenseEncoder}, "encoder must be an instance of a subclass of Encoder.* the class DenseEncoder"),
        ({"generator": "residual"}, "generator must be an instance of a subclass of Generator.*Received: 'residual'"),
        ({"objectives": ["mse"]}, r"objectives must be a dictionary from the id.*Received: \['mse'\]"),
        ({"objectives": {"beauty": 1.0}}, "objectives must be among mse, .*Received: beauty"),
        ({"objectives": {"mse": {"scale": 1.0}}}, "The objective mse must be given arguments of MeanSquaredError"),
    ],
)
def test_wrong_settings_raise(settings, message):
    with pytest.raises(UsageError, match=message):
        get_recipe("words-adversarial", **PLAIN | settings)


def test_from_dict_unknown_class_raises():
    values = get_recipe("words-aligned").to_dict()
    values["encoder"] = values["encoder"] | {"class_name": "nowhere>Encoder"}
    with pytest.raises(UsageError, match=r"class_name must be a registered class. Received: 'nowhere>Encoder'"):
        Recipe.from_dict(values)


def test_own_recipe_of_own_parts():
    recipe = Recipe(name="mine", encoder=DenseEncoder(units=(8, 4)), generator=ResidualGenerator(channels=(8,)))
    assert recipe.build(image_size=16).output_shape == (None, 16, 16, 3)


def test_cosine_schedule_rises_and_falls():
    optimizer = get_recipe("features", learning_rate=0.01, warmup=0.2, weight_decay=0.1).make_optimizer(100)
    assert type(optimizer) is FlatAdam and optimizer.weight_decay == 0.1
    rates = [float(optimizer._learning_rate(step)) for step in (0, 10, 20, 60, 100, 150)]
    halfway = 0.01 * (0.99 * 0.5 + 0.01)
    np.testing.assert_allclose(rates, [1e-4, 0.00505, 0.01, halfway, 1e-4, 1e-4], rtol=1e-4)
    without = get_recipe("features", learning_rate=0.01, warmup=0).make_optimizer(100)
    np.testing.assert_allclose([float(without._learning_rate(step)) for step in (0, 100)], [0.01, 1e-4], rtol=1e-4)


def test_make_optimizer_without_steps_raises():
    with pytest.raises(UsageError, match="total_steps must be at least 1"):
        get_recipe("paper").make_optimizer(0)


def test_moving_average_forgets_the_first_steps():
    recipe = get_recipe("words-aligned")
    assert recipe.make_optimizer(10_000).ema_momentum == 0.99
    assert recipe.make_optimizer(100).ema_momentum == pytest.approx(0.8)
    assert recipe.make_optimizer(10).ema_momentum == 0 and not get_recipe("paper").make_optimizer(10_000).use_ema


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_global_clipnorm_scales_long_gradients(weight_decay):
    step = {}
    for clip in (0.0, 1.0):
        recipe = get_recipe("features", global_clipnorm=clip, weight_decay=weight_decay, schedule="constant")
        optimizer = recipe.make_optimizer(10)
        variables = [keras.Variable(np.zeros(2, np.float32)), keras.Variable(np.zeros(1, np.float32))]
        optimizer.build(variables)
        # Norm 13 together, scaled to 1 or not; Adam's first moment is a tenth of the gradient.
        gradients = [keras.ops.convert_to_tensor(np.float32(values)) for values in ([3, 4], [12])]
        optimizer.apply(gradients)
        step[clip] = keras.ops.convert_to_numpy(optimizer._momentum)
    np.testing.assert_allclose(step[0.0], [0.3, 0.4, 1.2], rtol=1e-5)
    np.testing.assert_allclose(step[1.0], np.array([0.3, 0.4, 1.2]) / 13, rtol=1e-5)


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_of_any_size_is_resized_to_any_other_and_keeps_its_settings(name):
    recipe = get_recipe(name)
    if name == "paper":
        assert recipe.resized(recipe, "base") == recipe
        with pytest.raises(UsageError, match="comes in one size"):
            recipe.resized(recipe, "tiny")
        return
    for size in SIZES:
        scaled = recipe.scaled(size)
        assert [scaled.resized(recipe, other) for other in SIZES] == [recipe.scaled(other) for other in SIZES]
    changed = get_recipe(name, size="tiny", batch_size=3)
    assert changed.resized(recipe, "large") == get_recipe(name, size="large", batch_size=3)
