"""`keras-a2i compare`: several runs side by side."""

import click

from keras_a2i.cli.locations import LocalPath
from keras_a2i.cli.output_options import check_output, overwrite_option
from keras_a2i.cli.terminal import echo


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=LocalPath(), metavar="RUN...")
@click.option(
    "--out",
    type=LocalPath(),
    help="Write the table to this .html, .csv, .md (Markdown) or .tex (LaTeX) file.",
)
@overwrite_option("--out")
def command(runs, out, overwrite):
    """Compare evaluated runs: one row per recipe and records, with the spread over seeds.

    RUN is a run folder with a report.json, which evaluate writes. Runs that differ only by their seed are replicates
    and share a row.
    """
    from keras_a2i.evaluation.compare import compare
    from keras_a2i.evaluation.table_files import SUFFIXES

    check_output(out, SUFFIXES, overwrite)
    comparison = compare(runs)
    echo(comparison.render_text())
    if out:
        comparison.save(out)
        echo(f"\n{out}")
