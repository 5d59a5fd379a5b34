"""`keras-a2i reproduce`: the paper's recipe, and what its figures are worth."""

import pathlib
import shlex
import sys

import click

from keras_a2i.cli.evaluate import show_report


@click.command("reproduce")
@click.argument("records", type=click.Path(path_type=pathlib.Path))
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path), help="The run folder to make.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training pairs (default: the paper's 100).")
@click.option("--seed", default=0, show_default=True, help="Of initial weights, order and evaluation.")
@click.option("--overwrite", is_flag=True, help="Replace a run in --out.")
def command(records, out, epochs, seed, overwrite):
    """Train the paper's network by its recipe on RECORDS, and print its three figures beside the published ones.

    The recipe is the recipe paper: Adam 0.0625, beta_1 0.5, batch 64, 100 epochs, MSE x 64, the last weights. RECORDS
    should be the paper's: see the example of build-records.
    """
    from keras_a2i.evaluation.evaluate import evaluate
    from keras_a2i.evaluation.paper import with_paper_figures
    from keras_a2i.evaluation.report_html import write_html
    from keras_a2i.serving.predictor import load
    from keras_a2i.training.fit import fit

    typed = shlex.join(["keras-a2i", *sys.argv[1:]])

    def say(row):
        click.echo(f"epoch {row['epoch']}  {row['seconds']:.1f} s  loss {row['loss']:.3f}", err=True)

    fit(records, out, recipe="paper", epochs=epochs, seed=seed, overwrite=overwrite, command=typed, report=say)
    report = evaluate(
        load(out).predict_inputs,
        records,
        seed=seed,
        model_name=str(out),
        command=typed,
        on_step=lambda step: click.echo(f"{step} ...", err=True),
    )
    report = with_paper_figures(report)
    report.write_json(out / "report.json")
    write_html(report, out / "report.html")
    click.echo(f"{'':20}{'published':>10}{'here':>10}")
    for name, (published, measured) in report.paper.items():
        click.echo(f"{name:20}{published:10.3f}{measured:10.3f}")
    for note in report.notes:
        click.secho(note, fg="yellow")
    click.echo("\nThe honest report:")
    show_report(report)
    click.echo(f"\n{out / 'report.html'}")
