"""A lock on a folder, so that two builds never write into it at once."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import TextIO

from keras_a2i.errors import RecordsError

LOCK_FILE = ".lock"


@contextlib.contextmanager
def folder_lock(folder: pathlib.Path) -> Iterator[None]:
    """Locks a folder; it is created where it doesn't exist.

    The operating system releases the lock when the process ends, even by a signal.

    Args:
        folder: the folder to lock.

    Raises:
        RecordsError: if another build holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    with _open_locked(path) as file:
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def _open_locked(path: pathlib.Path) -> TextIO:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file.fileno())
        except BlockingIOError:
            with file:
                file.seek(0)
                owner = file.read()
            raise RecordsError(
                f"Only one build at a time may write into a folder. Received: {path.parent}, which process "
                f"{owner or '(unknown)'} is writing. Wait until it has finished, or choose another folder"
            ) from None
        # Another build may have removed the file after it was opened here: then the lock protects nothing.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()


def _lock(descriptor: int) -> None:
    """Raises a BlockingIOError where the file is locked; does nothing where the file system has no locks."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise BlockingIOError from error
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return
