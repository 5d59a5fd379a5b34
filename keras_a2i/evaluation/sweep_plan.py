"""What a sweep trains: the combinations of settings, checked before anything is trained, and their runs."""

import dataclasses
import difflib
import itertools
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from keras_a2i.errors import UsageError
from keras_a2i.evaluation.compare import MEASURES_SHOWN, OTHER_SCORES
from keras_a2i.evaluation.run_scores import better_of
from keras_a2i.recipes.grid import Combination, combination_name, grid
from keras_a2i.recipes.ranges import Range
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.records.records import Records
from keras_a2i.training.job import Job, make_job
from keras_a2i.training.plan import plan_run
from keras_a2i.training.run_folder import SCORES, RunConfig, RunFolder

CommandOf = Callable[[pathlib.Path, Combination, int], str]
"""Called with a run folder, its settings and its seed; returns the command line that repeats the run."""
_TRIED = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planner:
    """How a combination of settings becomes runs.

    Attributes:
        records: what is trained on.
        folder: that of the sweep.
        recipe: whose settings vary.
        objectives: custom objectives, or None.
        options: the options of the training that are given, see `plan_run`.
        seeds: one run each.
        cache: as for `Records.dataset`.
        command: what is stored in each config.json, or None.
    """

    records: Records
    folder: pathlib.Path
    recipe: Recipe
    objectives: Sequence[Any] | None
    options: Mapping[str, Any]
    seeds: Sequence[int]
    cache: bool | str | int
    command: CommandOf | None

    def plan(self, combination: Combination) -> RunConfig:
        """The configuration of the first run of a combination.

        Raises:
            UsageError: if there is no such setting, or a value is out of range, or they don't fit together.
        """
        options = {**self.options, "seed": self.seeds[0]}
        return plan_run(
            self.records, recipe=self.recipe, settings=combination, objectives=self.objectives, options=options
        )

    def make_jobs(self, combination: Combination) -> list[Job]:
        """The runs of a combination, one per seed; raises as `plan`."""
        name, config, found = combination_name(combination), self.plan(combination), []
        for seed in self.seeds:
            folder = self.folder / name / f"seed-{seed}"
            command = ""
            if self.command is not None and not RunFolder(folder).exists:
                command = self.command(folder, combination, seed)
            own = dataclasses.replace(config, seed=seed, command=command)
            found.append(make_job(f"{name}/{folder.name}", folder, self.records, own, cache=self.cache))
        return found

    def check_values(self, values: Mapping[str, Sequence[Any]]) -> RunConfig:
        """Checks that every value can be trained in one combination at least; of ranges both ends.

        Returns:
            The first configuration that was planned.

        Raises:
            UsageError: as `plan`, for the first value with which no combination can be planned; of large grids 200 are
                tried.
        """
        ends = {name: [end for value in each for end in _ends(value)] for name, each in values.items()}
        tried = [{**ends, name: [value]} for name, each in ends.items() for value in each]
        planned = [self._plan_any(itertools.islice(grid(each), _TRIED)) for each in tried]
        return planned[0]

    def _plan_any(self, combinations: Iterable[Combination]) -> RunConfig:
        errors = []
        for combination in combinations:
            try:
                return self.plan(combination)
            except UsageError as error:
                errors.append(error)
        raise errors[0]


def check_score(by: str, records: Records, *, is_evaluated: bool, has_own_objectives: bool) -> str:
    """Checks that runs will have a score, as far as that is known before they are trained.

    Args:
        by: id of the score.
        records: what is trained on.
        is_evaluated: whether the runs are evaluated.
        has_own_objectives: whether their objectives, and the columns of the history named after them, aren't known.

    Returns:
        Which of its values are better: "higher", "lower" or "one".

    Raises:
        UsageError: if no run can have the score.
    """
    # Its import registers every measure.
    import keras_a2i.evaluation.evaluate  # noqa: F401
    from keras_a2i.evaluation.measures import MEASURES
    from keras_a2i.evaluation.scoring import report_metrics
    from keras_a2i.objectives import OBJECTIVES

    names = ["val_loss", *(f"val_{score}" for score in SCORES), *(f"val_{id}_loss" for id in OBJECTIVES)]
    known = {name: better_of(name) for name in names}
    if has_own_objectives and by.startswith("val_"):
        return better_of(by)
    metrics = [metric for metric in report_metrics() if metric.brief and not metric.degenerate]
    reported = {metric.id: str(metric.better) for metric in metrics}
    reported |= {id: better for id, (_, better) in OTHER_SCORES.items() if id != "label_accuracy" or records.labels}
    reported |= {id: MEASURES[id].better for id in MEASURES_SHOWN}
    known |= reported if is_evaluated else {}
    if by in known:
        return known[by]
    if by in reported:
        raise UsageError(f"by must be a score of the training's history without an evaluation. Received: by={by!r}")
    near = difflib.get_close_matches(by, known, n=1)
    hint = f"The nearest is {near[0]}" if near else f"There are {', '.join(known)}"
    raise UsageError(f"by must be a score that the runs will have. Received: by={by!r}. {hint}")


def _ends(value: Any) -> tuple[Any, ...]:
    return (value.low, value.high) if isinstance(value, Range) else (value,)
