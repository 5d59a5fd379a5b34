"""The place of this process among those that train one model, and the backend that they need; read without Keras."""

import dataclasses
import json
import os
import pathlib
import re

from keras_a2i.errors import UsageError

_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")


@dataclasses.dataclass(frozen=True)
class ProcessPlace:
    """The place of a process among those of one training.

    Attributes:
        n_processes: number of processes.
        coordinator: HOST:PORT of the first one; None for one process alone and those of a SLURM step, which JAX finds.
        process_id: number of this one, from 0; None where JAX finds it.
    """

    n_processes: int = 1
    coordinator: str | None = None
    process_id: int | None = None


def find_place(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> ProcessPlace:
    """Returns the place that the arguments or the environment describe; see `join_processes`.

    Raises:
        UsageError: if an argument is missing or out of range.
    """
    address = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    count = _number(num_processes, "num_processes", "JAX_NUM_PROCESSES")
    number = _number(process_id, "process_id", "JAX_PROCESS_ID")
    if address is None and count is None and number is None:
        # A process of a SLURM step of several tasks; one that was started by hand within a job isn't one.
        tasks = os.environ.get("SLURM_NTASKS", "") if all(name in os.environ for name in _SLURM) else ""
        return ProcessPlace(int(tasks)) if tasks.isdecimal() and int(tasks) > 1 else ProcessPlace()
    if address is None or count is None or number is None:
        raise UsageError(
            "coordinator, num_processes and process_id must be given together (--coordinator, --num-processes, "
            "--process-id, or the environment variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID). "
            f"Received: {address!r}, {count!r}, {number!r}"
        )
    if not re.fullmatch(r"\S+:\d{1,5}", address):
        raise UsageError(f"coordinator must be HOST:PORT, such as 10.0.0.1:1234. Received: {address!r}")
    if count < 1 or not 0 <= number < count:
        raise UsageError(
            "process_id must be one of 0 to num_processes - 1. "
            f"Received: process_id={number} with num_processes={count}"
        )
    return ProcessPlace(count, address, number)


def check_backend(backend: str) -> None:
    """Raises a UsageError unless Keras distributes trainings on a backend."""
    if backend != "jax":
        raise UsageError(
            "Training on several devices needs Keras' JAX backend, the only one on which Keras distributes a training. "
            f"Received: {backend}. Install JAX (pip install jax, for GPUs jax[cuda13]) and set KERAS_BACKEND=jax"
        )


def configured_backend() -> str:
    """Returns the backend that Keras will have when it is imported, as it reads it itself."""
    if named := os.environ.get("KERAS_BACKEND"):
        return named
    if "KERAS_HOME" in os.environ:
        home = pathlib.Path(os.environ["KERAS_HOME"]).expanduser()
    else:
        user = pathlib.Path("~").expanduser()
        home = (user if os.access(user, os.W_OK) else pathlib.Path("/tmp")) / ".keras"
    try:
        found = json.loads((home / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    return found.get("backend", "tensorflow") if isinstance(found, dict) else "tensorflow"


def _number(value: int | None, name: str, variable: str) -> int | None:
    """Returns an argument, or that of the environment."""
    text = os.environ.get(variable)
    if value is not None or text is None:
        return value
    if not text.isdecimal():
        raise UsageError(f"{variable} must be a number. Received: {text!r} instead of {name}")
    return int(text)
