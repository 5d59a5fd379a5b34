"""Errors that a user can act on: each message states what must hold, what was received and what to do.

All derive from `KerasA2IError`, a `ValueError`. `exit_status` is what the `keras-a2i` command returns.
"""


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


class CorruptRecordError(RecordsError):
    """A record in a shard is damaged; the message names the file and the record."""


class ModelError(KerasA2IError):
    """A model file or run folder can't be loaded, or doesn't fit the data."""


class ExportError(KerasA2IError):
    """A model can't be exported, or the exported file doesn't agree with it."""


class MissingPackageError(KerasA2IError):
    """An optional package is needed; the message names the extra that installs it."""

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(
            f"{purpose} needs the package {package}, which isn't installed. "
            f'Install it with: pip install "keras-a2i[{extra}]"'
        )
