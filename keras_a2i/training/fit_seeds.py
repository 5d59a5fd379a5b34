"""`fit_seeds`: the same training with several random seeds, one run folder each."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Unpack

import keras

from keras_a2i.counts import counted
from keras_a2i.errors import RunsFailedError, UsageError
from keras_a2i.media.folder_lock import folder_lock
from keras_a2i.objectives import Objective
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.records.records import Records, as_records
from keras_a2i.remote.address import local_path
from keras_a2i.training.fit import check_unchanged
from keras_a2i.training.job import Job, Tell, check_same_training, is_trained, make_job, train_job
from keras_a2i.training.job_queue import Clock, resumable, run_jobs
from keras_a2i.training.plan import TrainingOptions, check_options, plan_run, select_options
from keras_a2i.training.run_folder import RunConfig, RunFolder
from keras_a2i.training.seeds_folder import check_seeds_folder, existing_runs


def fit_seeds(
    records: str | pathlib.Path | Records,
    out: str | pathlib.Path,
    *,
    seeds: int | Iterable[int],
    recipe: str | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    objectives: Sequence[Objective | keras.losses.Loss] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    jobs: int = 1,
    cache: bool | str | int = "auto",
    progress: Tell | None = None,
    command: Callable[[pathlib.Path, int], str] | None = None,
    **options: Unpack[TrainingOptions],
) -> list[pathlib.Path]:
    """Trains a model with each of several seeds; every run equals that of `fit(records, out / "seed-K", seed=K)`.

    Runs that an earlier call finished aren't trained again, and an unfinished run is resumed: after an interruption,
    the same call completes the remaining runs.

    Args:
        records: the records folder, or `Records`.
        out: the folder of the run folders `seed-0`, `seed-1` and so on.
        seeds: the seeds, or their number, counted from 0.
        recipe, settings: as for `fit`.
        objectives: as for `fit`; they are created again for each run from their configuration, so that custom classes
            must be registered with Keras.
        resume: the runs in `out` keep their recipe, settings, objectives and the options that aren't given; runs of new
            seeds use those of the first run. With `epochs`, finished runs are trained for longer.
        overwrite: replace runs in `out`.
        jobs: number of runs that train at the same time, each in its own process and, if there are GPUs, on its own
            GPU; 1 trains the runs in this process, one after the other. The models are the same.
        cache: as for `Records.dataset`; each process has its own cache.
        progress: called with a description of the current step.
        command: called with a run folder and its seed; returns what is stored in its `config.json`.
        **options: those of `fit`: epochs, batch_size, monitor, patience, restore_best_weights, jit_compile,
            dtype_policy and image_folder.

    Returns:
        The run folders in the order of the seeds. `a2i.compare` compares them once they are evaluated.

    Raises:
        LockedError: if another process is writing into `out`.
        UsageError: if `out` holds other files or runs with other settings, or an argument is out of range; nothing is
            trained then.
        TrainingInterrupted: after Ctrl-C; finished runs and finished epochs are saved.
        RunsFailedError: if runs failed, for example because a loss is no longer finite; the other runs are trained
            first.
    """
    records = as_records(records)
    out, numbers, given = local_path(out, "out"), read_seeds(seeds), select_options(options)
    check_jobs(jobs)
    if resume and (overwrite or recipe is not None or settings or objectives is not None):
        raise UsageError(
            "Resumed runs keep their recipe, settings and objectives, and aren't replaced. Received: recipe, settings, "
            "objectives or overwrite with resume=True. Leave them out"
        )
    check_seeds_folder(out)
    if resume:
        configs = _resumed_configs(records, out, numbers, given)
    else:
        new = plan_run(records, recipe=recipe, settings=settings, objectives=objectives, options=given)
        check_registered(new)
        configs = [dataclasses.replace(new, seed=seed) for seed in numbers]
    planned = []
    for config in configs:
        folder = out / f"seed-{config.seed}"
        if command is not None and (overwrite or not RunFolder(folder).exists):
            config = dataclasses.replace(config, command=command(folder, config.seed))
        planned.append(make_job(folder.name, folder, records, config, cache=cache, overwrite=overwrite))
    with folder_lock(out):
        if not resume:
            for job in planned:
                check_same_training(job)
        _train(planned, records, out, jobs, progress or (lambda _: None))
    return [pathlib.Path(job.folder) for job in planned]


def read_seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Returns the seeds of several runs: those that are given, or a number of them from 0 on.

    Raises:
        UsageError: if there are none, or they aren't different whole numbers from 0.
    """
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    is_whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in numbers)
    if not numbers or not is_whole or len(set(numbers)) < len(numbers):
        raise UsageError(
            "seeds must be a number of seeds from 1, or different whole numbers from 0. Received: "
            f"seeds={seeds if isinstance(seeds, int) else list(numbers)}"
        )
    return numbers


def check_jobs(jobs: int) -> None:
    """Raises a UsageError unless `jobs` is a number of trainings from 1."""
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise UsageError(f"jobs must be 1 or more trainings at the same time. Received: jobs={jobs!r}")


def check_registered(config: RunConfig) -> None:
    """Raises a UsageError unless the custom objectives of a run can be created again for each of several runs."""
    names = ", ".join(each["class_name"] for each in config.objectives or ())
    try:
        config.make_objectives()
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(
            "objectives of several runs must be of classes that are registered with Keras "
            f"(keras.saving.register_keras_serializable). Received: {names}"
        ) from error


def _resumed_configs(
    records: Records, out: pathlib.Path, seeds: Sequence[int], given: Mapping[str, Any]
) -> list[RunConfig]:
    """The configurations of runs that are resumed, and of new ones that are trained as the first of those."""
    existing = existing_runs(out)
    if not existing:
        raise UsageError(f"{out} must hold a run to be resumed. Received: a folder without one. Leave resume out")
    found = []
    for seed in seeds:
        run = RunFolder(out / f"seed-{seed}")
        before = (run if run.exists else existing[0]).read_config()
        config = dataclasses.replace(before, **given)
        check_unchanged(before, config, records)
        check_options(config, records)
        if not run.exists:
            if before.own_model:
                raise UsageError(
                    f"New seeds of a custom model must be trained with fit. Received: seed {seed} for the model of "
                    f"{existing[0].path}, which is a custom one"
                )
            config = dataclasses.replace(config, seed=seed, n_parameters=0, finished=False, command="")
        found.append(config)
    return found


def _train(planned: Sequence[Job], records: Records, out: pathlib.Path, jobs: int, tell: Tell) -> None:
    left = [job for job in planned if not is_trained(job)]
    clock = Clock(len(planned), jobs)
    if len(left) < len(planned):
        done = len(planned) - len(left)
        clock.skip(done)
        tell(f"{done:,} of {counted(len(planned), 'run')} had finished already")
    results = run_jobs(left, train_job, records, clock=clock, at_once=jobs, tell=tell)
    with resumable(out, overwrite=any(job.overwrite for job in planned)), contextlib.closing(results):
        failures = {job.name: reason for job, reason in results if reason}
    if failures:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise RunsFailedError(
            f"{len(failures)} of {counted(len(planned), 'run')} failed, the others are in {out}. {reasons}"
        )
