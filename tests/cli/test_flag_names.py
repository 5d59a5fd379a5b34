"""The flags that a command appends to a library's message."""

import click
import pytest
from click.testing import CliRunner

from keras_a2i.cli.flag_names import flag_names
from keras_a2i.errors import ModelError, UsageError


@click.command()
@click.option("--fps", type=float)
@click.option("--format", "format_")
@click.option("--overwrite", is_flag=True)
@click.argument("error")
def command(fps, format_, overwrite, error):
    with flag_names(path="--out"):
        raise (ModelError if "model" in error else UsageError)(error)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("fps must be 1. Received: fps=0", "fps must be 1. Received: fps=0. On the command line: --fps"),
        ("path must not exist. Pass overwrite=True",
         "path must not exist. Pass overwrite=True. On the command line: --out, --overwrite"),
        ("format must be known", "format must be known. On the command line: --format"),
        ("The error must go", "The error must go"),
        ("a.fps=3 and x-path must go", "a.fps=3 and x-path must go"),
        ("model: fps must go", "model: fps must go"),
    ],
)  # fmt: skip
def test_flag_names_are_appended_in_the_order_of_the_message(message, expected):
    error = CliRunner().invoke(command, [message]).exception
    assert str(error) == expected and type(error) is (ModelError if "model" in message else UsageError)
