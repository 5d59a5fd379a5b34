"""`keras-a2i card`: a model card of a run."""

import click

from keras_a2i.cli.locations import LocalPath
from keras_a2i.cli.terminal import echo


@click.command("card")
@click.argument("run", type=LocalPath())
@click.option("--out", type=LocalPath(), help="The Markdown file (default: RUN/card.md).")
def command(run, out):
    """Write a model card of RUN: command, data, scores beside baselines, confusion matrix and limits.

    RUN is a run folder that holds a report.json, as written by evaluate.
    """
    from keras_a2i.evaluation.card import write_card

    echo(write_card(run, out))
