"""The state of a sweep on disk: what is to be trained, what is done, what failed and why, and the table so far."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from keras_a2i.errors import KerasA2IError, UsageError
from keras_a2i.evaluation.compare import scores_of
from keras_a2i.evaluation.report import JSON_NAME, read_report, replace_file
from keras_a2i.evaluation.run_scores import training_scores
from keras_a2i.evaluation.sweep_table import FAILED, FINISHED, Sweep, SweepRun
from keras_a2i.media.folder_lock import LOCK_FILE
from keras_a2i.media.json_file import write_json
from keras_a2i.recipes.grid import Combination, combination_name
from keras_a2i.training.run_folder import SCORES, RunFolder

STATE_NAME = "sweep.json"
TABLE_NAMES = ("table.csv", "table.md", "table.tex", "table.html")
RUNS_NAME = "runs.csv"


def check_sweep_folder(folder: pathlib.Path) -> None:
    """Raises a UsageError unless a folder is new, empty or that of an earlier sweep."""
    if folder.is_file():
        raise UsageError(f"folder must be a folder. Received: the file {folder}")
    names = {path.name for path in folder.iterdir()} - {LOCK_FILE} if folder.is_dir() else set()
    if names and STATE_NAME not in names:
        raise UsageError(
            f"A sweep must be written to a new or empty folder, or that of an earlier sweep. Received: {folder}, which "
            f"holds {'a run' if RunFolder(folder).exists else 'other files'}"
        )


class SweepFolder:
    """Keeps the runs of a sweep, and writes them after every change: sweep.json, the tables, and runs.csv.

    Args:
        folder: that of the sweep.
        by: the score that ranks.
        better: which of its values are better.
        is_evaluated: whether reports are read.
        about: what else sweep.json states of the sweep.
    """

    def __init__(self, folder: pathlib.Path, by: str, better: str, *, is_evaluated: bool, about: Mapping[str, Any]):
        self._folder, self._by, self._better, self._is_evaluated = folder, by, better, is_evaluated
        self._about, self._runs = about, dict[str, SweepRun]()

    @property
    def sweep(self) -> Sweep:
        """What the sweep has found so far."""
        return Sweep(folder=self._folder, runs=list(self._runs.values()), by=self._by, better=self._better)

    def add(self, combination: Combination, seed: int) -> SweepRun:
        """Adds a run that is to be trained."""
        name = combination_name(combination)
        folder = self._folder / name / f"seed-{seed}"
        run = SweepRun(combination=name, settings=combination, seed=seed, folder=folder)
        self._runs[run.name] = run
        return run

    def finish(self, name: str) -> None:
        """Notes that a run is finished, with its scores; that it failed if these can't be read."""
        run = self._runs[name]
        try:
            scores, level = self._read_scores(run.folder)
        except KerasA2IError as error:
            self.fail(name, str(error))
            return
        self._runs[name] = dataclasses.replace(run, state=FINISHED, scores=scores, level=level)

    def fail(self, name: str, reason: str) -> None:
        """Notes that a run failed."""
        self._runs[name] = dataclasses.replace(self._runs[name], state=FAILED, reason=reason)

    def mean(self, combination: Combination) -> float | None:
        """The mean of the score that ranks over the seeds of a combination; None if a run failed or has none."""
        name = combination_name(combination)
        runs = [run for run in self._runs.values() if run.combination == name]
        values = [run.scores[self._by].value for run in runs if self._by in run.scores]
        mean = sum(values) / len(values) if values and len(values) == len(runs) else math.nan
        return mean if math.isfinite(mean) else None

    def write(self) -> None:
        """Writes everything, each file whole or not at all."""
        sweep = self.sweep
        runs = [
            {
                "folder": run.name,
                "settings": run.settings,
                "seed": run.seed,
                "state": run.state,
                "reason": run.reason,
            }
            for run in sweep.runs
        ]
        write_json(self._folder / STATE_NAME, {**self._about, "by": self._by, "better": self._better, "runs": runs})
        replace_file(self._folder / RUNS_NAME, sweep.runs_frame().to_csv(index=False, lineterminator="\n"))
        for name in TABLE_NAMES:
            sweep.save(self._folder / name)

    def _read_scores(self, folder: pathlib.Path) -> tuple[dict, str]:
        own, monitor = training_scores(folder), RunFolder(folder).read_config().monitor
        shown = (self._by, monitor, *(f"val_{score}" for score in SCORES))
        scores = {id: own[id] for id in dict.fromkeys(shown) if id in own}
        if not self._is_evaluated:
            return scores, ""
        report = read_report(folder / JSON_NAME)
        return scores | scores_of(report), report.level
