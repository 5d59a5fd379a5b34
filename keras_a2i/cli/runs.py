"""`keras-a2i runs`: all runs of a folder on one page."""

import pathlib

import click

from keras_a2i.cli.locations import LocalPath
from keras_a2i.cli.output_options import check_output, overwrite_option
from keras_a2i.cli.terminal import echo


@click.command("runs")
@click.argument("paths", nargs=-1, type=LocalPath(), metavar="[PATH]...")
@click.option(
    "--out",
    type=LocalPath(),
    help="Write a page with the curves and the newest sample sheets to this .html file.",
)
@overwrite_option("--out")
def command(paths, out, overwrite):
    """List the runs in folders: the recipe, the number of epochs and the scores of each.

    PATH is a run folder or a folder that contains run folders (default: the current folder). Unfinished trainings are
    listed with the number of epochs so far.
    """
    from keras_a2i.evaluation.run_overview import SUFFIXES, run_overview

    check_output(out, SUFFIXES, overwrite)
    overview = run_overview(paths or [pathlib.Path()])
    echo(overview.render_text())
    for folder, reason in overview.skipped:
        echo(f"skipped {folder}: {reason}", err=True)
    if out:
        overview.save(out)
        echo(f"\n{out}")
