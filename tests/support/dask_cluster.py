"""A Dask scheduler and its workers, each a process of its own on 127.0.0.1."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time


class DaskCluster:
    """A scheduler and workers with one thread each; ports are chosen by the system.

    Args:
        folder: receives logs, the workers' files and the file that states the scheduler's address.
        n_workers: the number of workers.

    Attributes:
        scheduler: the process of the scheduler.
        workers: the processes of the workers.
    """

    def __init__(self, folder: pathlib.Path, n_workers: int):
        self.folder, self.workers = folder, []
        self._file = folder / "scheduler.json"
        common = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.scheduler = self._start("scheduler", *common, "--scheduler-file", self._file)
        # Workers wait for the file: all processes start at once.
        for _ in range(n_workers):
            self.add_worker()

    @property
    def address(self) -> str:
        """The scheduler's address, as soon as it listens."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                return json.loads(self._file.read_text())["address"]
            time.sleep(0.02)
        raise TimeoutError((self.folder / "scheduler.log").read_text())

    def add_worker(self, **environment: str) -> subprocess.Popen:
        """Starts a worker, which connects as soon as it can."""
        options = ("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        folder = ("--scheduler-file", self._file, "--local-directory", self.folder)
        self.workers.append(self._start("worker", *options, *folder, **environment))
        return self.workers[-1]

    def close(self) -> None:
        """Ends all processes."""
        for process in [*self.workers, self.scheduler]:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()

    def _start(self, name: str, *arguments: object, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *map(str, arguments)]
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with (self.folder / f"{name}.log").open("a") as log:
            settings = {"stdout": log, "stderr": log, "cwd": self.folder}
            return subprocess.Popen(command, env=os.environ | paths | environment, **settings)
