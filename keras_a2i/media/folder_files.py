"""The files of a kind in a folder and below."""

import os
import pathlib
from collections.abc import Callable, Collection, Iterator

from keras_a2i.errors import SourceError


def walk_files(folder: pathlib.Path, suffixes: Collection[str]) -> Iterator[str]:
    """Yields the relative paths of the files with some suffixes, with forward slashes, sorted within each folder.

    Hidden files and folders, and folders that can't be read, are omitted. Links to folders are followed after all
    folders that lie below; a folder that is reached twice is walked once.

    Args:
        folder: the folder.
        suffixes: lower case, with their dots; those of files may have any case.

    Raises:
        SourceError: if the folder can't be read.
    """
    walked: set[tuple[int, int]] = set()
    waiting, links = [""], list[str]()
    while waiting or links:
        prefix = waiting.pop() if waiting else links.pop(0)
        try:
            status = (folder / prefix).stat()
            with os.scandir(folder / prefix) as entries:
                visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            if prefix:
                continue
            raise SourceError(f"The folder '{folder.absolute().name}' can't be read: {error.strerror}") from None
        if (status.st_dev, status.st_ino) in walked:
            continue
        walked.add((status.st_dev, status.st_ino))
        folders = [entry for entry in visible if _holds(entry.is_dir)]
        waiting += [f"{prefix}{entry.name}/" for entry in reversed(folders) if not entry.is_symlink()]
        links += [f"{prefix}{entry.name}/" for entry in folders if entry.is_symlink()]
        for entry in visible:
            if os.path.splitext(entry.name)[1].lower() in suffixes and _holds(entry.is_file):  # noqa: PTH122
                yield prefix + entry.name


def _holds(test: Callable[[], bool]) -> bool:
    """What a test of an entry says; False for a link that leads to itself."""
    try:
        return test()
    except OSError:
        return False
