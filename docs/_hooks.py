"""MkDocs hook: puts the help text of every command into the page of the command line."""

import pathlib
import sys
from typing import Any

import click

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from keras_a2i.cli.main import cli

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Replaces the mark by one section per command."""
    return markdown.replace(MARK, "\n\n".join(_sections())) if MARK in markdown else markdown


def _sections() -> list[str]:
    context = click.Context(cli, info_name="keras-a2i", terminal_width=100)
    sections = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        text = command.get_help(click.Context(command, context, info_name=name, terminal_width=100))
        sections.append(f"## {name}\n\n```text\n{text}\n```")
    return sections
