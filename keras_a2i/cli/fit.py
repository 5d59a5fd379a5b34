"""`keras-a2i fit`: records into a trained model in a run folder."""

import pathlib
import shlex
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from keras_a2i.cli.device_options import device_options, join_group, supervise, take_place
from keras_a2i.cli.locations import LocationType
from keras_a2i.cli.settings import parse_settings
from keras_a2i.cli.terminal import echo
from keras_a2i.cli.training_options import CACHE, fit_command, leave_gpu_memory, training_options
from keras_a2i.durations import format_seconds
from keras_a2i.errors import UsageError
from keras_a2i.recipes import check_recipe_name, recipe_names
from keras_a2i.recipes.default_recipe import choose_recipe
from keras_a2i.recipes.setting_fields import check_settings, setting_fields
from keras_a2i.records.records import Records
from keras_a2i.remote.address import local_path
from keras_a2i.training.run_folder import RunFolder
from keras_a2i.training.seeds_folder import check_seeds_folder

if TYPE_CHECKING:
    from keras_a2i.training.process_group import ProcessGroup


@click.command("fit", epilog=f"Recipes: {', '.join(recipe_names())}. 'keras-a2i recipes' describes them.")
@click.argument("records", type=LocationType())
@click.option("--out", required=True, type=LocationType(), help="Run folder to create.")
@click.option("--recipe", help="Network and training, see below (default: one that suits the records).")
@click.option(
    "--size",
    type=click.Choice(["tiny", "base", "large"]),
    help="Size of the network, by its channels per layer (default: base).",
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change a setting of the recipe; repeatable."
)
@click.option(
    "--input",
    "input_",
    type=click.Choice(["features", "waveform"]),
    help="For the recipes features and paper. waveform: compute the features inside the model and augment the audio "
    "(default: the recipe's).",
)
@click.option("--no-augment", is_flag=True, help="Disable the augmentation of the audio.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs over the training pairs (default: the recipe's).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Pairs per step (default: the recipe's).")
@click.option("--seed", type=int, help="Random seed of weights, shuffling and dropout (default: 0).")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train N runs with consecutive seeds from --seed (default: 0), in the folders seed-0, seed-1 and so on of "
    "--out.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --seeds: number of runs that train at the same time, each in its own process on its own GPU (default: "
    "1).",
)
@click.option("--resume", is_flag=True, help="Resume the run in --out; options that are not given keep their values.")
@click.option("--overwrite", is_flag=True, help="Replace a run in --out.")
@training_options
@device_options
def command(records, out, settings, size, input_, no_augment, cache, seeds, jobs, **options):
    """Train a model on RECORDS.

    Writes config.json, model.keras, history.csv and samples/epoch_*.png (held-out pairs, real above generated) to
    --out. RECORDS and --out may be addresses in an object store, such as s3://bucket/records (extra remote). Ctrl-C
    saves the last complete epoch, from which --resume continues. With --seeds, run the
    same command again to continue; finished runs are skipped.

    To train one model on several machines, start the same command on each with --devices all, or with --coordinator,
    --num-processes and --process-id; the first process writes --out.
    """
    # What can be refused without TensorFlow is refused before it loads.
    values = parse_settings(settings)
    checked = values | ({"input": input_} if input_ else {})
    # The folder of a run holds its recipe, which may be one that this version doesn't have.
    if options["recipe"] is not None and (not options["resume"] or options["recipe"] in recipe_names()):
        check_recipe_name(options["recipe"])
        _check_input(options["recipe"], input_)
        check_settings(options["recipe"], checked)
    if jobs is not None and seeds is None:
        raise UsageError("--jobs can only be used with --seeds. Received: --jobs without --seeds")
    if seeds is not None:
        check_seeds_folder(local_path(out, "The folder of several runs (--out with --seeds)"))
    place, together = take_place(options, has_seeds=seeds is not None)
    supervise(place)
    opened = Records(records)
    group = join_group(place)
    if group is not None and not group.is_first:
        _train_along(opened, out, group, cache=CACHE[cache], **together)
        return
    with nullcontext() if group is None else group.failures_sent():
        if not options["resume"]:
            if seeds is None:
                RunFolder(out).check_free(overwrite=options["overwrite"])
            if options["recipe"] is None:
                recipe, reason = choose_recipe(opened)
                echo(f"The recipe is {recipe}: {reason}", err=True)
                _check_input(recipe, input_)
                check_settings(recipe, checked)
                options["recipe"] = recipe
        changed = _all_settings(values, size, input_, no_augment)
        if seeds is None:
            _fit(opened, out, settings=changed, cache=CACHE[cache], **together, **options)
            return
    typed = {"settings": settings, "size": size, "input_": input_, "no_augment": no_augment, "cache": cache}
    _fit_seeds(opened, out, seeds, jobs or 1, typed | options, settings=changed, cache=CACHE[cache], **options)


def _check_input(recipe: str, input_: str | None) -> None:
    """Raises a UsageError if --input is given and the recipe has one input only."""
    if input_ and not any(name.endswith(".input") for name in setting_fields(recipe)):
        choice = [name for name in recipe_names() if any(s.endswith(".input") for s in setting_fields(name))]
        raise UsageError(
            "--input must be left out for a recipe whose only input is the waveform. Received: --input "
            f"{input_} with the recipe {recipe!r}. It can be used with the recipes {' and '.join(choice)}"
        )


def _all_settings(
    values: dict[str, object], size: str | None, input_: str | None, no_augment: bool
) -> dict[str, object]:
    if size:
        values["size"] = size
    if input_:
        values["input"] = input_
    if no_augment:
        from keras_a2i.records.augmentation import Augmentation

        values["augmentation"] = Augmentation()
    return values


def _fit(records: Records, out: pathlib.Path, **options) -> None:
    from keras_a2i.training.epoch_lines import EpochLines
    from keras_a2i.training.fit import fit

    started, lines = time.monotonic(), EpochLines(RunFolder(out), _tell)
    if options["jit_compile"] == "auto":
        _tell("Measuring training steps with and without XLA before the first epoch")
    fit(
        records,
        out,
        callbacks=[lines],
        verbose=0,
        progress=_report_stage,
        command=shlex.join(["keras-a2i", *sys.argv[1:]]),
        **options,
    )
    if lines.announced:
        echo(f"{out / 'model.keras'}: trained in {format_seconds(time.monotonic() - started)}")
    else:
        echo("All epochs were finished already, so nothing was trained. --epochs N trains for more", err=True)
    echo(f"Sample images: {out / 'samples'}. Next: keras-a2i generate {out} FILE --out images")


def _train_along(records: Records, out: pathlib.Path, group: "ProcessGroup", **options) -> None:
    from keras_a2i.training.fit import fit

    name = f"Process {group.process_id} of {group.n_processes}"
    echo(f"{name} has joined the training. Process 0 prints the progress", err=True)
    fit(records, out, **options)
    echo(f"{name} has finished", err=True)


def _fit_seeds(records: Records, out: pathlib.Path, n: int, jobs: int, typed: dict, *, seed, **options) -> None:
    leave_gpu_memory(jobs)
    from keras_a2i.evaluation.replicates import gather_scores
    from keras_a2i.evaluation.report_format import mean_and_interval
    from keras_a2i.evaluation.run_scores import training_scores
    from keras_a2i.training.fit_seeds import fit_seeds

    def command_of(folder: pathlib.Path, own_seed: int) -> str:
        return fit_command(
            command, records.path, folder, typed | {"seed": own_seed, "resume": False, "overwrite": False}
        )

    seeds = range(seed or 0, (seed or 0) + n)
    runs = fit_seeds(records, out, seeds=seeds, jobs=jobs, command=command_of, progress=_tell, **options)
    scores = gather_scores([[training_scores(run) for run in runs]])
    what = "mean and 95 % interval of the mean" if n > 1 else "one seed, without an interval"
    echo(f"Held-out scores after training, {what}:")
    for score in scores:
        echo(f"  {score.id:28} {mean_and_interval(score.means[0], score.intervals[0])}  ({score.better} is better)")
    echo(f"Next: keras-a2i evaluate {runs[0]} {records.path}, and the same for the other runs")
    echo(f"Then: keras-a2i compare {out}/seed-*")


def _report_stage(stage: str, done: int, total: int) -> None:
    _tell(f"{stage}, epoch {done}/{total}")


def _tell(line: str) -> None:
    echo(line, err=True)
