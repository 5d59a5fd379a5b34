"""Errors of the operating system, such as a full disk, as sentences: what must hold, what was received, what to do."""

import errno
import os
import pathlib
from collections.abc import Sequence

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_MISSING = (errno.ENOENT, errno.ENOTDIR)
_OUTPUTS = ("--out", "--to", "--sheet")
# Commands of which the same command continues what was interrupted.
_CONTINUING = ("build-records", "quickstart", "sweep")
_RESUMED = ("fit", "fit-audio-token", "fit-image-to-audio")


def describe_system_error(error: OSError, arguments: Sequence[str]) -> str:
    """Explains an error of the operating system.

    Args:
        error: such as that of a write to a full disk.
        arguments: of the command, without its name; they tell where its output goes and how it is continued.

    Returns:
        A sentence in the form of the library's own errors; the text of the error where it isn't one of files.
    """
    path = _path(error, arguments)
    if error.errno is None or path is None:
        return str(error)
    reason = (error.strerror or os.strerror(error.errno)).removesuffix(".")
    received = f"Received: {path} ({reason})"
    if error.errno in _FULL:
        return f"There must be room on the disk for the output. {received}. Make room, then {_advice(arguments)}"
    if error.errno == errno.EROFS:
        return f"The output must be on a disk that can be written to. {received}. Choose another folder"
    if error.errno in _FORBIDDEN:
        return (
            f"Your account must be allowed to read the input and to write the output. {received}. Change the "
            "permissions, or choose another folder"
        )
    if error.errno in _MISSING:
        return f"The input must exist, and the output must be a path that can be created. {received}. Choose another"
    return f"The input must be readable, and the output writable. {received}. Check the path and its disk"


def _path(error: OSError, arguments: Sequence[str]) -> str | None:
    """Returns the file or folder that the error names, else the output of the command, if there is one."""
    if isinstance(error.filename, str | bytes | os.PathLike):
        # FFmpeg names files as addresses.
        return os.fsdecode(error.filename).removeprefix("file:")
    return _output(arguments)


def _output(arguments: Sequence[str]) -> str | None:
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in _OUTPUTS and (equals or i + 1 < len(arguments)):
            return value if equals else arguments[i + 1]
    return None


def _advice(arguments: Sequence[str]) -> str:
    """Says how the command is continued when the cause is removed."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    seeds = any(argument.partition("=")[0] == "--seeds" for argument in arguments)
    overwrite = "without --overwrite " if "--overwrite" in arguments else ""
    if command in _CONTINUING or (command == "fit" and seeds):
        return f"run the same command again {overwrite}to continue: what is finished is kept"
    out = _output(arguments)
    if command in _RESUMED and out is not None and (pathlib.Path(out) / "config.json").is_file():
        return f"resume from the last saved epoch: keras-a2i {command} RECORDS --out {out} --resume"
    return "run the same command again"
