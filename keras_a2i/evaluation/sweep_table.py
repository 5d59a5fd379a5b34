"""The result of a sweep: its runs, and the combinations ranked by a score, with the files that are written."""

import dataclasses
import math
import pathlib
from typing import TYPE_CHECKING, Any

from keras_a2i.evaluation.replicates import Score, Value, gather_scores
from keras_a2i.evaluation.report_blocks import Cell, Column, Table
from keras_a2i.evaluation.report_format import decimals_for, distance, mean_and_interval
from keras_a2i.evaluation.report_sections import table
from keras_a2i.evaluation.report_text import render_table
from keras_a2i.evaluation.table_files import save_table
from keras_a2i.evaluation.verdict import LEVELS

if TYPE_CHECKING:
    import pandas as pd

WAITING, FINISHED, FAILED = "waiting", "finished", "failed"
_ARROWS = {"higher": " ↑", "lower": " ↓", "one": " → 1", "": ""}
_BETTER = {"higher": "higher is better", "lower": "lower is better", "one": "near 1 is best"}
_BRIEF = ("ssim", "gain_over_shuffled", "label_accuracy")
"""What tables for the terminal, for Markdown and for LaTeX show of reports; without these, they show the next."""
_BRIEF_OF_HISTORY = ("val_mse", "val_ssim")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepRun:
    """One training of a sweep.

    Attributes:
        combination: the name of its combination of settings.
        settings: full name of a setting -> its value.
        seed: its random seed.
        folder: its run folder.
        state: "waiting", "finished" or "failed".
        reason: the reason why the run failed, or "".
        scores: the scores of the run's history and report, by id.
        level: the level of its verdict, or "".
    """

    combination: str
    settings: dict[str, Any]
    seed: int
    folder: pathlib.Path
    state: str = WAITING
    reason: str = ""
    scores: dict[str, Value] = dataclasses.field(default_factory=dict)
    level: str = ""

    @property
    def name(self) -> str:
        """The name of the run: the path of its folder within the folder of the sweep."""
        return f"{self.combination}/seed-{self.seed}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CombinationRuns:
    """A combination of settings with its runs, one per seed.

    Attributes:
        name: the name of the folder.
        settings: full name of a setting -> its value, as `get_recipe` accepts them.
        runs: in the order of the seeds.
        rank: the rank by the score of the ranking, from 1; 0 for a combination without this score.
    """

    name: str
    settings: dict[str, Any]
    runs: tuple[SweepRun, ...]
    rank: int = 0

    @property
    def n_failed(self) -> int:
        """The number of failed runs."""
        return sum(run.state == FAILED for run in self.runs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """The runs of a sweep.

    Attributes:
        folder: the folder of the sweep.
        runs: in the order in which they are trained.
        by: id of the score that ranks the combinations.
        better: which values of it are better: "higher", "lower" or "one".
    """

    folder: pathlib.Path
    runs: list[SweepRun]
    by: str
    better: str

    @property
    def combinations(self) -> list[CombinationRuns]:
        """The best combinations first, those with failed runs after the others, and those without the score last."""
        groups: dict[str, list[SweepRun]] = {}
        for run in self.runs:
            groups.setdefault(run.combination, []).append(run)
        found = [
            CombinationRuns(name=name, settings=runs[0].settings, runs=tuple(runs)) for name, runs in groups.items()
        ]
        means = {each.name: self._score_of(each).means[0] for each in found}
        ranked = sorted(
            (each for each in found if math.isfinite(means[each.name])),
            key=lambda each: (each.n_failed > 0, distance(means[each.name], self.better)),
        )
        rest = [each for each in found if not math.isfinite(means[each.name])]
        return [dataclasses.replace(each, rank=i + 1) for i, each in enumerate(ranked)] + rest

    @property
    def best(self) -> CombinationRuns | None:
        """The combination that ranks first, if one has the score."""
        first = next(iter(self.combinations), None)
        return first if first is not None and first.rank else None

    @property
    def failed(self) -> list[SweepRun]:
        """The runs that failed."""
        return [run for run in self.runs if run.state == FAILED]

    def scores(self) -> list[Score]:
        """The scores of all combinations, in the order of `combinations`; the one that ranks comes first."""
        found = gather_scores([[run.scores for run in each.runs] for each in self.combinations])
        return sorted(found, key=lambda score: score.id != self.by)

    def to_frame(self) -> "pd.DataFrame":
        """One row per combination, the best first.

        Returns:
            The columns rank, those of the settings, n_seeds (finished), n_failed, and of each score its mean, by its
            id, its sample standard deviation (id_std) and the ends of the 95 % interval of the mean (id_low, id_high),
            which are nan for one seed.
        """
        import pandas as pd

        rows = self.combinations
        columns: dict[str, Any] = {"rank": [row.rank or None for row in rows]}
        columns |= {name: [_plain(row.settings[name]) for row in rows] for name in self._settings()}
        columns["n_seeds"] = [sum(run.state == FINISHED for run in row.runs) for row in rows]
        columns["n_failed"] = [row.n_failed for row in rows]
        for score in self.scores():
            columns |= score.to_columns()
        return pd.DataFrame(columns).astype({"rank": "Int64"})

    def runs_frame(self) -> "pd.DataFrame":
        """One row per run: its settings, seed, state, reason, folder (within the sweep's) and scores by their ids."""
        import pandas as pd

        return pd.DataFrame(
            [
                {name: _plain(run.settings[name]) for name in self._settings()}
                | {"seed": run.seed, "state": run.state, "reason": run.reason, "folder": run.name}
                | {id: value.value for id, value in run.scores.items()}
                for run in self.runs
            ]
        )

    def to_table(self) -> Table:
        """One row per combination, the best first: its settings, and means over seeds with their intervals."""
        rows, scores, settings = self.combinations, self.scores(), self._settings()
        has_levels = any(run.level for run in self.runs)
        columns = [Column("", True), *(self._column(name) for name in settings), Column("Seeds", True)]
        brief = {self.by, *(_BRIEF if has_levels else _BRIEF_OF_HISTORY)}
        columns += [Column(score.title + _ARROWS[score.better], True, brief=score.id in brief) for score in scores]
        columns += [Column("Verdict", style="words", brief=False)] if has_levels else []
        cells = []
        for i, row in enumerate(rows):
            texts: list[Cell | str] = [
                str(row.rank or ""),
                *(str(_plain(row.settings[name])) for name in self._settings()),
            ]
            texts.append(_seeds_cell(row))
            for score in scores:
                decimals = decimals_for(score.means) if len(rows) > 1 else None
                texts.append(mean_and_interval(score.means[i], score.intervals[i], decimals))
            levels = dict.fromkeys(run.level for run in row.runs if run.level)
            texts += ["; ".join(LEVELS[level].heading for level in levels)] if has_levels else []
            cells.append(texts)
        return table(columns, cells, self.caption)

    @property
    def caption(self) -> str:
        """An explanation of the table."""
        n = max((sum(run.state == FINISHED for run in row.runs) for row in self.combinations), default=0)
        what = "means over seeds, with 95 % intervals in brackets" if n > 1 else "one seed, without intervals"
        return (
            f"Ranked by {self.by} ({_BETTER[self.better]}); {what}. The score of the best combination is biased "
            "upwards, because the same held-out pairs were used to choose it."
        )

    @property
    def note(self) -> str:
        """A sentence if the intervals of the first two combinations overlap; "" if they don't, or can't be compared."""
        intervals = next((score.intervals for score in self.scores() if score.id == self.by), ())
        (low, high), (other_low, other_high) = [*intervals, (math.nan, math.nan), (math.nan, math.nan)][:2]
        if not all(map(math.isfinite, (low, high, other_low, other_high))) or high < other_low or other_high < low:
            return ""
        return "The intervals of the first two combinations overlap: train more seeds to find out whether they differ."

    def render_text(self) -> str:
        """The table for a terminal: settings that vary, the score of the ranking, and a few other scores."""
        return render_table(self.to_table())

    def save(self, path: str | pathlib.Path) -> pathlib.Path:
        """Writes the table; the file is complete or not written at all.

        Args:
            path: a file that ends in .html, .csv, .md (Markdown) or .tex (a LaTeX table, with the package booktabs).
                The first two hold every score, the others what the terminal shows.

        Raises:
            UsageError: if the path has another suffix.
        """
        return save_table(path, self.to_table(), self.to_frame(), title="Sweep", heading="Combinations of settings")

    def _column(self, name: str) -> Column:
        """Of a setting; the terminal shows those that vary."""
        return Column(name, True, brief=len({str(run.settings[name]) for run in self.runs}) > 1)

    def _settings(self) -> list[str]:
        return list(dict.fromkeys(name for run in self.runs for name in run.settings))

    def _score_of(self, row: CombinationRuns) -> Score:
        values = tuple(run.scores[self.by].value for run in row.runs if self.by in run.scores)
        return Score(self.by, self.by, self.better, (values,))


def _seeds_cell(row: CombinationRuns) -> Cell:
    finished = sum(run.state == FINISHED for run in row.runs)
    words = str(finished) if finished == len(row.runs) else f"{finished} of {len(row.runs)}"
    reasons = dict.fromkeys(run.reason for run in row.runs if run.reason)
    return Cell(f"{words}, {row.n_failed} failed" if row.n_failed else words, "; ".join(reasons))


def _plain(value: Any) -> Any:
    """A value as a cell holds it."""
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value
