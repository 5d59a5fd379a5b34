"""`keras-a2i sweep`: every combination of settings, with several seeds, ranked by a score."""

import functools
import pathlib

import click

from keras_a2i.cli import fit
from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.locations import LocalPath, LocationType
from keras_a2i.cli.settings import as_typed, parse_grid, parse_settings
from keras_a2i.cli.terminal import echo
from keras_a2i.cli.training_options import CACHE, fit_command, leave_gpu_memory, training_options
from keras_a2i.recipes import check_recipe_name, recipe_names
from keras_a2i.recipes.default_recipe import choose_recipe
from keras_a2i.recipes.ranges import Range
from keras_a2i.recipes.setting_fields import check_settings, takes_list
from keras_a2i.records.records import Records

_SETTINGS = {"--epochs": "epochs", "--batch-size": "batch_size", "--size": "size", "--input": "input"}
_ONE_PROCESS = "A sweep trains every run in one process on one device; --jobs N trains several runs at the same time."
_OTHERS = {
    "--no-augment": "Set the settings of the augmentation to 0, such as --set gain_db=0; keras-a2i recipes NAME lists "
    "them.",
    "--resume": "The same command continues a sweep that was interrupted.",
    "--overwrite": "A sweep replaces no runs. Choose another --out.",
    **dict.fromkeys(("--devices", "--coordinator", "--num-processes", "--process-id"), _ONE_PROCESS),
    **dict.fromkeys(("--data-parts", "--step-timeout"), _ONE_PROCESS),
}


class _Sweep(click.Command):
    """Names the setting to use instead of an option of fit that a sweep doesn't have."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            hint = _OTHERS.get(name)
            if name in _SETTINGS:
                hint = f"A sweep accepts it as a setting: --set {_SETTINGS[name]}=VALUE, or =VALUE,VALUE to vary it."
            if hint is None:
                raise
            raise click.UsageError(f"No such option {name!r}. {hint}", ctx) from error


@click.command(
    "sweep", cls=_Sweep, epilog=f"Recipes: {', '.join(recipe_names())}. 'keras-a2i recipes NAME' lists settings."
)
@click.argument("records", type=LocationType())
@click.option("--out", required=True, type=LocalPath(), help="Folder to create.")
@click.option("--recipe", help="Network and training, see below (default: one that suits the records).")
@click.option(
    "--set",
    "settings",
    multiple=True,
    required=True,
    metavar="NAME=VALUE,VALUE",
    help="Values of a setting of the recipe; repeatable. If a value is itself a list, each --set contains one value. "
    "With --searcher optuna also a range, LOW..HIGH, or LOW..HIGH:log for a range that is uniform in the logarithm.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Runs per combination."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first random seed.")
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train N combinations, drawn from all combinations by the seed --seed (default: all combinations).",
)
@click.option(
    "--searcher",
    type=click.Choice(["grid", "optuna"]),
    default="grid",
    show_default=True,
    help="optuna: Optuna chooses each combination by the scores of the earlier ones (extra optuna).",
)
@click.option(
    "--evaluate/--no-evaluate",
    default=True,
    show_default=True,
    help="Evaluate each run, as the command evaluate does, and write the report into the run folder.",
)
@click.option(
    "--by",
    metavar="NAME",
    help="Score for the ranking: a column of history.csv, such as val_ssim, or a score of the reports, such as ssim or "
    "gain_over_shuffled (default: the score that the recipe monitors).",
)
@click.option("--strict", is_flag=True, help="Stop at the first run that fails.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of runs that train at the same time; with more than one, each in its own process on its own GPU.",
)
@training_options
def command(records, out, recipe, settings, seeds, seed, evaluate, jobs, cache, **options):
    """Train every combination of the given settings on RECORDS, with one or several seeds, and rank them.

    Every combination and seed has a run folder in --out, the same as fit writes with these settings. After Ctrl-C, run
    the same command again: it skips finished runs and resumes unfinished ones. A run that fails is noted, and the other
    runs are trained; the exit status is then 1. The command writes table.csv, .md, .tex and .html to --out, with one
    row per combination and means and intervals over the seeds, and runs.csv, with one row per run.
    """
    # What can be refused without TensorFlow is refused before it loads.
    parse_settings(settings)
    if recipe is not None:
        check_recipe_name(recipe)
    opened = Records(records)
    if recipe is None:
        recipe, reason = choose_recipe(opened)
        echo(f"The recipe is {recipe}: {reason}", err=True)
    grid = parse_grid(settings, functools.partial(takes_list, recipe))
    for name, values in grid.items():
        for value in values:
            for each in (value.low, value.high) if isinstance(value, Range) else (value,):
                check_settings(recipe, {name: each})
    leave_gpu_memory(jobs)
    from keras_a2i.evaluation.sweep import sweep

    def command_of(folder: pathlib.Path, combination: dict[str, object], own_seed: int) -> str:
        texts = [f"{name}={as_typed(value)}" for name, value in combination.items()]
        typed = options | {"recipe": recipe, "settings": texts, "seed": own_seed, "cache": cache}
        return fit_command(fit.command, opened.path, folder, typed)

    with flag_names(folder="--out", settings="--set"):
        found = sweep(
            opened,
            out,
            recipe=recipe,
            settings=grid,
            seeds=range(seed, seed + seeds),
            evaluate=evaluate,
            jobs=jobs,
            cache=CACHE[cache],
            progress=lambda line: echo(line, err=True),
            command=command_of,
            **options,
        )
    _show(found)
    if found.failed:
        raise SystemExit(1)


def _show(found) -> None:
    from keras_a2i.evaluation.sweep_table import FINISHED

    echo(found.render_text())
    echo(f"\n{found.caption}")
    if found.note:
        echo(found.note)
    for run in found.failed:
        echo(f"failed {run.name}: {run.reason}", err=True)
    page = found.folder / "table.html"
    echo(f"\nAll scores: {page} and table.csv. One row per run: runs.csv. The table above: table.md and table.tex")
    best = found.best
    if best is None:
        echo(f"The combinations can't be ranked, because no run has the score {found.by}", err=True)
        return
    run = next(each.folder for each in best.runs if each.state == FINISHED)
    echo(f"Best: {' '.join(f'--set {name}={as_typed(value)}' for name, value in best.settings.items())}")
    echo(f"Sample images: {run / 'samples'}. Next: keras-a2i generate {run} FILE --out images")
