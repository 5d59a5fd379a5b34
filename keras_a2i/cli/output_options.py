"""The option --overwrite of commands that write a file on request, and the check of that file before they begin."""

import pathlib
from collections.abc import Sequence
from typing import Any

import click

from keras_a2i.cli.flag_names import flag_names
from keras_a2i.errors import UsageError
from keras_a2i.media.output_file import check_output_file


def overwrite_option(flag: str) -> Any:
    """Returns the decorator of the option --overwrite of a command that writes the file of another option."""
    return click.option("--overwrite", is_flag=True, help=f"Replace the file of {flag}, if it exists.")


def check_output(path: pathlib.Path | None, suffixes: Sequence[str], overwrite: bool, flag: str = "--out") -> None:
    """Raises a UsageError unless the file may be written, or if there is none and `overwrite` is given."""
    if path is None:
        if overwrite:
            raise UsageError(f"--overwrite must be left out without {flag}, whose file it replaces")
        return
    with flag_names(path=flag):
        check_output_file(path, suffixes, overwrite=overwrite)
