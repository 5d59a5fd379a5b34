"""Checks of a file that is to be written, before the work whose result it holds."""

import pathlib
from collections.abc import Sequence

from keras_a2i.errors import UsageError


def check_suffix(path: pathlib.Path, suffixes: Sequence[str], argument: str = "path") -> None:
    """Raises a UsageError unless the path ends in one of the suffixes."""
    if path.suffix not in suffixes:
        one_of = "one of " if len(suffixes) > 1 else ""
        raise UsageError(f"{argument} must end in {one_of}{', '.join(suffixes)}. Received: {path}")


def check_output_file(path: pathlib.Path, suffixes: Sequence[str], *, overwrite: bool, argument: str = "path") -> None:
    """Checks that a file may be written.

    Args:
        path: the file.
        suffixes: those that it may have.
        overwrite: whether a file may be replaced.
        argument: what the message of an error calls the path.

    Raises:
        UsageError: if it has another suffix, is a folder, or exists and `overwrite` is False.
    """
    check_suffix(path, suffixes, argument)
    if path.is_dir():
        raise UsageError(f"{argument} must be a file. Received: the folder {path}. Choose another")
    if path.exists() and not overwrite:
        raise UsageError(f"{argument} must not exist. Received: {path}. Choose another, or pass overwrite=True")
