"""Files that a table names: their paths stay within the table's folder, and their state is recorded."""

import hashlib
import os
import pathlib
import posixpath
from collections.abc import Iterable

import numpy as np

from keras_a2i.config import ImageConfig
from keras_a2i.errors import SourceError
from keras_a2i.media.file_names import existing_form
from keras_a2i.media.image import encoded_if_fitting, read_image

_REMEDY = ". Put the csv into a folder above its files, or copy the files"


def relative_path(cell: str, column: str) -> str:
    """Checks a path from a table without accessing the disk.

    Args:
        cell: a path relative to the table's folder, with slashes or backslashes.
        column: the column that holds it, for the message.

    Returns:
        The normalised path with forward slashes.

    Raises:
        SourceError: if it is empty, absolute or leads out of the folder. The message never repeats the path, because
            messages go into the manifest.
    """
    if not cell or "\0" in cell:
        raise SourceError(f"the {column} path is {'not a path' if cell else 'empty'}")
    cell = cell.replace("\\", "/")
    if cell.startswith("/") or cell[1:2] == ":":  # the root of a disk, or a drive of Windows
        raise SourceError(f"the {column} path is absolute; it must be relative to the csv's folder{_REMEDY}")
    path = posixpath.normpath(cell)
    if path.split("/", 1)[0] in ("..", "."):
        raise SourceError(f"the {column} path leads out of the csv's folder{_REMEDY}")
    return path


def file_within(folder: pathlib.Path, path: str) -> pathlib.Path:
    """Returns the file at a relative path if it lies in the folder after symbolic links are resolved.

    Args:
        folder: the table's folder, resolved.
        path: a path that `relative_path` returned.

    Raises:
        SourceError: if there is no such file, or a link leads out of the folder.
    """
    try:
        file = existing_form(folder / path).resolve(strict=True)
    except (OSError, RuntimeError):
        raise SourceError(f"{path} doesn't exist") from None
    if not file.is_relative_to(folder):
        raise SourceError(f"{path} is a link that leads out of the csv's folder{_REMEDY}")
    if not file.is_file():
        raise SourceError(f"{path} isn't a file")
    return file


def read_pair_image(path: pathlib.Path, config: ImageConfig) -> np.ndarray | bytes:
    """Reads an image file as a pair holds it: its own bytes where they fit the records, else uint8 pixels.

    Raises:
        SourceError: as `read_image`.
    """
    encoded = encoded_if_fitting(path, config)
    return read_image(path, config) if encoded is None else encoded


def stamp(files: Iterable[str | pathlib.Path]) -> str:
    """Returns a short digest of the files' sizes and modification times."""
    digest = hashlib.sha256()
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116 (a million files: pathlib costs more than the call)
            digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
        except (OSError, ValueError):
            digest.update(b"missing\n")
    return digest.hexdigest()[:16]
