"""The command line's names for what a library's message calls arguments."""

import contextlib
import re
from collections.abc import Iterator

import click

from keras_a2i.errors import UsageError


@contextlib.contextmanager
def flag_names(**flags: str) -> Iterator[None]:
    """Appends to a UsageError the flags of the arguments that its message names.

    A message names an argument by "argument=value" or by "argument must". The flags of the running command are known.

    Args:
        **flags: flags of arguments whose name differs, such as path="--out".
    """
    try:
        yield
    except UsageError as error:
        context = click.get_current_context(silent=True)
        options = [each for each in context.command.params if isinstance(each, click.Option)] if context else []
        known = {(each.name or "").rstrip("_"): max(each.opts, key=len) for each in options} | flags
        text = str(error)
        named = [known[name] for name in re.findall(r"(?<![\w.-])([a-z_]+)(?:=| must\b)", text) if name in known]
        if not named:
            raise
        raise type(error)(f"{text}. On the command line: {', '.join(dict.fromkeys(named))}") from error
