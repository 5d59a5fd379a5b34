"""Files that a table names: their paths stay within the table's folder, and their state is recorded."""

import contextlib
import functools
import hashlib
import os
import pathlib
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from keras_a2i.config import ImageConfig
from keras_a2i.errors import AddressNotFoundError, SourceError
from keras_a2i.media.file_names import existing_form
from keras_a2i.media.image import encoded_if_fitting, read_image
from keras_a2i.remote.address import Address, as_location
from keras_a2i.remote.copies import copy_files, fetched, local_copy
from keras_a2i.remote.store import Stored, list_objects, stat

_MISSING = b"missing\n"
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
    if re.match("/|[A-Za-z]:", cell):  # the root of a disk, or a drive of Windows
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
    """Returns a short digest of the files' sizes and modification times, in whichever form their names exist."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(next(_states(os.fspath(file)), _MISSING))
    return digest.hexdigest()[:16]


def _states(file: str) -> Iterator[bytes]:
    for form in [file] if file.isascii() else _forms(file):
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(form)  # noqa: PTH116 (a million files: pathlib costs more than the call)
            yield f"{status.st_size} {status.st_mtime_ns}\n".encode()


def stamp_objects(objects: Iterable[Stored | None]) -> str:
    """Returns a short digest of the sizes and versions of objects in a store; None is one that is missing."""
    digest = hashlib.sha256()
    for stored in objects:
        digest.update(_MISSING if stored is None else f"{stored.size} {stored.version}\n".encode())
    return digest.hexdigest()[:16]


class TableFiles:
    """A table on the disk, and the files beside it that it names.

    Args:
        path: the table.

    Attributes:
        path: the table; of one in an object store, a local copy.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path.absolute()

    def stamp(self, names: Iterable[str]) -> str:
        """Returns a short digest that changes with the files of these relative paths."""
        folder = self.path.parent
        return stamp(f"{folder}/{name}" for name in names)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[pathlib.Path]:
        """Yields the path of a file for as long as it is read.

        Args:
            name: a path that `relative_path` returned.

        Raises:
            SourceError: as `file_within`.
            RemoteError: if an object store can't be read.
        """
        yield file_within(self.path.parent.resolve(), name)

    def kept(self, name: str) -> pathlib.Path:
        """Returns the path of a file that is read again and again; the rest as for `opened`."""
        return file_within(self.path.parent.resolve(), name)


class StoredTableFiles(TableFiles):
    """A table in an object store, and the files beside it, which are fetched when they are read and then deleted.

    Args:
        address: the table, of which a copy is kept.
    """

    def __init__(self, address: Address):
        super().__init__(local_copy(address))
        self._folder = address.parent
        self._kept: dict[str, pathlib.Path] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Another process doesn't need the list of all files.
        return {name: value for name, value in vars(self).items() if name != "_objects"}

    @functools.cached_property
    def _objects(self) -> dict[str, Stored]:
        return list_objects(self._folder)

    def stamp(self, names: Iterable[str]) -> str:
        """Returns a short digest that changes with the objects of these relative paths."""
        objects = self._objects
        return stamp_objects(next((objects[form] for form in _forms(name) if form in objects), None) for name in names)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[pathlib.Path]:
        """Yields the path of a copy, which is deleted afterwards."""
        with contextlib.ExitStack() as stack:
            for form in _forms(name):
                with contextlib.suppress(AddressNotFoundError):
                    file = stack.enter_context(fetched(self._folder / form))
                    break
            else:
                raise SourceError(f"{name} doesn't exist")
            yield file

    def kept(self, name: str) -> pathlib.Path:
        """Returns the path of a copy that stays in the cache."""
        if name not in self._kept:
            for form in _forms(name):
                with contextlib.suppress(AddressNotFoundError):
                    self._kept[name] = copy_files(self._folder, {form: stat(self._folder / form)}) / form
                    break
            else:
                raise SourceError(f"{name} doesn't exist")
        return self._kept[name]


def _forms(name: str) -> Iterator[str]:
    """The forms in which a name may be stored: as given, composed and decomposed."""
    return iter(dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))))


def open_table(path: str | os.PathLike[str] | Address) -> TableFiles:
    """Returns a table with its files.

    Args:
        path: the table, or its address in an object store.

    Raises:
        AddressNotFoundError, RemoteError: if it can't be fetched.
    """
    location = as_location(path)
    return StoredTableFiles(location) if isinstance(location, Address) else TableFiles(location)
