"""`keras-a2i presets`: what there is to choose from."""

import dataclasses
import textwrap

import click

from keras_a2i.models.preset import Preset
from keras_a2i.models.presets import PRESETS, get_preset

_WIDTH = 110


@click.command("presets")
@click.argument("name", required=False)
def command(name):
    """List the presets, or show every value of the one called NAME (each can be changed: fit --set NAME=VALUE)."""
    if name is not None:
        _show(get_preset(name))
        return
    click.echo(f"{'preset':20} {'task':10} {'size':6} {'takes':10} aims at")
    for preset in PRESETS.values():
        click.echo(f"{preset.name:20} {preset.task:10} {preset.size:6} {preset.input:10} {', '.join(aims(preset))}")
        for text in (preset.description, preset.result):
            if text:
                click.echo(textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="    "))
    click.echo("fit without --preset takes words-adversarial, scenes, scenes-many or features, as suits the records.")


def aims(preset: Preset) -> list[str]:
    """Names of the objectives of a preset, with the weights that aren't 1."""
    weights = dataclasses.asdict(preset.objectives)
    timing = ("variational_warmup", "adversarial_start")
    return [
        name if weight == 1 else f"{name} x {weight:g}"
        for name, weight in weights.items()
        if weight and name not in timing
    ]


def _show(preset: Preset) -> None:
    values = dataclasses.asdict(preset)
    for part in ("objectives", "augmentation"):
        values |= values.pop(part)
    for name, value in values.items():
        click.echo(f"{name:22} {_as_typed(value)}")


def _as_typed(value: object) -> str:
    """A value in the form that --set takes."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
