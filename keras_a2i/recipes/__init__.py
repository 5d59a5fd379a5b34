"""Recipes by name: each file of this folder holds one. The list of names and descriptions is read without Keras."""

import ast
import importlib
import pathlib
from typing import TYPE_CHECKING, Any

from keras_a2i.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from keras_a2i.recipes.recipe import Recipe

__all__ = ["check_recipe_name", "describe_recipe", "get_recipe", "recipe_names"]

_NOT_RECIPES = (
    "__init__",
    "recipe",
    "settings",
    "encoder_generator",
    "default_recipe",
    "grid",
    "ranges",
    "setting_fields",
)


def recipe_names() -> list[str]:
    """Returns the names of all recipes."""
    files = sorted(path.stem for path in pathlib.Path(__file__).parent.glob("*.py"))
    return [name.replace("_", "-") for name in files if name not in _NOT_RECIPES]


def describe_recipe(name: str) -> tuple[str, str]:
    """Returns what a recipe is for (one line) and what it was measured to do, from the docstring of its file."""
    text = _file_of(name).read_text(encoding="utf-8")
    first, _, rest = (ast.get_docstring(ast.parse(text)) or "").partition("\n")
    return first, " ".join(rest.split())


def get_recipe(name: str, /, **settings: Any) -> "Recipe":
    """Returns a recipe, with some of its settings changed.

    Args:
        name: one of `recipe_names()`.
        **settings: a field of `Recipe`; `size` ("tiny", "base" or "large"); a field of its encoder, generator or
            augmentation, by its own name where only one of them has it, else as in `{"encoder.channels": ...}`; the
            weight of an objective by its id, or an argument as in `{"variational.warmup": 0.5}`.

    Raises:
        UsageError: if there is no such recipe or setting, or a value is out of range.

    Example:
        >>> get_recipe("paper", epochs=3).learning_rate
        0.0625
    """
    from keras_a2i.recipes.settings import change

    check_recipe_name(name)
    recipe = importlib.import_module(f"keras_a2i.recipes.{name.replace('-', '_')}").RECIPE
    return change(recipe, settings) if settings else recipe


def check_recipe_name(name: str) -> None:
    """Raises a UsageError with the nearest name, or those that begin alike, unless there is a recipe of this name."""
    if name == "audio-token":
        raise UsageError(
            "The recipe must be one whose networks are all trained here. Received: 'audio-token', which needs a "
            "preset of Stable Diffusion 3. Train it with fit_audio_token (keras-a2i fit-audio-token)"
        )
    if name == "image-to-audio":
        raise UsageError(
            "The recipe must be one that generates images. Received: 'image-to-audio'. Train the other direction with "
            "fit_image_to_audio (keras-a2i fit-image-to-audio)"
        )
    names = recipe_names()
    if name not in names:
        similar = [known for known in names if known.partition("-")[0] == name.partition("-")[0]]
        otherwise = f"Similar ones are {', '.join(similar)}" if similar else f"There are {', '.join(names)}"
        hint = did_you_mean(name, names, otherwise)
        raise UsageError(f"The recipe must be one of the known ones. Received: {name!r}. {hint}")


def _file_of(name: str) -> pathlib.Path:
    check_recipe_name(name)
    return pathlib.Path(__file__).parent / f"{name.replace('-', '_')}.py"
