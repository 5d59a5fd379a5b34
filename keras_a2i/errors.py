"""Errors that a user can act on: each message states what must hold, what was received and what to do.

All derive from `KerasA2IError`, a `ValueError`. `exit_status` is what the `keras-a2i` command returns.
"""

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Returns a question to end a message with, after a mistyped name: the nearest known one; else `otherwise`."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else otherwise


class KerasA2IError(ValueError):
    """Base of all errors of the library; the message states the reason and the remedy."""

    exit_status = 1


class UsageError(KerasA2IError):
    """An argument or option is outside what the library accepts."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration value is out of range, or two configurations don't fit together."""


class SourceError(KerasA2IError):
    """An input can't be used as a source of pairs, or one of its files can't be read."""


class RecordsError(KerasA2IError):
    """A records folder is missing, incomplete or not what its manifest says."""


class MissingSplitError(RecordsError, UsageError):
    """Records have no pairs of a split that an argument names, or that the work needs."""


class CorruptRecordError(RecordsError):
    """A record in a shard is damaged; the message names the file and the record."""


class ClusterError(KerasA2IError):
    """The machines of a cluster can't be reached, don't fit together, or were lost."""


class ProcessesError(KerasA2IError):
    """The processes of a training can't reach each other, or one of them was lost."""


class LockedError(KerasA2IError):
    """Another process is writing into a folder."""


class RemoteError(KerasA2IError):
    """An object store can't be reached, refuses access, or breaks off; the message names the address."""


class AddressNotFoundError(RemoteError):
    """Nothing is stored at an address."""


class ModelError(KerasA2IError):
    """A model file or run folder can't be loaded, or doesn't fit the data."""


class TrainingInterrupted(KerasA2IError):
    """Training was stopped by Ctrl-C or SIGTERM; the finished epochs are saved."""

    exit_status = 130


class RunsFailedError(KerasA2IError):
    """Some of several runs failed; the others are finished."""


class ExportError(KerasA2IError):
    """A model can't be exported, or the exported file doesn't agree with it."""


class BackendError(KerasA2IError):
    """Keras can't import its backend.

    Args:
        backend: its name.
        reason: why it can't be imported.
    """

    def __init__(self, backend: str, reason: Exception):
        super().__init__(
            f"Keras must be able to import its backend. Received: {backend!r} ({reason}). Set the environment variable "
            "KERAS_BACKEND to tensorflow, jax or torch, whichever is installed"
        )


class MissingPackageError(KerasA2IError):
    """An optional package is needed; the message names what installs it.

    Args:
        package: name of the package.
        extra: of this library, which installs it; None for a package of the full installation, such as TensorFlow.
        purpose: what the package is needed for, the beginning of the sentence.
        command: what installs a package that no extra has.
    """

    def __init__(self, package: str, extra: str | None, purpose: str, *, command: str = ""):
        if not command:
            command = "pip install keras-a2i" if extra is None else f'pip install "{_distribution(extra)}[{extra}]"'
        super().__init__(f"{purpose} needs the package {package}, which isn't installed. Install it with: {command}")


def _distribution(extra: str) -> str:
    """Returns the installed distribution that has an extra: the runtime, without TensorFlow, has some of them."""
    import importlib.metadata

    try:
        runtime = importlib.metadata.metadata("keras-a2i-runtime")
    except importlib.metadata.PackageNotFoundError:
        return "keras-a2i"
    return "keras-a2i-runtime" if extra in (runtime.get_all("Provides-Extra") or []) else "keras-a2i"
