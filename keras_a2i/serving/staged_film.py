"""A film that appears when it is complete, in place of one that an earlier call wrote there, and of nothing else."""

import json
import pathlib
from typing import Self

from keras_a2i.errors import UsageError
from keras_a2i.media.durable import raise_naming
from keras_a2i.media.json_file import write_json

LIST_FILE = ".keras-a2i-films.json"
"""In a folder: the names of the films that were written there, each with the sizes in bytes that it may have."""


class StagedFilm:
    """Writes a film to a hidden file first; when it is complete, it replaces the one of an earlier call.

    As a context manager it removes the hidden file and the folders that it created again, so that nothing half-written
    stays after an error. A file counts as a film of an earlier call if the list in its folder names it and it still has
    the size that was written.

    Args:
        path: the film; its folder is created if it doesn't exist.
        overwrite: whether a film of an earlier call may be replaced.

    Raises:
        UsageError: if `path` is a folder, exists and `overwrite` is False, or is a file that no earlier call wrote.
    """

    def __init__(self, path: pathlib.Path, overwrite: bool):
        self.path, self._list = path, path.with_name(LIST_FILE)
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._created: list[pathlib.Path] = []
        if path.is_dir():
            raise UsageError(f"path must not be a folder. Received: {path}. Choose another")
        if path.exists() and not overwrite:
            raise UsageError(f"path must not exist. Received: {path}. Choose another, or pass overwrite=True")
        if path.exists() and path.stat().st_size not in self._read_list().get(path.name, []):
            raise UsageError(
                f"Only films that an earlier call wrote are replaced. Received: {path}, which is another file. Move it"
                ", or choose another folder"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._temporary.unlink(missing_ok=True)
        for folder in self._created:
            if not any(folder.iterdir()):
                folder.rmdir()
        raise_naming(error, self.path, self._temporary)

    def stage(self) -> pathlib.Path:
        """Returns the path to write the film to; its folder exists then."""
        self._created = [folder for folder in self.path.parents if not folder.exists()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self._temporary

    def commit(self) -> None:
        """Moves the film to its place. A command that is killed meanwhile leaves the earlier film or this one."""
        films, size = self._read_list(), self._temporary.stat().st_size
        write_json(self._list, films | {self.path.name: [*films.get(self.path.name, []), size]})
        self._temporary.replace(self.path)
        write_json(self._list, films | {self.path.name: [size]})

    def _read_list(self) -> dict[str, list[int]]:
        try:
            films = json.loads(self._list.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(films, dict):
            return {}
        return {name: sizes for name, sizes in films.items() if isinstance(sizes, list)}
