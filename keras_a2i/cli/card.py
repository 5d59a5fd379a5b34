"""`keras-a2i card`: a model card of a run."""

import pathlib

import click

from keras_a2i.cli.terminal import echo


@click.command("card")
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.option("--out", type=click.Path(path_type=pathlib.Path), help="The Markdown file (default: RUN/card.md).")
def command(run, out):
    """Write a model card of RUN: command, data, scores beside baselines, confusion matrix and limits.

    RUN is a run folder that holds a report.json, as written by evaluate.
    """
    from keras_a2i.evaluation.card import write_card

    echo(write_card(run, out))
