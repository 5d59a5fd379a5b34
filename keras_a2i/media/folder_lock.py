"""A lock on a folder, so that two processes never write into it at once."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import TextIO

from keras_a2i.errors import LockedError, UsageError
from keras_a2i.media.durable import naming_output

LOCK_FILE = ".lock"


@contextlib.contextmanager
def folder_lock(folder: pathlib.Path) -> Iterator[None]:
    """Locks a folder; it is created where it doesn't exist.

    The operating system releases the lock when the process ends, even by a signal. It is one of `flock`, which local
    file systems and NFS support; where a file system has no locks, nothing is locked. A folder that was created for it
    and stays empty is removed again.

    Args:
        folder: the folder to lock.

    Raises:
        LockedError: if another process holds the lock.
        UsageError: if `folder` is a file.
    """
    if folder.is_file():
        raise UsageError(f"out must be a folder. Received: the file {folder}")
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    with naming_output(folder, path), _open_locked(path) as file:
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
                for each in created:
                    each.rmdir()


def _open_locked(path: pathlib.Path) -> TextIO:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file.fileno())
        except BlockingIOError:
            with file:
                file.seek(0)
                owner = file.read()
            raise LockedError(
                f"Only one process at a time may write into a folder. Received: {path.parent}, which process "
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
