"""`keras-a2i recipes`: the networks and trainings to choose from."""

import textwrap

import click

from keras_a2i.cli.settings import as_typed
from keras_a2i.cli.terminal import echo
from keras_a2i.recipes import describe_recipe, get_recipe, recipe_names

_WIDTH = 110


@click.command("recipes")
@click.argument("name", required=False)
def command(name):
    """List the recipes, or show every setting of the recipe NAME (each can be changed: fit --set NAME=VALUE)."""
    if name is not None:
        from keras_a2i.recipes.settings import list_settings

        for setting, value in list_settings(get_recipe(name)).items():
            echo(f"{setting:34} {as_typed(value)}")
        return
    for known in recipe_names():
        purpose, result = describe_recipe(known)
        echo(f"{known:20} {purpose}")
        echo(textwrap.fill(result, _WIDTH, initial_indent="    ", subsequent_indent="    "))
    echo(
        "Without --recipe, fit chooses by the records: exemplars, scenes-many, words-exemplars, words-adversarial or "
        "features."
    )
