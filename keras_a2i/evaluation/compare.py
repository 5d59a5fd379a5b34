"""`compare`: evaluated runs side by side; runs that differ only by their seed are replicates and share a row."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.evaluation.contenders import SHUFFLED
from keras_a2i.evaluation.environment import read_config
from keras_a2i.evaluation.replicates import Score, Value, gather_scores
from keras_a2i.evaluation.report import JSON_NAME, Report, read_report
from keras_a2i.evaluation.report_blocks import Column, Table
from keras_a2i.evaluation.report_format import BETTER, number
from keras_a2i.evaluation.report_sections import table
from keras_a2i.evaluation.report_text import render_table
from keras_a2i.evaluation.table_files import save_table
from keras_a2i.evaluation.verdict import LEVELS
from keras_a2i.remote.address import local_path

if TYPE_CHECKING:
    import pandas as pd

_CAPTION = "Means over runs that differ only by their seed, ± the sample standard deviation of the runs (no interval)."
OTHER_SCORES = {
    "gain_over_shuffled": ("SSIM gain over shuffled audio", "higher"),
    "r1": ("recall@1", "higher"),
    "label_accuracy": ("label accuracy", "higher"),
}
"""Scores of a report beside its metrics and measures: id -> title, and which is better."""
MEASURES_SHOWN = ("own-source", "memorisation", "density", "coverage")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        names: recipe and records of each row.
        runs: the run folders of each row: its replicates.
        levels: the levels of their verdicts, by row.
        scores: the columns.
    """

    names: list[str]
    runs: list[list[str]]
    levels: list[list[str]]
    scores: list[Score]

    def to_frame(self) -> "pd.DataFrame":
        """One row per recipe and records.

        Returns:
            The columns name, n_runs, verdict, and of each score its mean, by its id, its sample standard deviation
            (id_std) and the ends of the 95 % interval of the mean (id_low, id_high), which are nan for one run.
        """
        import pandas as pd

        columns: dict[str, object] = {
            "name": self.names,
            "n_runs": [len(group) for group in self.runs],
            "verdict": ["; ".join(dict.fromkeys(group)) for group in self.levels],
        }
        for score in self.scores:
            columns |= score.to_columns()
        return pd.DataFrame(columns)

    def to_table(self) -> Table:
        """The comparison as a table of a report."""
        columns = [Column("Recipe on records"), Column("Runs", True)]
        columns += [Column(score.title, True, BETTER.get(score.better, "")) for score in self.scores]
        rows = []
        for i, name in enumerate(self.names):
            cells = [_with_spread(score.means[i], score.spreads[i]) for score in self.scores]
            verdict = "; ".join(LEVELS[level].heading for level in dict.fromkeys(self.levels[i]))
            rows.append((name, str(len(self.runs[i])), *cells, verdict))
        return table([*columns, Column("Verdict", style="words")], rows, _CAPTION)

    def render_text(self) -> str:
        """The table for a terminal, and below it what its figures are."""
        return f"{render_table(self.to_table())}\n\n{_CAPTION}"

    def save(self, path: str | pathlib.Path) -> pathlib.Path:
        """Writes the comparison; the file is complete or not written at all.

        Args:
            path: a file that ends in .html, .csv, .md (Markdown) or .tex (a LaTeX table, with the package booktabs).

        Raises:
            UsageError: if the path has another suffix.
        """
        return save_table(
            path, self.to_table(), self.to_frame(), title="Comparison of runs", heading="Recipes and records"
        )


def compare(runs: Iterable[str | pathlib.Path]) -> Comparison:
    """Compares evaluated runs.

    Args:
        runs: run folders with a report.json, which `report.save(run)` writes. A run that is given twice, even by
            different paths, is used once.

    Returns:
        One row per combination of recipe, settings, records of the training, and records and split of the evaluation;
        runs that differ only by their seed are replicates.

    Raises:
        ModelError: if a run has no report of its present model.
        UsageError: if no run is given.
    """
    folders = [local_path(run, "runs") for run in runs]
    if not folders:
        raise UsageError("runs must hold at least one run folder. Received: none")
    once: dict[pathlib.Path, pathlib.Path] = {}
    for folder in folders:
        folder = folder.parent if folder.name == JSON_NAME else folder
        once.setdefault(folder.resolve(), folder)
    return compare_reports((folder, read_report(folder)) for folder in once.values())


def compare_reports(found: Iterable[tuple[pathlib.Path, Report]]) -> Comparison:
    """As `compare`, for run folders whose reports have been read, at least one."""
    groups: dict[tuple, list[tuple[pathlib.Path, Report]]] = {}
    for folder, report in found:
        trained_on = (read_config(folder) or {}).get("fingerprint", "")
        key = (report.configuration or str(folder), trained_on, _evaluated_on(report), report.split)
        groups.setdefault(key, []).append((folder, report))
    reports = [[report for _, report in group] for group in groups.values()]
    return Comparison(
        names=_names([group[0][0] for group in groups.values()], [group[0] for group in reports]),
        runs=[[str(folder) for folder, _ in group] for group in groups.values()],
        levels=[[report.level for report in group] for group in reports],
        scores=gather_scores([[scores_of(report) for report in group] for group in reports]),
    )


def _evaluated_on(report: Report) -> str:
    """What tells the records of an evaluation apart: the path in reports of older versions, without a fingerprint."""
    return report.records_fingerprint or report.records


def scores_of(report: Report) -> dict[str, Value]:
    """What a comparison shows of a report, by id."""
    model, found = report.contenders[0], {}
    metrics = [metric for metric in report.metrics if metric.brief and not metric.degenerate]
    scores = {metric.id: Value(metric.title, metric.better, model.means[metric.id]) for metric in metrics}
    baselines = [contender.means["ssim"] for contender in report.contenders if contender.kind == "baseline"]
    if baselines:
        scores["best_baseline_ssim"] = Value("best baseline's SSIM", "", max(baselines))
    gain = report.gain(SHUFFLED)
    if gain is not None:
        found["gain_over_shuffled"] = gain.mean
    if report.retrieval is not None:
        found["r1"] = report.retrieval.r1
    if report.labels is not None:
        found["label_accuracy"] = report.labels.generated
    scores |= {id: Value(*OTHER_SCORES[id], value) for id, value in found.items()}
    shown = [result for result in report.measures if result.id in MEASURES_SHOWN]
    return scores | {result.id: Value(result.title, result.better, result.value) for result in shown}


def _names(folders: list[pathlib.Path], reports: list[Report]) -> list[str]:
    """Recipe and records of each row; rows of one name are told apart by their hash or folder, records and split."""
    names = []
    for folder, report in zip(folders, reports, strict=True):
        config = read_config(folder)
        recipe = config["recipe"]["name"] if config else folder.name
        names.append(f"{recipe} on {pathlib.Path(report.records).name}")
    for part in (
        lambda report: report.configuration or report.model,
        lambda report: f"split {report.split}",
        lambda report: report.records,
        lambda report: _evaluated_on(report)[:12],
    ):
        parts = [part(report) for report in reports]
        shared = [[other for other, taken in zip(parts, names, strict=True) if taken == name] for name in names]
        names = [
            f"{name} ({own})" if len(set(group)) > 1 else name
            for name, own, group in zip(names, parts, shared, strict=True)
        ]
    return names


def _with_spread(mean: float, spread: float) -> str:
    return number(mean, 3) + (f" ± {number(spread, 3)}" if np.isfinite(spread) else "")
