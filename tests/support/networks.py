"""One recipe of each network: several train the same one in another way."""

from keras_a2i.recipes import get_recipe, recipe_names


def different_networks() -> list[str]:
    """Names of recipes such that every recipe builds the network of one of them."""
    first: dict[str, str] = {}
    for name in recipe_names():
        recipe = get_recipe(name)
        first.setdefault(repr((recipe.encoder, recipe.generator, recipe.style_units)), name)
    return list(first.values())
