"""Files that are whole or not there, also after a crash of the machine."""

import contextlib
import os
import pathlib


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
