"""Files that appear in a folder together, in place of those that an earlier call wrote there, and of no others."""

import contextlib
import json
import pathlib
from typing import Self

from keras_a2i.errors import UsageError
from keras_a2i.media.durable import raise_naming
from keras_a2i.media.json_file import write_json

LIST_FILE = ".keras-a2i.json"
"""In a folder: the names of the files that were written there, relative to it."""


class StagedFolder:
    """Writes files to a hidden folder first; when all are complete, they replace those of an earlier call.

    As a context manager it removes the hidden folder again, so that nothing half-written stays after an error.

    Args:
        folder: where the files go; it is created if it doesn't exist. Other files in it stay as they are.
        overwrite: whether files of an earlier call may be replaced.
        beside: names of further files that will be written, next to the folder.

    Raises:
        UsageError: if `folder` is a file, or holds files of an earlier call and `overwrite` is False, or a file of
            `beside` exists that no earlier call wrote.
    """

    def __init__(self, folder: pathlib.Path, overwrite: bool, beside: tuple[str, ...] = ()):
        self._folder, self._new = folder, dict[str, pathlib.Path]()
        self._created: list[pathlib.Path] = []
        if folder.is_file():
            raise UsageError(f"folder must be a folder. Received: the file {folder}")
        self._old = read_list(folder)
        n_files = sum(not name.startswith("../") for name in self._old)
        if self._old and not overwrite:
            raise UsageError(
                f"folder must not hold files of an earlier call. Received: {folder} with {n_files} of them. "
                "Choose another, or pass overwrite=True"
            )
        for name in beside:
            self._check_free(f"../{name}")
        self._staging = folder.with_name(f".{folder.name}.tmp")

    def __enter__(self) -> Self:
        self._clean()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._clean()
        raise_naming(error, self._folder, self._staging)

    def stage(self, name: str) -> pathlib.Path:
        """Returns the path to write a file to that shall become `name` in the folder, or "../name" beside it.

        Raises:
            UsageError: if there is a file of that name that no earlier call wrote, or the hidden folder holds files of
                others.
        """
        self._check_free(name)
        if not self._new:
            if self._staging.exists():
                raise UsageError(
                    f"{self._staging} must not exist: files are written there first. Received: one with other files. "
                    "Move it, or choose another folder"
                )
            self._created = [path for path in self._staging.parents if not path.exists()]
            self._staging.mkdir(parents=True)
            write_json(self._staging / LIST_FILE, [])
        self._new[name] = self._staging / name.replace("../", "beside-")
        return self._new[name]

    def commit(self) -> None:
        """Moves the staged files to their places and removes those of the earlier call that were not replaced."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._folder / LIST_FILE, sorted({*self._old, *self._new}))
        for name, staged in self._new.items():
            staged.replace(self._folder / name)
        for name in self._old - self._new.keys():
            (self._folder / name).unlink(missing_ok=True)
        write_json(self._folder / LIST_FILE, list(self._new))

    def _check_free(self, name: str) -> None:
        path = self._folder.parent / name[3:] if name.startswith("../") else self._folder / name
        if name not in self._old and path.exists():
            raise UsageError(
                f"Only files that an earlier call wrote are replaced. Received: {path}, which is another one. "
                "Move it, or choose another folder"
            )

    def _clean(self) -> None:
        """Removes the hidden folder, the list in it last: a folder whose cleaning was killed is still known."""
        if self._staging.is_dir():
            names = sorted((path.name for path in self._staging.iterdir()), key=lambda name: LIST_FILE in name)
            # A command that was killed at once leaves an empty folder, or a list that isn't complete.
            if LIST_FILE in names or all(LIST_FILE in name for name in names):
                for name in names:
                    (self._staging / name).unlink()
                self._staging.rmdir()
        for path in self._created:
            with contextlib.suppress(OSError):
                path.rmdir()


def read_list(folder: pathlib.Path) -> set[str]:
    """Returns the names of the files that an earlier call wrote to a folder and that are still there."""
    try:
        names = json.loads((folder / LIST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    if not isinstance(names, list):
        return set()
    own = {name for name in names if isinstance(name, str) and "/" not in name.removeprefix("../") and "\\" not in name}
    return {name for name in own if name not in (".", "..", "", LIST_FILE) and (folder / name).is_file()}
