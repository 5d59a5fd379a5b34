"""`sweep`: trains every combination of settings, with one or several seeds each, and ranks them by a score."""

import contextlib
import dataclasses
import math
import pathlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Unpack

import keras

from keras_a2i.counts import counted
from keras_a2i.errors import ModelError, RunsFailedError, UsageError
from keras_a2i.evaluation.report import read_report
from keras_a2i.evaluation.sweep_folder import SweepFolder, check_sweep_folder
from keras_a2i.evaluation.sweep_plan import CommandOf, Planner, check_score
from keras_a2i.evaluation.sweep_table import Sweep
from keras_a2i.media.folder_lock import folder_lock
from keras_a2i.objectives import Objective
from keras_a2i.recipes import get_recipe
from keras_a2i.recipes.default_recipe import choose_recipe
from keras_a2i.recipes.grid import MAX_COMBINATIONS, Combination, count_combinations, draw, grid, resolve_values
from keras_a2i.recipes.ranges import Range
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.records.records import Records, as_records
from keras_a2i.remote.address import local_path
from keras_a2i.training.fit_seeds import check_jobs, check_registered, read_seeds
from keras_a2i.training.job import Job, Tell, check_same_training, is_trained, train_job
from keras_a2i.training.job_queue import Clock, resumable, run_jobs
from keras_a2i.training.plan import TrainingOptions, select_options
from keras_a2i.version import library_versions

SEARCHERS = ("grid", "optuna")
SPLIT = "val"
"""The split that trainings score, and that evaluations score again in full."""


class Searcher(Protocol):
    """What chooses the combinations of a sweep.

    Attributes:
        total: the number of combinations in all.
    """

    total: int

    def ask(self) -> list[Combination]:
        """The next combinations, none when the search is over."""

    def tell(self, combination: Combination, mean: float | None) -> None:
        """Accepts the mean over the seeds of a combination of `ask`, None if it failed."""


class ListedCombinations:
    """Combinations that are known before the first is trained.

    Args:
        combinations: all of them.
    """

    def __init__(self, combinations: Sequence[Combination]):
        self.total, self._left = len(combinations), list(combinations)

    def ask(self) -> list[Combination]:
        left, self._left = self._left, []
        return left

    def tell(self, combination: Combination, mean: float | None) -> None:
        return


def sweep(
    records: str | pathlib.Path | Records,
    folder: str | pathlib.Path,
    *,
    settings: Mapping[str, Any],
    recipe: str | Recipe | None = None,
    objectives: Sequence[Objective | keras.losses.Loss] | None = None,
    seeds: int | Iterable[int] = 1,
    trials: int | None = None,
    searcher: str = "grid",
    by: str | None = None,
    evaluate: bool = True,
    strict: bool = False,
    jobs: int = 1,
    cache: bool | str | int = "auto",
    progress: Tell | None = None,
    command: CommandOf | None = None,
    **options: Unpack[TrainingOptions],
) -> Sweep:
    """Trains combinations of settings and ranks them.

    Each combination and seed has a run folder, `folder / "learning_rate=0.001,batch_size=16" / "seed-0"`, with the same
    run that `fit` trains with these settings and this seed. Finished runs aren't trained again, and unfinished runs are
    resumed: after an interruption, the same call completes the sweep, and a call with more values or seeds extends it.
    A run that fails, for example because its loss is no longer finite, is noted with the reason, and the other runs are
    trained; the next call tries it again.

    After every run, `folder` contains `sweep.json` (the state of each run), `table.csv`, `.md`, `.tex` and `.html` (a
    row per combination) and `runs.csv` (a row per run).

    Args:
        records: the records folder, or `Records`, with held-out pairs.
        folder: the folder to create.
        settings: name of a setting, as for `get_recipe` -> its values, such as {"learning_rate": [1e-3, 2e-3]}. If a
            value is itself a list, as for "generator.channels", the values are a list of lists.
        recipe: name of a recipe or a `Recipe`; None chooses one that suits the records, see `choose_recipe`.
        objectives: as for `fit`; custom classes must be registered with Keras.
        seeds: the seeds of each combination, or their number, counted from 0.
        trials: train this number of combinations, drawn from all combinations with the first seed; None trains all.
        searcher: "grid" trains all combinations, or `trials` random ones. With "optuna", Optuna chooses `trials`
            combinations by the scores of the earlier ones (its sampler TPE), also from ranges (`a2i.Range`). This needs
            the extra optuna; the search is stored in `folder`, and the same call resumes it, also with more trials.
        by: id of the score that ranks the combinations: a column of history.csv such as "val_ssim", or a score of the
            reports such as "ssim" or "gain_over_shuffled"; None is the score that the recipe monitors.
        evaluate: evaluate each run after its training, see `a2i.evaluate`, and write the report into the run folder.
        strict: stop at the first run that fails.
        jobs: number of runs that train at the same time, each in its own process and, if there are GPUs, on its own
            GPU; 1 trains the runs in this process, one after the other. The models are the same.
        cache: as for `Records.dataset`; each process has its own cache.
        progress: called with a description of the current step.
        command: called with a run folder, its settings and its seed; returns what is stored in its `config.json`.
        **options: those of `fit`: epochs, batch_size, monitor, patience, restore_best_weights, jit_compile,
            dtype_policy and image_folder.

    Returns:
        The runs with their scores: `sweep.best.settings`, `sweep.to_frame()`, `sweep.render_text()`, `sweep.failed`.

    Raises:
        LockedError: if another process is writing into `folder`.
        UsageError: if the recipe has no such setting or doesn't accept a value, `folder` contains other files or other
            runs, or an argument is out of range; nothing is trained then.
        TrainingInterrupted: after Ctrl-C; finished runs and finished epochs are saved.
        RunsFailedError: if a run failed and `strict` is set.
    """
    records, folder = as_records(records), local_path(folder, "folder")
    numbers, given = read_seeds(seeds), select_options(options)
    check_jobs(jobs)
    check_sweep_folder(folder)
    records.require_split(SPLIT, "A sweep compares held-out scores")
    recipe = choose_recipe(records)[0] if recipe is None else recipe
    recipe = get_recipe(recipe) if isinstance(recipe, str) else recipe
    values = resolve_values(recipe, settings)
    _check_grid(values, given)
    _check_search(values, searcher, trials)
    planner = Planner(
        records=records,
        folder=folder,
        recipe=recipe,
        objectives=objectives,
        options=given,
        seeds=numbers,
        cache=cache,
        command=command,
    )
    first = planner.check_values(values)
    check_registered(first)
    by = first.monitor if by is None else by
    better = check_score(by, records, is_evaluated=evaluate, has_own_objectives=objectives is not None)
    about = {"recipe": recipe.name, "records": str(records.path), "evaluated": evaluate}
    about["versions"] = library_versions("keras", keras.backend.backend(), "numpy")
    with folder_lock(folder):
        state = SweepFolder(folder, by, better, is_evaluated=evaluate, about=about)
        search = _open_search(planner, values, searcher, trials, by, better, jobs)
        trainings = _Trainings(
            planner=planner,
            state=state,
            clock=Clock(search.total * len(numbers), jobs),
            is_evaluated=evaluate,
            is_strict=strict,
            at_once=jobs,
            tell=progress or (lambda _: None),
        )
        while combinations := search.ask():
            trainings.run(combinations)
            for combination in combinations:
                search.tell(combination, state.mean(combination))
    return state.sweep


def train_and_evaluate(job: Job, records: Records, tell: Tell) -> None:
    """Trains the run of a job, or resumes it, and writes its report into its folder."""
    from keras_a2i.evaluation.evaluate import evaluate

    if not is_trained(job):
        train_job(job, records, tell)
    tell("evaluating ...")
    command = shlex.join(["keras-a2i", "evaluate", job.folder, job.records]) if job.config["command"] else ""
    evaluate(job.folder, records, split=SPLIT, command=command, verbose=0).save(job.folder)


def _check_grid(values: Mapping[str, Sequence[Any]], given: Mapping[str, Any]) -> None:
    if not values:
        raise UsageError("settings must hold at least one setting with its values. Received: none. See fit_seeds")
    twice = [name for name in values if name in given]
    if twice:
        raise UsageError(f"{twice[0]} must be given once, as a setting or as an argument. Received: both")


def _check_search(values: Mapping[str, Sequence[Any]], searcher: str, trials: int | None) -> None:
    if searcher not in SEARCHERS:
        raise UsageError(f"searcher must be one of {', '.join(SEARCHERS)}. Received: searcher={searcher!r}")
    if trials is not None and trials < 1:
        raise UsageError(f"trials must be 1 or more combinations. Received: trials={trials}")
    if searcher == "optuna":
        if trials is None:
            raise UsageError("trials must be a number of combinations with searcher='optuna'. Received: trials=None")
        return
    ranges = [name for name, each in values.items() if any(isinstance(value, Range) for value in each)]
    if ranges:
        raise UsageError(
            f"A range needs a searcher. Received: a range of {ranges[0]} with searcher='grid'. Give its values one by "
            "one, or searcher='optuna'"
        )
    n = count_combinations(values)
    if trials is None and n > MAX_COMBINATIONS:
        raise UsageError(
            f"A grid must have at most {MAX_COMBINATIONS:,} combinations. Received: {n:,}. trials=N draws some of them"
        )


def _open_search(
    planner: Planner,
    values: Mapping[str, Sequence[Any]],
    searcher: str,
    trials: int | None,
    by: str,
    better: str,
    jobs: int,
) -> Searcher:
    if searcher == "grid" or trials is None:
        return ListedCombinations(draw(values, trials, planner.seeds[0]) if trials else list(grid(values)))
    from keras_a2i.evaluation.optuna_search import OptunaSearch

    # As many combinations as occupy every process.
    at_once = math.ceil(jobs / len(planner.seeds))
    return OptunaSearch(planner.folder, values, trials, by=by, better=better, seeds=planner.seeds, at_once=at_once)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Trainings:
    """Trains the runs of combinations that aren't finished, and notes the result of each."""

    planner: Planner
    state: SweepFolder
    clock: Clock
    is_evaluated: bool
    is_strict: bool
    at_once: int
    tell: Tell

    def run(self, combinations: Sequence[Combination]) -> None:
        planned = self._plan(combinations)
        # Before anything is written.
        for job in planned:
            check_same_training(job)
        done = [job.name for job in planned if _is_done(job, self.is_evaluated)]
        for name in done:
            self.state.finish(name)
        self.state.write()
        if done:
            self.clock.skip(len(done))
            self.tell(f"{len(done):,} of {counted(self.clock.total, 'run')} had finished already")
        self._train([job for job in planned if job.name not in done])

    def _plan(self, combinations: Sequence[Combination]) -> list[Job]:
        planned: list[Job] = []
        for combination in combinations:
            names = [self.state.add(combination, seed).name for seed in self.planner.seeds]
            try:
                planned += self.planner.make_jobs(combination)
            except UsageError as error:
                if self.is_strict:
                    raise
                self.clock.total -= len(names)
                for name in names:
                    self.state.fail(name, str(error))
                    self.tell(f"{name}: failed: {error}")
        return planned

    def _train(self, jobs: Sequence[Job]) -> None:
        work = train_and_evaluate if self.is_evaluated else train_job
        results = run_jobs(jobs, work, self.planner.records, clock=self.clock, at_once=self.at_once, tell=self.tell)
        with resumable(self.planner.folder), contextlib.closing(results):
            for job, reason in results:
                if reason:
                    self.state.fail(job.name, reason)
                else:
                    self.state.finish(job.name)
                self.state.write()
                if reason and self.is_strict:
                    raise RunsFailedError(f"{job.name} failed, and strict=True (--strict) stops at it: {reason}")


def _is_done(job: Job, is_evaluated: bool) -> bool:
    if not is_trained(job):
        return False
    try:
        return not is_evaluated or read_report(job.folder).split == SPLIT
    except ModelError:
        return False
