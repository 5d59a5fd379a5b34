"""`keras-a2i recipes`: the networks and trainings to choose from."""

import re
import textwrap

import click

from keras_a2i.cli.settings import as_typed
from keras_a2i.cli.terminal import echo
from keras_a2i.recipes import check_recipe_name, describe_recipe, get_recipe, recipe_names

_WIDTH = 110


@click.command("recipes")
@click.argument("name", required=False)
def command(name):
    """List the recipes; or show what the recipe NAME was measured to do, and every setting of it.

    Each setting can be changed: fit --set NAME=VALUE.
    """
    if name is not None:
        _show(name)
        return
    for known in recipe_names():
        purpose, _ = describe_recipe(known)
        echo(textwrap.fill(f"{known:20} {purpose}", _WIDTH, subsequent_indent=" " * 21))
    echo(
        "Without --recipe, fit chooses by the records: exemplars, scenes-many, words-exemplars, words-adversarial or "
        "features.\nkeras-a2i recipes NAME shows what a recipe was measured to do, and its settings."
    )


def _show(name: str) -> None:
    # A mistyped name is refused before Keras loads.
    check_recipe_name(name)
    from keras_a2i.recipes.settings import list_settings

    settings = list_settings(get_recipe(name))
    purpose, result = describe_recipe(name)
    for paragraph in [purpose, *re.split(r" (?=Command: |Reference: )", result)]:
        echo(textwrap.fill(paragraph, _WIDTH) + "\n")
    echo("Settings, for fit --set NAME=VALUE:")
    for setting, value in settings.items():
        echo(f"{setting:34} {as_typed(value)}")
