"""Running shard tasks on the workers of a Dask scheduler.

Workers write shards into the folder of the records, which all machines share: a shard may be as large as a film, and
would otherwise pass through the memory and the network of one machine. The process that builds the records alone, which
holds the lock of the folder, gives them their names: a worker that was believed dead or whose scheduler was lost leaves
nothing but a file that the next build removes.
"""

import asyncio
import collections
import contextlib
import logging
import os
import pathlib
import queue
import time
import urllib.parse
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from keras_a2i.errors import ClusterError, MissingPackageError, UsageError
from keras_a2i.records.cluster_worker import (
    check_worker,
    compared_versions,
    describe_differences,
    mark_path,
    not_shared_error,
    other_versions_error,
    run_on_worker,
)
from keras_a2i.records.task import Task, finish_task

ANSWER_SECONDS = 10.0
"""A scheduler must answer within this time."""
WORKER_SECONDS = 60.0
"""There must be a worker, and every worker must answer, within this time."""

_SCHEMES = ("tcp", "tls", "ws", "wss")
_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_BETWEEN_COUNTS = 2.0
_MAX_PATHS = 100
_NAMES_SHOWN = 3


@contextlib.contextmanager
def open_cluster(address: str) -> Iterator["Cluster"]:
    """Connects to a Dask scheduler, until the end of the context, and checks the versions of its workers.

    Args:
        address: such as "tcp://host:8786".

    Raises:
        MissingPackageError: if Dask's package distributed isn't installed.
        UsageError: if `address` isn't an address.
        ClusterError: if no scheduler answers within `ANSWER_SECONDS`, there is no worker within `WORKER_SECONDS`, or
            the versions there differ from those here.
    """
    _check_address(address)
    try:
        # The first import sets the levels of Dask's loggers.
        import distributed  # noqa: F401
    except ImportError:
        raise MissingPackageError("distributed", "cluster", "Building records on a Dask cluster") from None
    with _without_messages():
        client = _connect(address)
        cluster = Cluster(client, address)
        try:
            cluster.check_versions()
            yield cluster
        finally:
            # The scheduler forgets the tasks of a client that has left.
            client.close()


class Cluster:
    """The workers of a Dask scheduler.

    Args:
        client: a connected `distributed.Client`.
        address: of the scheduler, for messages.
    """

    def __init__(self, client: Any, address: str):
        self._client, self._address = client, address
        self._threads, self._counted_at, self._worker_seen_at = 0, 0.0, time.monotonic()

    def check_versions(self) -> None:
        """Checks that the scheduler and every worker have the versions that this process has.

        Raises:
            ClusterError: if there is no worker, one doesn't answer, or versions differ.
        """
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            raise self._no_worker() from None
        except OSError as error:
            # While this process waits, the client connects again and again.
            raise self._lost() from error
        here = compared_versions()
        found = {f"the worker {name}": versions for name, versions in self._ask(compared_versions).items()}
        found[f"the scheduler {self._address}"] = self._ask_scheduler(compared_versions)
        different = []
        for name, versions in found.items():
            if isinstance(versions, ImportError):
                different.append(f"{name} without this version of keras-a2i (here {here['keras-a2i']})")
            elif isinstance(versions, dict) and (differences := describe_differences(versions, here)):
                different.append(f"{name} {differences}")
        if different:
            more = f", and {len(different) - 1} more" if len(different) > 1 else ""
            raise other_versions_error(different[0] + more)

    def run(self, tasks: Sequence[Task], tally: Callable[[int, int], None]) -> Iterator[tuple[Task, dict[str, Any]]]:
        """Runs tasks; yields each with its result as soon as it is finished.

        At most two tasks per thread of the workers are at the scheduler at any time.

        Args:
            tasks: tasks with one folder, in the order in which they start.
            tally: called with the new numbers of pairs and of dropped inputs.

        Raises:
            ClusterError: if the scheduler is lost, there is no worker for `WORKER_SECONDS`, a worker doesn't share the
                input and the folder, or the workers that run a task are killed repeatedly.
            KerasA2IError: as `run_task`.
        """
        if not tasks:
            return
        folder, build = tasks[0].folder, uuid.uuid4().hex
        mark_path(folder, build).touch()
        try:
            self._check_folders(folder, build, tasks)
            yield from self._run(collections.deque(tasks), build, _Progress(tally))
        finally:
            mark_path(folder, build).unlink(missing_ok=True)

    def _run(
        self, waiting: collections.deque[Task], build: str, progress: "_Progress"
    ) -> Iterator[tuple[Task, dict[str, Any]]]:
        from distributed.protocol import pickle

        here, running = compared_versions(), dict[Any, Task]()
        self._client.subscribe_topic(build, progress.receive)
        self._worker_seen_at = time.monotonic()
        try:
            while waiting or running:
                self._check_connection()
                while waiting and len(running) < 2 * self._threads:
                    task = waiting.popleft()
                    arguments = pickle.dumps(task), build, here, _paths([task])
                    key = f"keras-a2i-{build}-{task.index:05d}"
                    running[self._client.submit(run_on_worker, *arguments, key=key, pure=False)] = task
                for future in [each for each in running if each.done()]:
                    if (result := self._finish(running[future], future)) is not None:
                        task = running.pop(future)
                        progress.finish(task.index, result)
                        yield task, result
                progress.poll()
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            if running and self._client.status == "running":
                self._client.cancel(list(running), force=True)

    def _finish(self, task: Task, future: Any) -> dict[str, Any] | None:
        """Finishes a task that was done; returns its result, or None if its worker was lost before that arrived."""
        import distributed

        try:
            attempt, worker, result = future.result(timeout=ANSWER_SECONDS)
        except TimeoutError:
            return None
        except distributed.KilledWorker:
            names = [unit.name for _, unit in task.parts]
            shown = ", ".join(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")
            raise ClusterError(
                f"The workers that read {shown} ended one after another, perhaps because memory ran out. Finished "
                "shards are kept: run the same build again, with more memory for every worker"
            ) from None
        except distributed.CancelledError as error:
            raise self._lost() from error
        except ImportError as error:
            raise ClusterError(
                f"Every worker must be able to import what this process imports. Received: one without {error.name}. "
                "Install the same on all machines. Finished shards are kept: run the same build again"
            ) from error
        try:
            finish_task(task, result, attempt)
        except FileNotFoundError as error:
            raise not_shared_error(f"the worker {worker}, whose shards aren't in {task.folder}") from error
        return result

    def _check_connection(self) -> None:
        """Checks that the scheduler is there and has workers, and counts their threads now and then."""
        if self._client.status != "running":
            raise self._lost()
        now = time.monotonic()
        if now - self._counted_at < _SECONDS_BETWEEN_COUNTS:
            return
        try:
            self._threads = sum(self._client.sync(self._client.scheduler.ncores, callback_timeout=60).values())
        except (OSError, TimeoutError) as error:
            raise self._lost() from error
        self._counted_at = now
        if self._threads:
            self._worker_seen_at = now
        elif now - self._worker_seen_at > WORKER_SECONDS:
            raise self._no_worker()

    def _check_folders(self, folder: pathlib.Path, build: str, tasks: Sequence[Task]) -> None:
        from distributed.protocol import pickle

        one_of_each = {type(source): source for task in tasks for source, _ in task.parts}
        sources = pickle.dumps(list(one_of_each.values()))
        for worker, answer in self._ask(check_worker, folder, build, _paths(tasks), sources).items():
            if isinstance(answer, Exception):
                # The worker was lost while it was asked.
                continue
            trouble, written = answer
            if trouble:
                raise not_shared_error(f"the worker {worker}, {trouble}")
            try:
                (folder / written).unlink()
            except FileNotFoundError:
                raise not_shared_error(f"the worker {worker}, whose files don't arrive in {folder}") from None

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Calls a function on every worker; returns its results, or the exceptions, by address."""
        try:
            return self._client.run(function, *arguments, on_error="return", callback_timeout=WORKER_SECONDS)
        except TimeoutError:
            raise ClusterError(
                f"Every worker of {self._address} must answer within {WORKER_SECONDS:g} s. Received: no answer of at "
                "least one. Close workers that hang"
            ) from None
        except OSError as error:
            raise self._lost() from error

    def _ask_scheduler(self, function: Callable[..., Any]) -> Any:
        try:
            return self._client.run_on_scheduler(function, callback_timeout=WORKER_SECONDS)
        except ImportError as error:
            return error
        except (OSError, TimeoutError) as error:
            raise self._lost() from error

    def _lost(self) -> ClusterError:
        return ClusterError(
            f"The Dask scheduler {self._address} was lost. Finished shards are kept: run the same build again, with a "
            "scheduler or without"
        )

    def _no_worker(self) -> ClusterError:
        return ClusterError(
            f"The Dask scheduler {self._address} must have a worker. Received: none for {WORKER_SECONDS:g} s. Start "
            f"one with: dask worker {self._address}. Finished shards are kept"
        )


class _Progress:
    """Adds up what the attempts report and calls `tally` with what is new.

    A task that is run again, because its worker was lost, counts from 0 again.
    """

    def __init__(self, tally: Callable[[int, int], None]):
        self._tally = tally
        self._events: queue.SimpleQueue[tuple[int, int, int]] = queue.SimpleQueue()
        self._counts: dict[int, tuple[int, int]] = {}
        self._finished: set[int] = set()

    def receive(self, event: tuple[float, tuple[int, int, int]]) -> None:
        """Accepts a report, in a thread of Dask's."""
        self._events.put(event[1])

    def poll(self) -> None:
        """Counts the reports that have arrived."""
        while not self._events.empty():
            index, done, dropped = self._events.get()
            if index not in self._finished:
                self._set(index, done, dropped)

    def finish(self, index: int, result: dict[str, Any]) -> None:
        """Counts the result of a task."""
        self._finished.add(index)
        self._set(index, sum(shard["count"] for shard in result["shards"].values()), len(result["dropped"]))

    def _set(self, index: int, done: int, dropped: int) -> None:
        old = self._counts.get(index, (0, 0))
        self._counts[index] = done, dropped
        self._tally(done - old[0], dropped - old[1])


def _connect(address: str) -> Any:
    import distributed

    # A notebook has a running event loop in its own thread.
    with ThreadPoolExecutor(1) as thread:
        # What isn't a Dask scheduler may answer anything, and be misunderstood in any way.
        error = thread.submit(asyncio.run, _find_scheduler(address)).exception()
    if error is None:
        try:
            return distributed.Client(address, timeout=ANSWER_SECONDS, set_as_default=False, name="keras-a2i")
        except OSError as lost:
            error = lost
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    raise ClusterError(
        f"scheduler must be a Dask scheduler that answers within {ANSWER_SECONDS:g} s. Received: {address} ({reason}). "
        "Start one with: dask scheduler"
    ) from error


async def _find_scheduler(address: str) -> None:
    """Asks a scheduler once: Dask's client waits for ever for a peer that accepts its connection and sends nothing."""
    from distributed import Security, rpc

    async with asyncio.timeout(ANSWER_SECONDS):
        arguments = Security().get_connection_args("client")
        async with rpc(address, timeout=ANSWER_SECONDS, connection_args=arguments) as scheduler:
            if (kind := (await scheduler.identity())["type"]) != "Scheduler":
                raise TypeError(f"{address} is the address of a {kind}")


def _check_address(address: str) -> None:
    try:
        parts = urllib.parse.urlsplit(address if "://" in address else f"tcp://{address}")
        valid = parts.scheme in _SCHEMES and parts.hostname and parts.port
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(
            "scheduler must be the address of a Dask scheduler, such as tcp://host:8786. "
            f"Received: scheduler={address!r}"
        )


def _paths(tasks: Sequence[Task]) -> list[str]:
    """At most `_MAX_PATHS` of the readable paths that the sources of the tasks name, spread over all."""
    sources = {id(source): source for task in tasks for source, _ in task.parts}
    named = (os.fspath(path) for source in sources.values() for path in getattr(source, "paths", ()))
    paths = list(dict.fromkeys(named))
    return [path for path in paths[:: len(paths) // _MAX_PATHS + 1] if os.access(path, os.R_OK)]


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """Keeps Dask's messages off the terminal: what matters becomes an error here."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "tornado.application")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # Versions of packages that decide the bytes are compared; the others may differ.
            warnings.filterwarnings("ignore", category=UserWarning, module="distributed")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
