"""Where a build writes: a folder of the disk, or of an object store, to which it is uploaded shard by shard.

Unnamed shards and the results of their tasks lie in the subfolder `.build` until all are finished. Then the shards get
their names, the manifest is written, and the subfolder is removed. A task's shards reach the disk, or the store, before
its result; a result counts only as long as its shards have the sizes that it states.
"""

import contextlib
import dataclasses
import fnmatch
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from keras_a2i.errors import AddressNotFoundError, RecordsError, UsageError
from keras_a2i.media.durable import naming_output
from keras_a2i.media.folder_lock import LOCK_FILE, folder_lock
from keras_a2i.media.json_file import write_json
from keras_a2i.records.manifest import BUILD_FOLDER, FILE_NAME, Manifest, Shard, compare_sizes, find_sizes
from keras_a2i.records.task import Task, finished_result
from keras_a2i.remote.address import Address, Location, as_location
from keras_a2i.remote.copies import fetched, temporary_folder
from keras_a2i.remote.lock import store_lock
from keras_a2i.remote.store import fetch, find_kind, list_names, list_objects, move, read_bytes, remove, upload

_MARK = "fingerprint.json"
_NAMING = "naming.json"
_SHARDS = "*-of-*.tfrecord"
_PROBLEMS_SHOWN = 3
_ALSO_OTHER = " (or files have changed since, or an earlier version of keras-a2i built them)"


class BuildOutput:
    """A folder of the disk that records are built in.

    Args:
        out: the folder.

    Attributes:
        location: the folder, for messages.
        folder: the local folder that tasks write into.
        upload_to: where tasks upload what they have finished, or None.
    """

    upload_to: Address | None = None

    def __init__(self, out: pathlib.Path):
        self._out = out
        self.location: Location = out
        self.folder = out / BUILD_FOLDER

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder; it is created where it doesn't exist.

        Raises:
            LockedError: if another process is writing into it.
        """
        with folder_lock(self._out):
            yield

    def find_finished(self, fingerprint: str, overwrite: bool) -> Manifest | None:
        """Returns the manifest of equal records that are complete, or None where the folder may be written.

        Raises:
            UsageError: if it is a file, or holds something else or equal records with damaged shards and `overwrite` is
                False.
        """
        if self._is_file():
            raise UsageError(f"out must be a folder. Received: the file {self.location}")
        names = self._names()
        if FILE_NAME in names:
            try:
                manifest = Manifest.read(self.location)
            except RecordsError as error:
                if overwrite:
                    return None
                raise UsageError(f"{error}, with overwrite=True") from error
            equal = manifest.fingerprint == fingerprint
            problems = self._find_problems(manifest, overwrite) if equal else []
            if equal and not problems:
                return manifest
            if problems and not overwrite:
                raise UsageError(
                    f"The shards of finished records must be as they were built. Received: {self.location}, where "
                    f"{_shown(problems)}. Build them again with overwrite=True"
                )
            if not overwrite:
                raise UsageError(
                    f"out must not hold other records. Received: {self.location}, which holds records of other input "
                    f"or options{_ALSO_OTHER}. Choose another folder, or replace them with overwrite=True"
                )
        elif BUILD_FOLDER not in names and names - {LOCK_FILE}:
            raise UsageError(f"out must be a new or empty folder. Received: {self.location}, which holds other files")
        return None

    def begin(self, fingerprint: str, overwrite: bool) -> None:
        """Makes the folder for unnamed shards, with those of an interrupted equal build.

        Raises:
            UsageError: if it holds those of another build and `overwrite` is False.
        """
        mark = self.folder / _MARK
        if self.folder.is_dir() and not mark.is_file():
            # A command was killed while it removed the folder: the shards in it may be those of another build.
            shutil.rmtree(self.folder)
        if mark.is_file() and json.loads(mark.read_text()) != fingerprint:
            self._check_overwrite(overwrite)
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_half_written()
        write_json(mark, fingerprint)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Removes half-written shards after an error; an OSError names the folder."""
        try:
            with naming_output(self._out, self.folder):
                yield
        except BaseException:
            self._remove_half_written()
            raise

    def discard(self) -> None:
        """Removes the folder for unnamed shards."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def load_results(self, tasks: list[Task]) -> dict[int, dict[str, Any]]:
        """The results, by the numbers of their tasks, that an interrupted equal build left with whole shards.

        Results whose shards are missing or have other sizes are removed.
        """
        results = {task.index: result for task in tasks if (result := finished_result(task)) is not None}
        unnamed, named, names = find_sizes(self._build), dict[str, int](), dict[tuple[int, str], str]()
        if self._is_naming() and len(results) == len(tasks):
            named, names = find_sizes(self.location), _shard_names(tasks, list(results.values()))
        for task in tasks:
            for split, shard in results.get(task.index, {"shards": {}})["shards"].items():
                name = names.get((task.index, split), "")
                if shard["size"] not in (unnamed.get(task.shard_path(split).name), named.get(name)):
                    del results[task.index]
                    self._remove_result(task)
                    break
        return results

    def name_shards(self, tasks: list[Task], results: list[dict[str, Any]]) -> list[Shard]:
        """Removes replaced records and gives the shards of all tasks their names.

        Those that an interrupted call named already are left alone.
        """
        if not self._is_naming():
            self._remove_replaced()
            self._begin_naming()
        named = dict(zip((task.index for task in tasks), zip(tasks, results, strict=True), strict=True))
        shards = []
        for (index, split), name in _shard_names(tasks, results).items():
            task, result = named[index]
            self._name(task.shard_path(split), name)
            shards.append(Shard(file=name, split=split, **result["shards"][split]))
        return shards

    def finish(self, manifest: Manifest) -> None:
        """Writes the manifest and removes the folder for unnamed shards.

        Raises:
            RecordsError: if a shard isn't there, or isn't whole.
        """
        if problems := compare_sizes(manifest, find_sizes(self.location)):
            raise RecordsError(
                f"Every shard must be whole when a build ends. Received: {_shown(problems)}, in {self.location}. Run "
                "the same build again, which writes these anew"
            )
        self._write(manifest)
        # A worker of a scheduler that was lost may still write into it; what is left then is removed by the next build.
        self.discard()

    def _check_overwrite(self, overwrite: bool) -> None:
        if not overwrite:
            raise UsageError(
                f"out must not hold another build. Received: {self.location}, which holds an unfinished build of other "
                f"input or options{_ALSO_OTHER}. Choose another folder, or replace it with overwrite=True"
            )

    def _remove_half_written(self) -> None:
        for path in self.folder.glob("*.tmp"):
            path.unlink()

    @property
    def _build(self) -> Location:
        return self.folder

    def _is_naming(self) -> bool:
        """Whether named shards are those of this build: the ones of replaced records have been removed."""
        return (self.folder / _NAMING).is_file() and FILE_NAME not in self._names()

    def _begin_naming(self) -> None:
        write_json(self.folder / _NAMING, True)

    def _remove_result(self, task: Task) -> None:
        task.result_path.unlink()

    def _write(self, manifest: Manifest) -> None:
        manifest.write(self._out)

    def _is_file(self) -> bool:
        return self._out.exists() and not self._out.is_dir()

    def _names(self) -> set[str]:
        return {path.name for path in self._out.iterdir()} if self._out.is_dir() else set()

    def _find_problems(self, manifest: Manifest, overwrite: bool) -> list[str]:
        return manifest.verify(self._out)

    def _name(self, shard: pathlib.Path, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shard.replace(self._out / name)

    def _remove_replaced(self) -> None:
        if (self._out / FILE_NAME).is_file():
            (self._out / FILE_NAME).unlink()
            for path in self._out.glob(_SHARDS):
                path.unlink()


class StoredBuildOutput(BuildOutput):
    """A folder of an object store that records are built in.

    Whether they are complete is told by the sizes of their shards; before equal ones are overwritten, these are fetched
    and compared with their sha256.

    Args:
        address: the folder.
    """

    def __init__(self, address: Address):
        super().__init__(pathlib.Path())
        self.location = self._address = address
        self.upload_to = address / BUILD_FOLDER

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder of the store, and makes a local one until the end."""
        with store_lock(self._address), temporary_folder() as folder:
            self._out = self.folder = folder
            yield

    def begin(self, fingerprint: str, overwrite: bool) -> None:
        """Fetches the results of an interrupted equal build, whose shards stay in the store."""
        found = list_objects(self._build)
        if found and _MARK in found and json.loads(read_bytes(self._build / _MARK)) != fingerprint:
            self._check_overwrite(overwrite)
            found.pop(_MARK)
        if found and _MARK not in found:
            self.discard()
            found = {}
        for name in found:
            if name.endswith(".json"):
                fetch(self._build / name, self.folder / name)
        if not found:
            write_json(self.folder / _MARK, fingerprint)
            upload(self.folder / _MARK, self._build / _MARK)

    def discard(self) -> None:
        """Removes the unnamed shards from the store, their mark first: without it they count for nothing."""
        names = sorted(list_objects(self._build), key=lambda name: name != _MARK)
        remove(self._build / name for name in names)

    @property
    def _build(self) -> Address:
        return self._address / BUILD_FOLDER

    def _begin_naming(self) -> None:
        super()._begin_naming()
        upload(self.folder / _NAMING, self._build / _NAMING)

    def _remove_result(self, task: Task) -> None:
        super()._remove_result(task)
        remove([self._build / task.result_path.name])

    def _write(self, manifest: Manifest) -> None:
        manifest.write(self.folder)
        upload(self.folder / FILE_NAME, self._address / FILE_NAME)

    def _is_file(self) -> bool:
        return find_kind(self._address) == "file"

    def _names(self) -> set[str]:
        return list_names(self._address)

    def _find_problems(self, manifest: Manifest, overwrite: bool) -> list[str]:
        if (problems := compare_sizes(manifest, find_sizes(self._address))) or not overwrite:
            return problems
        # Who overwrites equal records may have met a damaged one, which sizes don't show.
        for shard in manifest.shards:
            with fetched(self._address / shard.file) as file:
                if problems := dataclasses.replace(manifest, shards=[shard]).verify(file.parent):
                    return problems
        return []

    def _name(self, shard: pathlib.Path, name: str) -> None:
        with contextlib.suppress(AddressNotFoundError):
            move(self._build / shard.name, self._address / name)

    def _remove_replaced(self) -> None:
        names = list_names(self._address)
        if FILE_NAME in names:
            remove([self._address / FILE_NAME])
            remove(self._address / name for name in fnmatch.filter(names, _SHARDS))


def _shard_names(tasks: list[Task], results: list[dict[str, Any]]) -> dict[tuple[int, str], str]:
    """The names of all shards by (number of the task, split), sorted by split."""
    names = {}
    for split in sorted({split for result in results for split in result["shards"]}):
        holders = [task.index for task, result in zip(tasks, results, strict=True) if split in result["shards"]]
        for number, index in enumerate(holders):
            names[index, split] = f"{split}-{number:05d}-of-{len(holders):05d}.tfrecord"
    return names


def _shown(problems: list[str]) -> str:
    more = len(problems) - _PROBLEMS_SHOWN
    return "; ".join(problems[:_PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def open_output(out: str | os.PathLike[str] | Address) -> BuildOutput:
    """Returns where a build writes.

    Raises:
        UsageError: if `out` is an address without a bucket.
    """
    location = as_location(out)
    return StoredBuildOutput(location) if isinstance(location, Address) else BuildOutput(location)
