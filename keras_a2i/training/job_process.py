"""A run that is trained in a process of its own: how it is started, ended and understood, and what runs in it.

The process ends when its standard input does: so it never outlives the one that started it, however that ends.
"""

import _thread
import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from keras_a2i.errors import TrainingInterrupted
from keras_a2i.memory import keep_freed_memory
from keras_a2i.training.job import Job, describe_failure

SECONDS_TO_END = 60.0
"""What a process that is interrupted has to save its finished epochs."""
_INTERRUPTED = 128 + signal.SIGINT


class JobProcess:
    """A process that trains the run of a job.

    Args:
        job: what to train.
        work: the function that trains it, of a module.
        environment: variables in addition to those of this process.
    """

    def __init__(self, job: Job, work: Callable[..., None], environment: dict[str, str]):
        self._log = log_of(job)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # A Ctrl-C in the terminal reaches this process alone, which passes it on once.
        group: dict[str, Any] = {"start_new_session": True}
        if os.name == "nt":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | _inherited() | environment,
                **group,
            )
        task = {"work": f"{work.__module__}:{work.__qualname__}", "job": dataclasses.asdict(job)}
        self._write(json.dumps(task).encode() + b"\n")

    def wait(self) -> str:
        """Waits for the end; returns why the run failed, "" if it didn't."""
        assert self._process.stdout is not None
        with self._process.stdout as output:
            answer = output.read()
        status = self._process.wait()
        self.interrupt()
        if answer:
            reason = json.loads(answer)["reason"]
        elif status == _INTERRUPTED:
            reason = "Its process was interrupted. The finished epochs are saved, and the same call resumes from them"
        elif status < 0:
            reason = (
                f"Its process was ended by the signal {signal.Signals(-status).name}, perhaps because memory ran out. "
                "Make the same call with fewer jobs to resume"
            )
        else:
            reason = f"Its process ended with the exit status {status}: see {self._log}"
        if not reason:
            self._log.unlink(missing_ok=True)
        return reason

    def interrupt(self) -> None:
        """Closes the input of the process, which then saves the finished epochs and ends, if it runs."""
        assert self._process.stdin is not None
        # It may have ended before it read its task.
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def join(self, seconds: float) -> None:
        """Waits for the end of an interrupted process, and ends it if that takes longer."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends the process at once, if it runs."""
        if self._process.poll() is None:
            self._process.kill()

    def _write(self, task: bytes) -> None:
        assert self._process.stdin is not None
        # The exit status tells why a process ended at once.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(task)
            self._process.stdin.flush()


def log_of(job: Job) -> pathlib.Path:
    """The file beside the run folder that a process of its own writes to."""
    return pathlib.Path(f"{job.folder}.log")


def visible_gpus() -> list[str]:
    """The GPUs of NVIDIA that this process may use, as CUDA_VISIBLE_DEVICES names them, without touching them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split()


def environment_of(slot: int, at_once: int, gpus: Sequence[str]) -> dict[str, str]:
    """The variables of one of several processes: each sees one GPU, and takes of its memory only what it needs.

    Args:
        slot: which of those that run at the same time it is.
        at_once: how many run at the same time.
        gpus: as of `visible_gpus`; where there are fewer than processes, several share one.
    """
    if not gpus:
        return {}
    shared = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return shared | {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]}


def _inherited() -> dict[str, str]:
    """What makes the process import the same modules, with the same backend, as this one."""
    variables = {"PYTHONPATH": os.pathsep.join(path or str(pathlib.Path.cwd()) for path in sys.path)}
    if "keras" in sys.modules:
        variables["KERAS_BACKEND"] = sys.modules["keras"].backend.backend()
    return variables | {"TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")}


def main() -> None:
    """Trains the run of the job on the standard input; writes why it failed, or "", to the standard output."""
    # A process that was started in the background ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    keep_freed_memory()
    # What libraries print goes to the log.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    task = json.loads(_read_line())
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        reason = _run(task)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    answer.write(json.dumps({"reason": reason}))
    answer.close()


def _run(task: dict[str, Any]) -> str:
    from keras_a2i.records.records import Records

    module, _, name = task["work"].partition(":")
    work, job = getattr(importlib.import_module(module), name), Job(**task["job"])
    try:
        work(job, Records(job.records), _log_line)
    except TrainingInterrupted as error:
        _log_line(str(error))
        raise KeyboardInterrupt from error
    # Which errors are a run's own depends on the backend.
    except Exception as error:
        reason = describe_failure(error)
        if reason is None:
            raise
        return reason
    return ""


def _log_line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _read_line() -> bytes:
    """A line of the standard input, unbuffered: a thread that waits in a buffer keeps Python from ending."""
    line = b""
    while not line.endswith(b"\n") and (read := os.read(0, 1 << 16)):
        line += read
    return line


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    if hasattr(signal, "pthread_kill"):
        # A signal, so that what waits ends its waiting.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()
    time.sleep(SECONDS_TO_END)
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
