"""`keras-a2i evaluate`: what a model's images are worth."""

import pathlib
import shlex
import sys
import time
from typing import TYPE_CHECKING

import click

from keras_a2i.cli.damaged_audio import damage_shown
from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.locations import LocalPath, LocationType, ModelPath
from keras_a2i.cli.progress import tell_step
from keras_a2i.cli.terminal import echo
from keras_a2i.durations import format_seconds
from keras_a2i.models.shipped import find_model
from keras_a2i.remote.address import Location, as_location, local_path
from keras_a2i.training.run_folder import RunFolder

if TYPE_CHECKING:
    from keras_a2i.evaluation.report import Report

_COLOURS = {"good": "green", "mixed": "green", "weak": "yellow", "bad": "red"}


@click.command("evaluate")
@click.argument("model", type=ModelPath())
@click.argument("records", type=LocationType())
@click.option("--split", help="The held-out split (default: val).")
@click.option(
    "--out",
    type=LocationType(),
    help="The folder for report.json, report.html and per_pair.csv (default: MODEL if it is a run folder, else "
    "NAME-report beside the model).",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace files in --out other than an earlier report of MODEL.",
)
@click.option("--samples", type=click.IntRange(min=0), help="Samples per clip, of a model with a style (default: 8).")
@click.option(
    "--foreign",
    type=LocalPath(),
    metavar="FOLDER",
    help="A folder of audio files or videos that are unlike the training data (default: rendered tones, noise, clicks, "
    "sweeps and speech).",
)
@click.option(
    "--folds",
    type=int,
    metavar="K",
    help="Run K-fold cross-validation: retrain the run's recipe K times, each time holding out a part of the records.",
)
@click.option(
    "--by",
    type=click.Choice(["block", "source"]),
    help="With --folds: hold out one contiguous block of every source, or whole sources (default: block).",
)
@click.option("--seeds", default=1, show_default=True, metavar="N", help="With --folds: number of seeds per fold.")
@click.option("--seed", default=0, show_default=True, help="Random seed of shuffled audio, bootstrap and probes.")
def command(model, records, split, out, overwrite, samples, foreign, folds, by, seeds, seed):
    """Score MODEL on held-out pairs of RECORDS, and compare it with baselines that receive no audio or need no model.

    Prints a verdict and writes report.json, report.html and per_pair.csv. MODEL is a run folder, a .keras file, an
    exported model or the name of a shipped one. For a run of the recipe paper, the paper's three figures are printed
    beside the published ones.
    """
    # What can be refused without TensorFlow is refused before it loads.
    started = time.monotonic()
    if out is None and isinstance(model, pathlib.Path) and find_model(model) != model:
        raise click.UsageError("--out must be given with a shipped model, whose folder is part of the library")
    if folds is not None:
        given = (("--foreign", foreign), ("--split", split), ("--samples", samples), ("--overwrite", overwrite or None))
        for name, value in given:
            if value is not None:
                raise click.UsageError(
                    f"{name} must be left out with --folds, which evaluates every fold on its own held-out pairs with "
                    f"the default options. Received: {name} {value}. Leave out {name}, or --folds"
                )
        folder = local_path(out or as_location(model) / "folds", "The folder of the folds (--out)")
        _cross_validate(model, records, folder, folds=folds, by=by or "block", seeds=seeds, seed=seed)
        return
    if seeds != 1:
        raise click.UsageError("--seeds can only be used with --folds. For runs of other seeds, use keras-a2i compare")
    if by is not None:
        raise click.UsageError("--by can only be used with --folds. Received: --by without --folds")
    from keras_a2i.evaluation.pairs import require_splits
    from keras_a2i.evaluation.report import check_report_path
    from keras_a2i.records.records import as_records

    location = as_location(model)
    target = out or _report_folder(location)
    with flag_names(path="--out"):
        check_report_path(target, str(location), overwrite=overwrite, is_own=out is None)
    records, split = as_records(records), split or "val"
    require_splits(records, split)
    import keras_a2i.evaluation.evaluate as evaluation

    # Audio of --foreign may be damaged.
    with damage_shown():
        report = evaluation.evaluate(
            model,
            records,
            split=split,
            seed=seed,
            samples=8 if samples is None else samples,
            foreign=foreign,
            command=shlex.join(["keras-a2i", *sys.argv[1:]]),
            progress=tell_step,
        )
    written = report.save(target)
    show_report(report)
    echo(f"\n{written}: written in {format_seconds(time.monotonic() - started)}")


def _report_folder(model: Location) -> Location:
    """The run folder of a model, or one of its own: files beside an exported model may have the report's names."""
    run = model.parent if model.name == "model.keras" else model
    return run if RunFolder(run).exists else model.with_name(f"{model.stem}-report")


def show_report(report: "Report") -> None:
    """Prints the verdict and the tables of a report."""
    from keras_a2i.evaluation.report_format import printable
    from keras_a2i.evaluation.report_text import render_text
    from keras_a2i.evaluation.verdict import LEVELS

    level = LEVELS[report.level]
    # The first sentence states the level.
    first, *others = report.verdict
    echo(f"{level.mark} {printable(first)}", fg=_COLOURS[level.tone], bold=True)
    for sentence in others:
        echo(str(printable(sentence)), fg=_COLOURS[level.tone])
    echo("\n" + render_text(report))


def _cross_validate(run: pathlib.Path | str, records: Location, out: pathlib.Path, **options) -> None:
    from keras_a2i.evaluation.cross_validation import cross_validate
    from keras_a2i.evaluation.report_sections import gains_table
    from keras_a2i.evaluation.report_text import render_table

    found = cross_validate(run, records, out, **options, progress=tell_step)
    echo(render_table(found.table()))
    echo(f"\nGains over all folds; the intervals cover {found.gains[0].widest.covers}:")
    echo(render_table(gains_table(found.gains, found.titles)))
