"""Small networks for tests, and one recipe of each network: several train the same one in another way."""

from typing import Any

from keras_a2i.models import AudioToImage
from keras_a2i.recipes import get_recipe, recipe_names


def different_networks() -> list[str]:
    """Names of recipes such that every recipe builds the network of one of them."""
    first: dict[str, str] = {}
    for name in recipe_names():
        recipe = get_recipe(name)
        first.setdefault(repr((recipe.encoder, recipe.generator, recipe.style_units)), name)
    return list(first.values())


def tiny_network(image_size: int = 16, **options: Any) -> AudioToImage:
    """The network of the recipe "features" in its smallest size; options as for `Recipe.build`."""
    return get_recipe("features", size="tiny").build(image_size=image_size, **options)
