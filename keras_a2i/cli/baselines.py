"""`keras-a2i baselines`: what predictors without a model score on records."""

import pathlib

import click

_SHOWN = ("ssim", "ssim_paper", "mse_x64", "psnr", "sharpness", "texture", "dark_error", "histogram")


@click.command("baselines")
@click.argument("records", type=click.Path(path_type=pathlib.Path))
@click.option("--split", default="val", show_default=True, help="The held-out split.")
def command(records, split):
    """Score predictors that need no model on RECORDS: what any model must beat before its scores mean anything."""
    from keras_a2i.evaluation.baselines import baselines
    from keras_a2i.evaluation.pairs import read_pairs
    from keras_a2i.evaluation.scoring import METRICS, score_predictors
    from keras_a2i.evaluation.statistics import find_leak

    train, held_out = read_pairs(records, "train"), read_pairs(records, split)
    scores = score_predictors(baselines(train, held_out), held_out)
    titles = {info.name: info.title for info, _ in METRICS}
    click.echo(f"{len(train)} train, {len(held_out)} held out")
    click.echo(f"{'':22}" + "".join(f"{titles[name]:>13}" for name in _SHOWN))
    for predictor in scores:
        click.echo(f"{predictor.name:22}" + "".join(f"{predictor.means[name]:13.3f}" for name in _SHOWN))
    leak = find_leak(train, held_out)
    if leak.count:
        click.secho(
            f"leak: {leak.count} of {leak.total} held-out pairs ({leak.share:.0%}) have a training pair of the same "
            f"source within {leak.within:g} s",
            fg="red",
        )
