"""`keras-a2i card`: a model card of a run."""

import click

from keras_a2i.cli.locations import LocalPath
from keras_a2i.cli.output_options import check_output, overwrite_option
from keras_a2i.cli.terminal import echo


@click.command("card")
@click.argument("run", type=LocalPath())
@click.option("--out", type=LocalPath(), help="The Markdown file (default: RUN/card.md).")
@overwrite_option("--out")
def command(run, out, overwrite):
    """Write a model card of RUN: command, data, scores beside baselines, confusion matrix and limits.

    RUN is a run folder with a report.json of its present model, which evaluate writes. An earlier RUN/card.md is
    replaced.
    """
    from keras_a2i.evaluation.card import SUFFIXES, write_card

    check_output(out, SUFFIXES, overwrite)
    echo(write_card(run, out))
