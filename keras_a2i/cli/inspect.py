"""`keras-a2i inspect`: statistics of a records folder."""

import pathlib

import click

from keras_a2i.cli.locations import LocalPath, LocationType
from keras_a2i.cli.output_options import check_output, overwrite_option
from keras_a2i.cli.progress import ProgressLine
from keras_a2i.cli.terminal import echo

_SECONDS_WITHOUT_PROGRESS = 2.0


@click.command("inspect")
@click.argument("records", type=LocationType())
@click.option("--sheet", type=LocalPath(), help="Write a contact sheet to this PNG file.")
@overwrite_option("--sheet")
@click.option(
    "--top", type=click.IntRange(min=0), default=20, show_default=True, help="Number of sources and labels to list."
)
def command(records: pathlib.Path, sheet: pathlib.Path | None, overwrite: bool, top: int) -> None:
    """Show the counts, statistics, leaks, near-duplicates and silent clips of RECORDS, and write a contact sheet."""
    check_output(sheet, (".png",), overwrite, "--sheet")
    from keras_a2i.records.records import Records

    opened = Records(records)
    from keras_a2i.records.inspection import inspect

    lines: dict[str, ProgressLine] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in lines:
            _close(lines)
            lines[what] = ProgressLine(what, after=_SECONDS_WITHOUT_PROGRESS)
        lines[what](done, 0, total)

    try:
        found = inspect(opened, progress=show)
    finally:
        _close(lines)
    echo(found.summary(top))
    for problem in found.damaged:
        echo(f"damaged: {problem}", fg="red")
    if sheet:
        found.save_sheet(sheet)
        echo(f"contact sheet     {sheet}")
    if found.damaged:
        raise SystemExit(1)


def _close(lines: dict[str, ProgressLine]) -> None:
    for line in lines.values():
        line.close()
