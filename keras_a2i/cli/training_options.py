"""Options that every command which trains shares, and the command line that repeats one training."""

import os
import pathlib
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import click

from keras_a2i.cli.locations import LocalPath
from keras_a2i.remote.address import Location

CACHE: dict[str, str | bool] = {"auto": "auto", "always": True, "never": False}


class JitCompile(click.Choice):
    """The option for XLA, as the argument of `fit`."""

    _values: Mapping[str, str | bool] = {"auto": "auto", "always": True, "never": False}

    def __init__(self) -> None:
        super().__init__(list(self._values))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | bool:
        return value if isinstance(value, bool) else self._values[super().convert(value, param, ctx)]

    def as_typed(self, value: str | bool) -> str:
        """The word on the command line of a value."""
        return next(word for word, each in self._values.items() if each == value)


_OPTIONS = (
    click.option(
        "--monitor",
        metavar="NAME",
        help="Held-out value that --patience and --restore-best-weights compare: a column of history.csv such as "
        "val_mse, val_ssim or val_loss (default: the recipe's).",
    ),
    click.option(
        "--patience",
        type=click.IntRange(min=1),
        metavar="EPOCHS",
        help="Stop after this number of epochs without improvement.",
    ),
    click.option(
        "--restore-best-weights",
        is_flag=True,
        default=None,
        help="Keep the weights of the best epoch, not of the last.",
    ),
    click.option(
        "--jit-compile",
        type=JitCompile(),
        help="Compile the training steps with XLA. auto: measure a few steps with and without XLA first, and use the "
        "faster way (default: never; on JAX: always).",
    ),
    click.option(
        "--dtype-policy",
        type=click.Choice(["float32", "mixed_float16", "mixed_bfloat16"]),
        help="Keras dtype policy (default: float32).",
    ),
    click.option(
        "--image-folder",
        type=LocalPath(),
        help="Folder of images without audio, for recipes that train an image autoencoder first.",
    ),
    click.option(
        "--cache",
        type=click.Choice(list(CACHE)),
        default="auto",
        show_default=True,
        help="Keep decoded images in memory. auto: if they need at most 2 GiB.",
    ),
)


def training_options(command: Callable) -> Callable:
    """Adds the options of a training that aren't settings of its recipe."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def leave_gpu_memory(jobs: int) -> None:
    """Before Keras is imported: has this process leave the memory of GPUs to the processes that train."""
    if jobs > 1:
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def fit_command(fit: click.Command, records: Location, out: pathlib.Path, values: Mapping[str, Any]) -> str:
    """The command line of fit that repeats one of several runs.

    Args:
        fit: the command.
        records: the records folder.
        out: the run folder.
        values: of other options, by the names of their parameters; those at their default are left out.
    """
    words = ["keras-a2i", "fit", str(records), "--out", str(out)]
    for option in fit.params:
        value = values.get(option.name or "")
        if not isinstance(option, click.Option) or value is None or value == option.default:
            continue
        if option.is_flag:
            words += option.opts[:1] if value else option.secondary_opts[:1]
            continue
        if isinstance(option.type, JitCompile):
            value = option.type.as_typed(value)
        for each in value if option.multiple else [value]:
            words += [option.opts[0], str(each)]
    return shlex.join(words)
