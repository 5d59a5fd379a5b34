"""Networks, their recipes and model files. Names load on first use: recipes are read without importing Keras."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_a2i.models.frontend import with_frontend
    from keras_a2i.models.network import encoder_generator
    from keras_a2i.models.objective_weights import ObjectiveWeights
    from keras_a2i.models.optimizer import make_optimizer
    from keras_a2i.models.recipe import Recipe
    from keras_a2i.models.recipes import RECIPES, get_recipe

_HOMES = {
    "RECIPES": "recipes",
    "ObjectiveWeights": "objective_weights",
    "Recipe": "recipe",
    "encoder_generator": "network",
    "get_recipe": "recipes",
    "make_optimizer": "optimizer",
    "with_frontend": "frontend",
}

__all__ = [
    "RECIPES",
    "ObjectiveWeights",
    "Recipe",
    "encoder_generator",
    "get_recipe",
    "make_optimizer",
    "with_frontend",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'keras_a2i.models' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"keras_a2i.models.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
