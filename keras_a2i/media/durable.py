"""Files that are whole or not there, also after a crash of the machine or on a full disk."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def written_whole(path: pathlib.Path, *, temporary: str = "", durable: bool = True) -> Iterator[pathlib.Path]:
    """Yields the path of a temporary file to write, which takes the place of `path` when it is complete.

    After an error the temporary file is removed, and an OSError names `path`.

    Args:
        path: the file to write.
        temporary: the name of the temporary file, where a writer chooses the format by its suffix.
        durable: whether what was written reaches the disk before the name does.
    """
    staged = path.with_name(temporary or path.name + ".tmp")
    try:
        with naming_output(path, staged):
            yield staged
            (replace_durably if durable else pathlib.Path.replace)(staged, path)
    except BaseException:
        with contextlib.suppress(OSError):
            staged.unlink()
        raise


@contextlib.contextmanager
def naming_output(path: pathlib.Path, temporary: pathlib.Path) -> Iterator[None]:
    """Makes an OSError name what a user knows, in place of a temporary file or folder, or of nothing.

    Args:
        path: what is being written.
        temporary: where it is written first.
    """
    try:
        yield
    except OSError as error:
        raise_naming(error, path, temporary)
        raise


def raise_naming(error: BaseException | None, path: pathlib.Path, temporary: pathlib.Path) -> None:
    """Raises an OSError that names `path` if `error` is one that names what is temporary, or nothing."""
    # The system names no file where a write fails, as on a full disk.
    if not isinstance(error, OSError) or error.errno is None:
        return
    if error.filename is None or temporary.name in str(error.filename):
        # A new one: those of PyAV can't be changed.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def replace_durably(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Puts a complete file in the place of another; what was written reaches the disk before the name does."""
    # Windows flushes only what may be written.
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    with contextlib.suppress(OSError):
        # Windows opens no folders.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
