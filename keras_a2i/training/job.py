"""One run of several: what is to be trained where, and its training, now or resumed."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from keras_a2i.errors import KerasA2IError, ModelError, UsageError
from keras_a2i.records.records import Records
from keras_a2i.training.run_folder import RunConfig, RunFolder

Tell = Callable[[str], None]
"""Called with what is being done, in words."""

_MAX_REASON = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is to be trained, as values that JSON can hold: it may be trained in another process.

    Attributes:
        name: for people, such as "seed-0".
        folder: the run folder.
        records: the records folder.
        config: the `RunConfig` of the run, as a dictionary.
        cache: as for `Records.dataset`.
        overwrite: whether a run in the folder is replaced; otherwise it is resumed.
    """

    name: str
    folder: str
    records: str
    config: dict[str, Any]
    cache: bool | str | int = "auto"
    overwrite: bool = False

    @property
    def epochs_left(self) -> int:
        """Epochs that are still to be trained, by the history."""
        try:
            done = 0 if self.overwrite else len(RunFolder(self.folder).read_history())
        except ModelError:
            # A training that is resumed writes it anew.
            done = 0
        return max(0, self.config["epochs"] - done)


def make_job(name: str, folder: pathlib.Path, records: Records, config: RunConfig, **options: Any) -> Job:
    """Makes a job; the options are `cache` and `overwrite`."""
    return Job(name=name, folder=str(folder), records=str(records.path), config=dataclasses.asdict(config), **options)


def is_trained(job: Job) -> bool:
    """Whether the run of a job is finished already."""
    from keras_a2i.training.plan import list_differences

    run = RunFolder(job.folder)
    if job.overwrite or not run.exists or not run.model.is_file():
        return False
    config = run.read_config()
    return config.finished and not list_differences(config, RunConfig(**job.config))


def check_same_training(job: Job) -> None:
    """Checks that a run which an earlier call left in the folder of a job is the same training.

    Raises:
        UsageError: if it differs; the message names each difference.
        ModelError: if its config.json is damaged.
    """
    if not job.overwrite:
        check_same_settings(RunFolder(job.folder), RunConfig(**job.config))


def check_same_settings(run: RunFolder, config: RunConfig) -> None:
    """Checks that a run of an earlier call, where the folder holds one, is the training that a configuration states.

    Raises:
        UsageError, ModelError: as `check_same_training`.
    """
    from keras_a2i.training.plan import list_differences

    differences = list_differences(run.read_config(), config) if run.exists else {}
    if differences:
        named = "; ".join(f"{name} {before}, now {after}" for name, (before, after) in differences.items())
        raise UsageError(
            f"A run of an earlier call must have the same settings and records to be resumed. Received: {run.location} "
            f"with others ({named}). Choose another folder"
        )


def training_options(config: RunConfig) -> dict[str, Any]:
    """Returns the arguments of `fit`, beside recipe, objectives and seed, for the training that a configuration states.

    Args:
        config: of a run.
    """
    from keras_a2i.training.plan import TRAINING_OPTIONS

    return {name: getattr(config, name) for name in TRAINING_OPTIONS}


def train_job(job: Job, records: Records, tell: Tell) -> None:
    """Trains the run of a job, or resumes it where its folder holds one, as `fit` does.

    Args:
        job: what to train.
        records: its records.
        tell: called with the lines of `EpochLines`.
    """
    from keras_a2i.training.epoch_lines import EpochLines
    from keras_a2i.training.fit import fit
    from keras_a2i.training.run_folder import read_recipe

    config, run = RunConfig(**job.config), RunFolder(job.folder)
    new: dict[str, Any] = {"resume": True}
    if job.overwrite or not run.exists:
        new = {
            "recipe": read_recipe(config),
            "objectives": config.make_objectives(),
            "overwrite": job.overwrite,
            "command": config.command,
        }
    fit(
        records,
        job.folder,
        **new,
        **training_options(config),
        seed=config.seed,
        cache=job.cache,
        callbacks=[EpochLines(run, tell)],
        verbose=0,
        progress=lambda stage, done, total: tell(f"{stage}, epoch {done}/{total}"),
    )


def describe_failure(error: BaseException) -> str | None:
    """The reason why one run failed, in a line; None for an error that isn't the run's: of the code or the machine.

    A run fails by an error of the library, by memory that runs out, or by what the backend raises in a training.
    """
    if isinstance(error, KerasA2IError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError | RuntimeError) or type(error).__module__.startswith("tensorflow"):
        line = next(iter(str(error).strip().splitlines()), "")
        return f"{type(error).__name__}: {line[:_MAX_REASON]}".rstrip(": ")
    return None
