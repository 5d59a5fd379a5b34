"""What the workers of a Dask scheduler run: a check at the start, and shard tasks."""

import os
import pathlib
import time
import uuid
import zlib
from collections.abc import Sequence
from typing import Any

from keras_a2i.errors import ClusterError, RecordsError
from keras_a2i.records.manifest import STATED_PACKAGES
from keras_a2i.records.task import write_shards
from keras_a2i.version import library_versions

_SECONDS_BETWEEN_REPORTS = 0.5


def compared_versions() -> dict[str, str]:
    """Versions that decide the bytes of the shards, and that of Dask: those of all machines must be equal."""
    versions = library_versions(*STATED_PACKAGES, "distributed") | {"zlib": zlib.ZLIB_RUNTIME_VERSION}
    # The last number of Python's version counts corrections.
    return versions | {"python": versions["python"].rpartition(".")[0]}


def describe_differences(found: dict[str, str], here: dict[str, str]) -> str:
    """Describes the versions of another machine that differ from those here; "" where none does."""
    differences = []
    for name in here | found:
        if name not in found:
            differences.append(f"without {name} (here {here[name]})")
        elif name not in here:
            differences.append(f"with {name} {found[name]} (not installed here)")
        elif found[name] != here[name]:
            differences.append(f"with {name} {found[name]} (here {here[name]})")
    return " and ".join(differences)


def other_versions_error(received: str) -> ClusterError:
    """The error of machines whose versions differ; `received` names them."""
    return ClusterError(
        f"The scheduler and every worker must have the versions of this process. Received: {received}. Install the "
        'same on all machines, such as pip install "keras-a2i[cluster,video]"'
    )


def not_shared_error(received: str) -> ClusterError:
    """The error of a machine without the files of this one; `received` names it and what it lacks."""
    return ClusterError(
        "Every worker must read the input and write the records under the paths that they have here. Received: "
        f"{received}. Share both folders with all machines"
    )


def mark_path(folder: pathlib.Path, build: str) -> pathlib.Path:
    """A file that is there as long as the process that builds the records wants its tasks to run."""
    return folder / f"{build}.tmp"


def check_worker(folder: pathlib.Path, build: str, paths: Sequence[str], sources: bytes) -> tuple[str, str]:
    """Checks that a worker can load the sources, reads the input and shares the folder of the build.

    Args:
        folder: receives the files of the tasks.
        build: the name of the build.
        paths: files of the input.
        sources: pickled sources.

    Returns:
        What is wrong, "" if nothing is, and the name of a file that was written into `folder`.
    """
    from distributed.protocol import pickle

    try:
        pickle.loads(sources)
    except (ImportError, AttributeError) as error:
        return f"which can't load the sources ({error})", ""
    if trouble := _find_trouble(folder, build, paths):
        return trouble, ""
    try:
        written = folder / f"{build}.{uuid.uuid4().hex}.tmp"
        written.touch()
    except OSError as error:
        return f"which can't write into {folder} ({error.strerror})", ""
    return "", written.name


def run_on_worker(
    payload: bytes, build: str, here: dict[str, str], paths: Sequence[str]
) -> tuple[str, str, dict[str, Any]]:
    """Writes the shards of a task, which the client finishes.

    Args:
        payload: the pickled task.
        build: the name of the build, which is the topic of the reports on what was read, too.
        here: `compared_versions` of the client. A worker that joined late wasn't checked at the start.
        paths: files of the input of the task.

    Returns:
        The name of the attempt, the address of the worker and the result of `write_shards`.

    Raises:
        ClusterError: if the versions differ, or the worker doesn't share the folders.
        RecordsError: if the build has ended meanwhile, or as `write_shards`.
    """
    from distributed import get_worker
    from distributed.protocol import pickle

    worker = get_worker()
    if differences := describe_differences(compared_versions(), here):
        raise other_versions_error(f"the worker {worker.address} {differences}")
    task = pickle.loads(payload)
    if trouble := _find_trouble(task.folder, build, paths):
        raise not_shared_error(f"the worker {worker.address}, {trouble}")
    attempt = f"{build}.{uuid.uuid4().hex}"
    report = _Report(worker, build, task.index, mark_path(task.folder, build))
    try:
        result = write_shards(task, report, attempt)
        report.check()
    except BaseException:
        for path in task.folder.glob(f"*.{attempt}.tmp"):
            path.unlink(missing_ok=True)
        raise
    return attempt, worker.address, result


def _find_trouble(folder: pathlib.Path, build: str, paths: Sequence[str]) -> str:
    if missing := [path for path in paths if not os.access(path, os.R_OK)]:
        return f"which can't read {missing[0]}"
    return "" if os.access(mark_path(folder, build), os.R_OK) else f"which can't read {folder}"


class _Report:
    """Sends the client how much an attempt has read, now and then, and ends it when the build has ended.

    Dask doesn't stop what runs already when its client cancels it or when its scheduler is lost; the client removes a
    file.
    """

    def __init__(self, worker: Any, topic: str, index: int, mark: pathlib.Path):
        self._worker, self._topic, self._index, self._mark = worker, topic, index, mark
        self._done, self._dropped = 0, 0
        self._sent_at = time.monotonic()

    def __call__(self, done: int, dropped: int) -> None:
        self._done += done
        self._dropped += dropped
        if time.monotonic() - self._sent_at < _SECONDS_BETWEEN_REPORTS:
            return
        self.check()
        self._worker.log_event(self._topic, (self._index, self._done, self._dropped))
        self._sent_at = time.monotonic()

    def check(self) -> None:
        """Raises a RecordsError if the build has ended."""
        if not self._mark.exists():
            raise RecordsError("The build must be running. Received: one that has ended. Start it again")
