"""Where and with what a report was made: machine, threads, backend, and a hash of the configuration."""

import hashlib
import json
import os
import pathlib
import platform
from typing import Any

_SAME = ("recipe", "fingerprint", "epochs", "batch_size", "precision", "dtype_policy")


def describe_environment() -> dict[str, str]:
    """Machine, processors, threads that this process may use, Python and Keras' backend."""
    import keras

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "processors": str(os.cpu_count()),
        "threads": str(usable),
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
    }


def configuration_hash(config: dict[str, Any]) -> str:
    """A hash of what a training was configured to do: recipe, settings and records, but not the seed.

    Args:
        config: the content of a run's `config.json`.

    Returns:
        12 hexadecimal digits; equal for runs that are replicates of each other.
    """
    values = {name: config[name] for name in _SAME if name in config}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def read_config(run: str | pathlib.Path) -> dict[str, Any] | None:
    """The content of a run's `config.json`; None where the path is no run folder."""
    path = pathlib.Path(run) / "config.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
