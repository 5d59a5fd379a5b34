"""Running shard tasks: in this process, in a pool of processes, on a cluster, or in an executor of the caller."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from keras_a2i.errors import RecordsError
from keras_a2i.records.cluster import Cluster
from keras_a2i.records.task import Task, run_task

Progress = Callable[[int, int, int], None]
"""Called with the number of written pairs, of dropped inputs and of planned pairs."""


class Tally:
    """Adds up the numbers that the tasks report and calls `progress` with the totals."""

    def __init__(self, progress: Progress | None, total: int, dropped: int):
        self._progress, self._total = progress, total
        self._done, self._dropped = 0, dropped

    def __call__(self, done: int, dropped: int) -> None:
        self._done += done
        self._dropped += dropped
        if self._progress:
            self._progress(self._done, self._dropped, self._total)


def run_tasks(
    tasks: Sequence[Task],
    finished: Mapping[int, dict[str, Any]],
    workers: int | None,
    executor: Executor | None,
    cluster: Cluster | None,
    tally: Tally,
) -> list[dict[str, Any]]:
    """Runs the tasks that aren't finished yet, the longest first; returns all results in the order of the tasks.

    Args:
        tasks: the shard tasks.
        finished: the results of those that an earlier build finished, by the numbers of their tasks.
        workers: the number of processes, None for one per core; 1 works in this process.
        executor: runs the tasks in place of a process pool.
        cluster: runs the tasks in place of a process pool.
        tally: called with the new numbers of pairs and of dropped inputs.

    Raises:
        RecordsError: if a worker process was killed.
        ClusterError: as `Cluster.run`.
    """
    results = dict(finished)
    for result in finished.values():
        tally(*_size(result))
    waiting = sorted((task for task in tasks if task.index not in results), key=lambda task: -task.cost)
    workers = min(len(waiting), workers or os.cpu_count() or 1)
    if cluster is not None:
        for task, result in cluster.run(waiting, tally):
            results[task.index] = result
    elif executor is None and workers <= 1:
        for task in waiting:
            results[task.index] = run_task(task, tally)
    elif executor is not None:
        _collect({executor.submit(run_task, task): task for task in waiting}, results, lambda: None, tally)
    else:
        with _pool(workers) as (pool, poll):
            with _script_hidden(waiting):
                futures = {pool.submit(_run_in_worker, task): task for task in waiting}
            _collect(futures, results, lambda: tally(*poll()), None)
    return [results[task.index] for task in tasks]


def check_main_guard() -> None:
    """Checks that this isn't a worker process that runs the user's script from its beginning.

    Raises:
        RecordsError: if it is.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RecordsError(
            "A script whose own Source classes are read by several processes must build records under "
            "if __name__ == '__main__': alone. Received: a script without it. Add it, or pass workers=1"
        )


@contextlib.contextmanager
def _script_hidden(tasks: Sequence[Task]) -> Iterator[None]:
    """Starts processes that don't run the user's script, which would build records again, unless they need it.

    They need it if a source is of a class that the script defines.
    """
    main = sys.modules["__main__"]
    sources = {id(source): source for task in tasks for source, _ in task.parts}
    if b"__main__" in pickle.dumps(list(sources.values())):
        yield
        return
    names = [name for name in ("__file__", "__spec__") if hasattr(main, name)]
    hidden = {name: getattr(main, name) for name in names}
    try:
        for name in names:
            setattr(main, name, None)
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


def _size(result: dict[str, Any]) -> tuple[int, int]:
    return sum(shard["count"] for shard in result["shards"].values()), len(result["dropped"])


def _collect(
    futures: dict[Future, Task], results: dict[int, Any], poll: Callable[[], None], tally: Tally | None
) -> None:
    pending = set(futures)
    try:
        while pending:
            finished, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in finished:
                result = future.result()
                results[futures[future].index] = result
                if tally:
                    tally(*_size(result))
            poll()
    except BaseException:
        for future in pending:
            future.cancel()
        raise


_counters: Any = None


def _start_worker(counters: Any) -> None:
    global _counters
    _counters = counters
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when its parent has ended, however that was."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _run_in_worker(task: Task) -> dict[str, Any]:
    def count(done: int, dropped: int) -> None:
        with _counters.get_lock():
            _counters[0] += done
            _counters[1] += dropped

    return run_task(task, count)


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[tuple[Executor, Callable[[], tuple[int, int]]]]:
    """A process pool, and a function that returns the (pairs, dropped inputs) counted since its last call."""
    context = multiprocessing.get_context("spawn")
    counters = context.Array("q", 2)
    seen = [0, 0]

    def poll() -> tuple[int, int]:
        with counters.get_lock():
            new = counters[0] - seen[0], counters[1] - seen[1]
            seen[:] = counters[:]
        return new

    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(counters,))
    try:
        yield pool, poll
    except BrokenProcessPool:
        raise RecordsError(
            "A worker process ended early, perhaps because memory ran out. Finished shards are kept: "
            "run the same build again, with fewer workers"
        ) from None
    except BaseException:
        # Running tasks are not waited for: the next build removes their half-written files.
        for process in list(pool._processes.values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()
