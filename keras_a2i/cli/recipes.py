"""`keras-a2i recipes`: what there is to choose from."""

import dataclasses
import textwrap

import click

from keras_a2i.models.recipe import Recipe
from keras_a2i.models.recipes import RECIPES, get_recipe

_WIDTH = 110


@click.command("recipes")
@click.argument("name", required=False)
def command(name):
    """List the recipes, or show every value of the one called NAME (each can be changed: fit --set NAME=VALUE)."""
    if name is not None:
        _show(get_recipe(name))
        return
    click.echo(f"{'recipe':20} {'task':10} {'size':6} {'takes':10} aims at")
    for recipe in RECIPES.values():
        click.echo(f"{recipe.name:20} {recipe.task:10} {recipe.size:6} {recipe.input:10} {', '.join(aims(recipe))}")
        for text in (recipe.description, recipe.result):
            if text:
                click.echo(textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="    "))
    click.echo("fit without --recipe takes words-adversarial, scenes, scenes-many or features, as suits the records.")


def aims(recipe: Recipe) -> list[str]:
    """Names of the objectives of a recipe, with the weights that aren't 1."""
    weights = dataclasses.asdict(recipe.objectives)
    timing = ("variational_warmup", "adversarial_start")
    return [
        name if weight == 1 else f"{name} x {weight:g}"
        for name, weight in weights.items()
        if weight and name not in timing
    ]


def _show(recipe: Recipe) -> None:
    values = dataclasses.asdict(recipe)
    for part in ("objectives", "augmentation"):
        values |= values.pop(part)
    for name, value in values.items():
        click.echo(f"{name:22} {_as_typed(value)}")


def _as_typed(value: object) -> str:
    """A value in the form that --set takes."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
