"""Several runs, trained in turn or several at once; one that fails doesn't stop the others."""

import collections
import contextlib
import heapq
import pathlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from keras_a2i.counts import counted
from keras_a2i.durations import format_seconds
from keras_a2i.errors import TrainingInterrupted
from keras_a2i.records.records import Records
from keras_a2i.training.job import Job, Tell, describe_failure
from keras_a2i.training.job_process import SECONDS_TO_END, JobProcess, environment_of, visible_gpus

Work = Callable[[Job, Records, Tell], None]
"""Trains the run of a job: a function of a module, so that another process finds it."""
_SECONDS_BETWEEN_LOOKS = 0.5
"""Windows passes Ctrl-C on only between two waits."""


def run_jobs(
    jobs: Sequence[Job], work: Work, records: Records, *, clock: "Clock", at_once: int = 1, tell: Tell
) -> Generator[tuple[Job, str]]:
    """Trains several runs; each is announced when it begins and when it ends, with the time that the rest may take.

    Args:
        jobs: the runs, in the order in which they begin.
        work: what trains one.
        records: for the runs that are trained in this process.
        clock: counts them, beside runs before and after.
        at_once: 1 trains them in this process, more in processes of their own, this number at the same time.
        tell: called with what is being done, in words; with lines about the epochs only for runs in this process.
            Those of another process are written to a file beside its run folder, which is kept if the run fails.

    Yields:
        Each job when its run has ended, and why it failed, "" if it didn't. If the iterator is closed, or interrupted,
        the runs in other processes save their finished epochs and end.

    Raises:
        TrainingInterrupted: after Ctrl-C in a training of this process.
    """
    at_once = min(at_once, max(1, len(jobs)))
    clock.add(jobs)
    results = _in_turn(jobs, work, records, tell, clock)
    if at_once > 1:
        results = _in_processes(jobs, work, at_once, tell, clock)
    try:
        for job, reason in results:
            tell(f"{job.name}: {clock.finish(job, reason)}")
            yield job, reason
    finally:
        results.close()


@contextlib.contextmanager
def resumable(folder: pathlib.Path, *, overwrite: bool = False) -> Iterator[None]:
    """Explains an interruption of several runs by the call that completes them, in place of how one is resumed.

    Args:
        folder: that of the runs.
        overwrite: whether runs in it are replaced; repeated, such a call would train finished runs anew.

    Raises:
        TrainingInterrupted: after Ctrl-C.
    """
    try:
        yield
    except (KeyboardInterrupt, TrainingInterrupted):
        raise TrainingInterrupted(
            f"Stopped. Finished runs, and the finished epochs of others, are saved in {folder}. The same command, or "
            f"call, {'without overwrite (--overwrite) ' if overwrite else ''}trains the rest"
        ) from None


def _in_turn(
    jobs: Sequence[Job], work: Work, records: Records, tell: Tell, clock: "Clock"
) -> Generator[tuple[Job, str]]:
    for job in jobs:
        tell(f"{job.name}: {clock.start(job)}")
        reason = ""
        try:
            work(job, records, tell)
        except TrainingInterrupted:
            raise
        # Which errors are a run's own depends on the backend.
        except Exception as error:
            reason = describe_failure(error) or ""
            if not reason:
                raise
        yield job, reason


def _in_processes(
    jobs: Sequence[Job], work: Work, at_once: int, tell: Tell, clock: "Clock"
) -> Generator[tuple[Job, str]]:
    waiting, free, gpus = collections.deque(jobs), list(range(at_once))[::-1], visible_gpus()
    running: dict[Future[str], tuple[Job, JobProcess, int]] = {}
    with ThreadPoolExecutor(at_once) as threads:
        try:
            while waiting or running:
                while waiting and free:
                    job, slot = waiting.popleft(), free.pop()
                    process = JobProcess(job, work, environment_of(slot, at_once, gpus))
                    running[threads.submit(process.wait)] = job, process, slot
                    tell(f"{job.name}: {clock.start(job)}")
                finished, _ = wait(running, timeout=_SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
                for future in finished:
                    job, _, slot = running.pop(future)
                    free.append(slot)
                    yield job, future.result()
        finally:
            _end([process for _, process, _ in running.values()])


def _end(processes: Sequence[JobProcess]) -> None:
    """Lets processes save their finished epochs and end; a second Ctrl-C ends them at once."""
    try:
        for process in processes:
            process.interrupt()
        latest = time.monotonic() + SECONDS_TO_END
        for process in processes:
            process.join(max(0.0, latest - time.monotonic()))
    finally:
        for process in processes:
            process.kill()


class Clock:
    """Counts runs, and estimates from those that were trained how long the others take.

    Args:
        total: the number of all runs, also those that aren't known yet.
        at_once: how many are trained at the same time.
    """

    def __init__(self, total: int, at_once: int):
        self.total, self._at_once = total, at_once
        self._left: dict[str, int] = {}
        self._started: dict[str, float] = {}
        self._cost_done, self._seconds_done, self._n_trained = 0, 0.0, 0
        self._n_begun = self._n_done = 0

    def skip(self, n: int) -> None:
        """Counts runs that are finished already."""
        self._n_begun, self._n_done = self._n_begun + n, self._n_done + n

    def add(self, jobs: Sequence[Job]) -> None:
        """Notes runs that are to be trained now."""
        self._left |= {job.name: max(1, job.epochs_left) for job in jobs}

    def start(self, job: Job) -> str:
        """Notes the beginning of a run; returns the message of it."""
        self._started[job.name] = time.monotonic()
        self._n_begun += 1
        return f"run {self._n_begun} of {self.total}"

    def finish(self, job: Job, reason: str) -> str:
        """Notes the end of a run; returns the message of it, with the time that the others may take."""
        seconds = time.monotonic() - self._started[job.name]
        cost = self._left.pop(job.name)
        self._n_done += 1
        if not reason:
            # The duration of a run that failed is no estimate for others.
            self._cost_done, self._seconds_done = self._cost_done + cost, self._seconds_done + seconds
            self._n_trained += 1
        what = f"failed: {reason}" if reason else f"done in {format_seconds(seconds)}"
        return f"{what}; {self._n_done} of {counted(self.total, 'run')} done{self._estimate()}"

    def _estimate(self) -> str:
        n_unknown = max(0, self.total - self._n_done - len(self._left))
        if not self._cost_done or not (self._left or n_unknown):
            return ""
        rate, now = self._seconds_done / self._cost_done, time.monotonic()
        begun = {name: cost for name, cost in self._left.items() if name in self._started}
        # When each of the places for a run will be free.
        free = [max(0.0, rate * cost - (now - self._started[name])) for name, cost in begun.items()]
        free += [0.0] * (self._at_once - len(free))
        heapq.heapify(free)
        known = [rate * cost for name, cost in self._left.items() if name not in begun]
        for seconds in [*known, *[self._seconds_done / self._n_trained] * n_unknown]:
            heapq.heapreplace(free, free[0] + seconds)
        return f", about {format_seconds(max(free))} left"
