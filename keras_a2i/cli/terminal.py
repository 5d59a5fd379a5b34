"""Output to the terminal: names and labels of files can't control it, and any code page shows them."""

import sys
from typing import Any, TextIO

import click

from keras_a2i.media.file_names import escape


def echo(message: object = "", *, err: bool = False, **style: Any) -> None:
    """Writes a line; control characters and what the stream's encoding lacks are shown as backslash escapes.

    Args:
        message: the text.
        err: write to stderr.
        **style: as for `click.style`.
    """
    click.secho(printable(str(message)), err=err, **style)


def printable(text: str) -> str:
    """Returns text with its control characters, such as those that begin terminal escapes, as backslash escapes."""
    return text if text.isprintable() else escape(text, kept="\n\t")


def accept_any_text(stream: TextIO | Any = None) -> None:
    """Makes a stream (stdout by default) escape the characters that its encoding lacks, in place of an error."""
    stream = stream or sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
