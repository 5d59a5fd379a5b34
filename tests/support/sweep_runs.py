"""A stand-in for the training of a sweep's runs: run folders with scores that follow from settings and seed."""

import math

from keras_a2i.errors import KerasA2IError
from keras_a2i.training.job import Job
from keras_a2i.training.run_folder import RunConfig, RunFolder


def score_of(rate: float, batch_size: int, seed: int) -> float:
    """A made-up error: best at a rate of 0.002, a little better in small batches, different for each seed."""
    return 0.05 + 0.01 * abs(math.log10(rate / 2e-3)) + 1e-4 * batch_size + 0.001 * math.sin(1 + 7 * seed)


class Trainings:
    """Counts the runs that it "trains"; a rate of 10 fails, and the run whose number is `stop_at` is interrupted."""

    def __init__(self, stop_at: int = 0):
        self.names: list[str] = []
        self.stop_at = stop_at

    def __call__(self, job: Job, records, tell) -> None:
        self.names.append(job.name)
        run, config = RunFolder(job.folder), RunConfig(**job.config)
        run.create(config)
        if len(self.names) == self.stop_at:
            raise KeyboardInterrupt
        rate = config.recipe["learning_rate"]
        if rate == 10:
            raise KerasA2IError("The loss must stay finite. Received: nan in epoch 1")
        error = score_of(rate, config.batch_size, config.seed)
        run.write_history(
            [{"epoch": 1, "val_mse": 1.0, "val_ssim": 0.0}, {"epoch": 2, "val_mse": error, "val_ssim": 1 - error}]
        )
        run.model.touch()
        run.create(RunConfig(**job.config | {"finished": True}))
