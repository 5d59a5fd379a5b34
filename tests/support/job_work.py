"""Stand-ins for a training, which other processes import: they write what they are told by the name of the job."""

import os
import pathlib
import signal
import time

from keras_a2i.errors import KerasA2IError, TrainingInterrupted
from keras_a2i.training.job import Job


def job(folder: pathlib.Path, name: str, records: object, epochs: int = 4, **options) -> Job:
    """A job whose run isn't a real one."""
    return Job(name=name, folder=str(folder / name), records=str(records), config={"epochs": epochs}, **options)


def work(job: Job, records, tell) -> None:
    """Does what the name of a job says, and leaves a file."""
    path = pathlib.Path(job.folder)
    path.mkdir(parents=True, exist_ok=True)
    tell(f"working on {job.name} with {sum(records.counts.values())} pairs")
    if job.name.startswith("fail"):
        raise KerasA2IError("The loss must stay finite. Received: nan")
    if job.name.startswith("memory"):
        raise MemoryError
    if job.name.startswith("bug"):
        raise AttributeError("a bug")
    if job.name.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if job.name.startswith("wait"):
        try:
            (path / "pid").write_text(str(os.getpid()))
            time.sleep(60)
        except KeyboardInterrupt:
            (path / "saved").touch()
            raise TrainingInterrupted("stopped") from None
    (path / "done").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
