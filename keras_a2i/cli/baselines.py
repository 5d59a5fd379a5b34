"""`keras-a2i baselines`: what contenders without a model score on records."""

import click

from keras_a2i.cli.locations import LocationType
from keras_a2i.cli.terminal import echo


@click.command("baselines")
@click.argument("records", type=LocationType())
@click.option("--split", default="val", show_default=True, help="The held-out split.")
def command(records, split):
    """Score baselines that need no model on RECORDS: a model's scores have a meaning only in comparison with these."""
    from keras_a2i.evaluation.baseline_scores import score_baselines
    from keras_a2i.evaluation.report_sections import contenders_table
    from keras_a2i.evaluation.report_text import render_table

    found = score_baselines(records, split=split)
    echo(f"{found.n_train} train, {found.n_held_out} held out")
    echo(render_table(contenders_table(found.contenders, found.metrics)))
    if found.leak.count:
        echo(found.leak.sentence, fg="red")
