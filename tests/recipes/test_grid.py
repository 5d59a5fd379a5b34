"""Grids of settings: names and values that are read, the order of combinations, draws, names of folders."""

import itertools

import numpy as np
import pytest

from keras_a2i.errors import UsageError
from keras_a2i.recipes import get_recipe
from keras_a2i.recipes.grid import combination_name, count_combinations, draw, grid, resolve_values
from keras_a2i.recipes.ranges import Range

FEATURES = get_recipe("features")


def test_values_have_full_names_and_python_s_own_numbers():
    settings = {
        "learning_rate": np.array([1e-3, 2e-3]),
        "units": [(64, 32), (16,)],
        "generator.channels": (32, 16),
        "batch_size": 8,
        "size": ["tiny", "base"],
        "ssim": [np.float64(0.5), 1],
        "normalize": True,
    }
    values = resolve_values(FEATURES, settings)
    assert values == {
        "learning_rate": (1e-3, 2e-3),
        "encoder.units": ((64, 32), (16,)),
        "generator.channels": ((32, 16),),
        "batch_size": (8,),
        "size": ("tiny", "base"),
        "ssim": (0.5, 1),
        "encoder.normalize": (True,),
    }
    assert {type(value) for value in (*values["learning_rate"], values["ssim"][0])} == {float}
    assert count_combinations(values) == 16
    # A setting may be given under both of its names.
    assert resolve_values(FEATURES, {"units": [[1], [2]], "encoder.units": [[3]]}) == {
        "encoder.units": ((1,), (2,), (3,))
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rat": [1]}, r"no such setting. Received: 'learning_rat'. Did you mean 'learning_rate'"),
        ({"learning_rate": []}, r"values of learning_rate must be one or more different ones. Received: none"),
        ({"batch_size": [8, 16, 8]}, r"different ones. Received: 8 twice"),
        ({"learning_rate": [1, 1.0]}, r"different ones. Received: 1.0 twice"),
        ({"encoder": ["a"]}, r"varied by its settings, such as 'encoder\.\w+'. Received: 'encoder'"),
        ({"objectives": [{}]}, r"varied by its settings, such as 'ssim'. Received: 'objectives'"),
        ({"learning_rate": [None]}, r"values of learning_rate must be numbers, texts or flags. Received: None"),
        ({"units": [[8, None]]}, r"values of encoder.units must be numbers, texts or flags. Received: None"),
    ],
)
def test_names_and_values_that_are_none_raise(settings, message):
    with pytest.raises(UsageError, match=message):
        resolve_values(FEATURES, settings)


def test_grid_is_in_order_the_last_setting_first_and_draws_are_of_it():
    values = {"a": (1, 2, 3), "b": ("x", "y"), "c": (0.5, 1.5)}
    every = list(grid(values))
    assert every == [dict(zip("abc", each, strict=True)) for each in itertools.product((1, 2, 3), "xy", (0.5, 1.5))]
    drawn = draw(values, 5, seed=3)
    assert len(drawn) == 5 and all(each in every for each in drawn) and drawn == draw(values, 5, seed=3)
    # More of them begin with the same, whatever the number.
    assert draw(values, 8, seed=3)[:5] == drawn and draw(values, 5, seed=4) != drawn
    everything = draw(values, 100, seed=0)
    assert sorted(map(repr, everything)) == sorted(map(repr, every))
    counts = np.bincount([every.index(draw(values, 1, seed)[0]) for seed in range(1200)], minlength=12)
    assert counts.min() > 60 and counts.max() < 140
    huge = {name: tuple(range(1000)) for name in "abcdefgh"}
    assert len(draw(huge, 3, seed=0)) == 3


def test_names_of_combinations_are_readable_and_differ():
    assert combination_name({"learning_rate": 1e-5, "batch_size": 16}) == "learning_rate=1e-05,batch_size=16"
    assert combination_name({"encoder.units": (64, 32), "normalize": False}) == "encoder.units=64-32,normalize=false"
    odd = [combination_name({"monitor": text}) for text in ("../a b", "../a/b")]
    assert len(set(odd)) == 2 and all(name.startswith("monitor=.._a_b-") for name in odd)
    long = [combination_name({f"setting_{i}": 0.123456789 for i in range(20)} | {"last": j}) for j in range(2)]
    assert len(set(long)) == 2 and max(map(len, long)) < 140


def test_ranges_state_their_ends():
    assert Range(1, 8).is_whole and not Range(1, 8.0).is_whole
    for low, high, log in ((2, 1, False), (1, 1, False), (0, 1, True), (0, float("inf"), False)):
        with pytest.raises(UsageError, match=rf"ends of a range must be numbers.*Received: {low}\.\.{high}"):
            Range(low, high, log)
