"""Options of a training on all devices of one machine or several, and the group of processes that they describe."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from keras_a2i.cli.supervisor import continue_in_child
from keras_a2i.cli.terminal import echo
from keras_a2i.errors import UsageError
from keras_a2i.training.process_place import ProcessPlace, check_backend, configured_backend, find_place

if TYPE_CHECKING:
    from keras_a2i.training.process_group import ProcessGroup

_LOST = (
    "A training needs all of its processes. Received: a process that a library or the system ended ({signal}), as "
    "JAX does where the others can't be reached within 300 seconds or one of them is lost, and the system where memory "
    "runs out. Start all processes again, with --resume where the first has saved an epoch"
)
_OPTIONS = (
    click.option(
        "--devices",
        type=click.Choice(["all"]),
        help="all: train on all GPUs of this machine, or of all processes of a SLURM step or of those that JAX's "
        "environment variables describe; needs KERAS_BACKEND=jax (default: one device).",
    ),
    click.option(
        "--coordinator",
        metavar="HOST:PORT",
        help="For a training in several processes: the address of the first process. Every process needs this option "
        "and the next two.",
    ),
    click.option("--num-processes", type=click.IntRange(min=1), metavar="N", help="Number of processes."),
    click.option("--process-id", type=click.IntRange(min=0), metavar="I", help="Index of this process, from 0."),
    click.option(
        "--data-parts",
        type=click.IntRange(min=1),
        metavar="N",
        help="Divide the shards of the training pairs into N parts. Every process reads its own parts, and every batch "
        "contains the same number of pairs of each part (default: the number of processes).",
    ),
    click.option(
        "--step-timeout",
        type=click.FloatRange(min=1),
        metavar="SECONDS",
        help="With several processes: stop with an error if no step ends within this time, because another process "
        "hangs (default: 300). No effect with one process.",
    ),
)


def device_options(command: Callable) -> Callable:
    """Adds the options of a training on several devices."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_place(options: dict[str, Any], *, has_seeds: bool) -> tuple[ProcessPlace | None, dict[str, Any]]:
    """Removes the options of this module from those of a command, but for --data-parts.

    Args:
        options: of the command.
        has_seeds: whether it trains runs of several seeds.

    Returns:
        The place of this process, None for a training on one device; and the arguments of `fit` that the options mean.

    Raises:
        UsageError: if an option would have no effect with the others, one is missing, or Keras has another backend.
    """
    given = {name: options.pop(name) for name in ("devices", "coordinator", "num_processes", "process_id")}
    step_timeout = options.pop("step_timeout")
    named = next((f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None), None)
    if named is not None and has_seeds:
        raise UsageError(
            f"--seeds trains every run in one process on one device. Received: {named}, too. Leave one of them out"
        )
    del given["devices"]
    place = None if named is None else find_place(**given)
    if place is None:
        if step_timeout is not None:
            raise UsageError(
                "--step-timeout needs the options of several processes: --coordinator, --num-processes and "
                "--process-id, or --devices all in a SLURM step or with JAX's environment variables. Received: "
                "--step-timeout without them. Leave it out"
            )
        return None, {}
    check_backend(configured_backend())
    return place, {"devices": "all"} | ({} if step_timeout is None else {"step_timeout": step_timeout})


def join_group(place: ProcessPlace | None) -> "ProcessGroup | None":
    """Joins the processes that the options describe; None for a training on one device.

    Raises:
        ProcessesError: as `join_processes`.
    """
    if place is None:
        return None
    from keras_a2i.training.process_group import CONNECT_SECONDS, join_processes

    if place.coordinator is None:
        return join_processes()
    if place.n_processes > 1:
        echo(
            f"Process {place.process_id} waits up to {CONNECT_SECONDS} seconds for all {place.n_processes} processes "
            f"at {place.coordinator}",
            err=True,
        )
    return join_processes(place.coordinator, place.n_processes, place.process_id)


def supervise(place: ProcessPlace | None) -> None:
    """Continues in a child process where this one is one of several, before libraries with threads are imported."""
    if place is not None and place.n_processes > 1:
        continue_in_child(_LOST)
