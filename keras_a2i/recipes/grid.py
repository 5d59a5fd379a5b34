"""Grids of settings: every combination of the values of several settings, or some that are drawn from them."""

import hashlib
import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_a2i.errors import UsageError
from keras_a2i.recipes.ranges import Range
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.recipes.setting_fields import full_name
from keras_a2i.recipes.settings import list_settings

Combination = dict[str, Any]
"""Full name of a setting -> its value."""
MAX_COMBINATIONS = 1_000
"""Trainings of one grid: more are a mistake more often than a plan."""
_MAX_NAME = 120
_WHOLE = ("encoder", "generator", "augmentation", "objectives")


def resolve_values(recipe: Recipe, settings: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Reads which values of which settings are to be combined.

    Args:
        recipe: whose settings they are.
        settings: name of a setting, as for `get_recipe` -> its values: a sequence or an array, or one value. A value of
            a setting that is a list is a sequence of numbers, so that several are a sequence of sequences.

    Returns:
        Full name -> values, numbers as Python's own, in the order in which they were given.

    Raises:
        UsageError: if there is no such setting, it has no values or one twice, or a value is no number, text or flag.
    """
    known = _known(recipe)
    found: dict[str, list[Any]] = {}
    for given, values in settings.items():
        if given in _WHOLE:
            example = "ssim" if given == "objectives" else next(name for name in known if name.startswith(f"{given}."))
            raise UsageError(
                f"A part of a recipe must be varied by its settings, such as {example!r}. Received: {given!r}"
            )
        name = full_name(given, list(known))
        found.setdefault(name, []).extend(_listed(name, values, isinstance(known[name], tuple)))
    for name, values in found.items():
        twice = [value for i, value in enumerate(values) if value in values[:i]]
        if not values or twice:
            received = f"{value_text(twice[0])} twice" if twice else "none"
            raise UsageError(f"The values of {name} must be one or more different ones. Received: {received}")
    return {name: tuple(values) for name, values in found.items()}


def count_combinations(values: Mapping[str, Sequence[Any]]) -> int:
    """The number of combinations of a grid."""
    return math.prod(len(each) for each in values.values())


def grid(values: Mapping[str, Sequence[Any]]) -> Iterator[Combination]:
    """Every combination, the values of the last setting in turn first."""
    return (dict(zip(values, each, strict=True)) for each in itertools.product(*values.values()))


def draw(values: Mapping[str, Sequence[Any]], n: int, seed: int) -> list[Combination]:
    """Draws different combinations of a grid at random; the first of more are the same.

    Args:
        values: of each setting.
        n: how many combinations; all of a grid that has fewer.
        seed: random seed.
    """
    total, chance = count_combinations(values), random.Random(seed)
    numbers: dict[int, None] = {}
    while len(numbers) < min(n, total):
        # Python guarantees the sequence of `random` alone.
        numbers[int(chance.random() * total)] = None
    return [_combination(values, number) for number in numbers]


def combination_name(combination: Combination) -> str:
    """A name for people and folders, such as "learning_rate=0.001,batch_size=16"; different for each combination."""
    text = ",".join(f"{name}={value_text(value)}" for name, value in combination.items())
    name = re.sub(r"[^\w.,=+-]", "_", text, flags=re.ASCII)[:_MAX_NAME]
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def value_text(value: Any) -> str:
    """A value as names of folders and tables show it: lists of numbers with a hyphen between them."""
    if isinstance(value, tuple):
        return "-".join(map(value_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known(recipe: Recipe) -> dict[str, Any]:
    return {"size": "base"} | list_settings(recipe)


def _combination(values: Mapping[str, Sequence[Any]], number: int) -> Combination:
    """The combination that `grid` has at a position."""
    found = {}
    for name in reversed(list(values)):
        number, i = divmod(number, len(values[name]))
        found[name] = values[name][i]
    return {name: found[name] for name in values}


def _listed(name: str, given: Any, takes_list: bool) -> list[Any]:
    """The values of one setting as a list."""
    given = given.tolist() if hasattr(given, "tolist") else given
    values = list(given) if isinstance(given, list | tuple | range) else [given]
    if takes_list and not any(isinstance(value, list | tuple) for value in values):
        values = [values]
    return [_checked(name, value, takes_list) for value in values]


def _checked(name: str, value: Any, takes_list: bool) -> Any:
    if takes_list and isinstance(value, list | tuple):
        return tuple(_checked(name, each, takes_list=False) for each in value)
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, bool | int | float | str | Range):
        what = "lists of numbers" if takes_list else "numbers, texts or flags"
        raise UsageError(f"The values of {name} must be {what}. Received: {value!r}")
    return value
