"""`keras-a2i evaluate`: what a model's pictures are worth."""

import pathlib
import shlex
import sys
import time

import click

from keras_a2i.cli.progress import format_seconds
from keras_a2i.records.manifest import Manifest

_SHOWN = ("ssim", "mse_x64", "psnr", "sharpness", "histogram", "ssim_paper", "histogram_paper")


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.argument("records", type=click.Path(path_type=pathlib.Path))
@click.option("--split", default="val", show_default=True, help="The held-out split.")
@click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path),
    help=(
        "Where report.json and report.html go (default: MODEL if it is a run folder, else the folder the model is in)."
    ),
)
@click.option(
    "--folds",
    type=int,
    help="Cross-validate instead: train the run's recipe anew with each of so many blocks of every source held out.",
)
@click.option("--seed", default=0, show_default=True, help="Of shuffled sounds, bootstrap, and readers.")
def command(model, records, split, out, folds, seed):
    """Score MODEL on held-out pairs of RECORDS beside predictors that hear nothing, and say what it means.

    Writes report.json and report.html. MODEL is a run folder, a .keras file, a SavedModel folder or a .tflite file.
    """
    from keras_a2i.evaluation.evaluate import evaluate
    from keras_a2i.evaluation.report_html import write_html
    from keras_a2i.serving.predictor import load

    started = time.monotonic()
    if folds is not None:
        _cross_validate(model, records, out or model / "folds", folds, seed)
        return
    predictor = load(model)
    manifest = Manifest.read(records)
    predictor.metadata.require_records(manifest.features, manifest.image)
    sample, embedders = _extras(predictor, model)
    report = evaluate(
        predictor.predict_inputs,
        records,
        inputs=predictor.metadata.input,
        split=split,
        seed=seed,
        model_name=str(model),
        command=shlex.join(["keras-a2i", *sys.argv[1:]]),
        on_step=lambda step: click.echo(f"{step} ...", err=True),
        sample=sample,
        embedders=embedders,
    )
    out = out or (model if (model / "config.json").is_file() else model.parent)
    out.mkdir(parents=True, exist_ok=True)
    report.write_json(out / "report.json")
    write_html(report, out / "report.html")
    show_report(report)
    click.echo(f"\n{out / 'report.html'}: written in {format_seconds(time.monotonic() - started)}")


def _extras(predictor, model: pathlib.Path):
    """What some models can do beside drawing one picture: draw several, and embed sounds and pictures in one space."""
    sample = embedders = None
    if predictor.metadata.style_units and predictor.can_encode:

        def sample(inputs, n, seed):
            return predictor.sample(inputs, n, seed=seed)

    if (model / "image_encoder.keras").is_file():
        from keras_a2i.serving.search import load_searcher

        searcher = load_searcher(model)
        embedders = searcher.embed_inputs, searcher.embed_images
    return sample, embedders


def _cross_validate(run, records, out, folds, seed) -> None:
    from keras_a2i.evaluation.cross_validation import cross_validate

    found = cross_validate(
        run, records, out, folds=folds, seed=seed, on_step=lambda step: click.echo(f"{step} ...", err=True)
    )
    click.echo(f"{'':8}{'pairs':>7}{'SSIM':>8}{'MSE x 64':>10}{'best baseline':>15}{'shuffled':>10}")
    for number, report in enumerate(found.reports):
        model, best = report.predictors[0].means, report.gains[0]
        shuffled = report.gains[1]
        click.echo(
            f"fold {number + 1:<3}{report.n_pairs:7}{model['ssim']:8.3f}{model['mse_x64']:10.3f}"
            f"{model['ssim'] - best.mean:15.3f}{model['ssim'] - shuffled.mean:10.3f}"
        )
    click.echo("over all folds:")
    _show_gains(found.gains)


def show_report(report) -> None:
    """Prints the verdict and the tables of a report."""
    colour = {"good": "green", "nothing": "yellow", "leak": "red"}[report.level]
    for sentence in report.verdict:
        click.secho(sentence, fg=colour, bold=True)
    if report.leak.count:
        text = (
            f"leak: {report.leak.count} of {report.leak.total} held-out pairs have a training pair of the same source "
        )
        click.secho(text + f"within {report.leak.within:g} s", fg="red")
    titles = {info.name: info.title + (" (degenerate)" if info.degenerate else "") for info in report.metrics}
    click.echo(f"\n{report.n_pairs} held-out pairs of {report.n_sources} sources")
    click.echo(f"{'':22}" + "".join(f"{titles[name].split(' (')[0]:>17}" for name in _SHOWN))
    for scores in report.predictors:
        click.echo(f"{scores.name:22}" + "".join(f"{scores.means[name]:17.3f}" for name in _SHOWN))
    click.echo("histogram, paper is degenerate: it gives nearly 1 to everything")
    click.echo("")
    _show_gains(report.gains)
    found = report.retrieval
    click.echo(
        f"\nfinds its own target: R@1 {found.r1:.1%} (chance {found.chance_r1:.1%}), "
        f"R@5 {found.r5:.1%} (chance {found.chance_r5:.1%})"
    )
    if report.labels:
        click.echo(
            f"label named from the picture: generated {report.labels.generated:.1%}, sounds shuffled "
            f"{report.labels.shuffled:.1%}, real {report.labels.real:.1%}"
        )
    click.echo("how the pictures answer to the sound: measured (beside it)")
    for measure in report.measures:
        click.echo(f"  {measure.name:36} {measure.value:6.3f} ({measure.beside:.3f})  {measure.explanation}")
    if report.factors:
        click.echo("hidden factors read from the pictures: generated (real)")
        for factor in report.factors:
            click.echo(f"  {factor.name:12} {factor.measure:9} {factor.generated:.3f} ({factor.real:.3f})")


def _show_gains(gains) -> None:
    click.echo("gain of the model         metric      mean   95 % interval        p")
    for gain in gains:
        click.echo(
            f"over {gain.against:20} {gain.metric:8} {gain.mean:+8.3f}   [{gain.low:+.3f}, {gain.high:+.3f}]"
            f"   {gain.p_value:.4f}"
        )
