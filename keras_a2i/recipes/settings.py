"""Changing single settings of a recipe by name, as `fit --set NAME=VALUE` and `get_recipe(**settings)` do."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from keras_a2i.objectives import OBJECTIVES
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.recipes.setting_fields import FIXED, NO_SETTINGS, PARTS, full_name


def list_settings(recipe: Recipe) -> dict[str, Any]:
    """Returns the full name and the value of every setting that can be changed."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(recipe):
        if field.name not in (*FIXED, *PARTS, "objectives"):
            found[field.name] = getattr(recipe, field.name)
    for part in PARTS:
        for field in dataclasses.fields(getattr(recipe, part)):
            found[f"{part}.{field.name}"] = getattr(getattr(recipe, part), field.name)
    for id_, objective in OBJECTIVES.items():
        given = recipe.objectives.get(id_, 0.0)
        values = {"weight": given} if not isinstance(given, Mapping) else {"weight": 1.0, **given}
        found[id_] = values["weight"]
        for name, parameter in inspect.signature(objective).parameters.items():
            if name not in NO_SETTINGS:
                found[f"{id_}.{name}"] = values.get(name, parameter.default)
    return found


def change(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Returns a recipe with some settings changed; names as `get_recipe` describes.

    Raises:
        UsageError: if a name isn't known or means more than one setting.
        ConfigError: if a value is out of range.
    """
    settings = dict(settings)
    if "size" in settings:
        recipe = recipe.scaled(settings.pop("size"))
    own: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    objectives: dict[str, Any] = dict(recipe.objectives)
    whole = {name: settings.pop(name) for name in (*PARTS, "objectives") if name in settings}
    known = list_settings(recipe)
    for given, value in settings.items():
        full = full_name(given, list(known))
        if isinstance(known[full], tuple) and not isinstance(value, list | tuple):
            value = (value,)
        part, _, name = full.rpartition(".")
        if part in parts:
            parts[part][name] = value
        elif part or name in OBJECTIVES:
            id_, argument = (part, name) if part else (name, "weight")
            before = objectives.get(id_, 0.0)
            arguments = {"weight": before} if not isinstance(before, Mapping) else before
            objectives[id_] = {**arguments, argument: value}
        else:
            own[name] = value
    changed = {part: whole.get(part, getattr(recipe, part)) for part in PARTS}
    for part, values in parts.items():
        if values:
            changed[part] = dataclasses.replace(changed[part], **values)
    # An own mapping of objectives replaces all of them.
    return dataclasses.replace(recipe, objectives=whole.get("objectives", objectives), **changed, **own)
