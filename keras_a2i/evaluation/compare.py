"""`compare`: evaluated runs side by side; runs that differ by their seed only are replicates and share a row."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.evaluation.contenders import SHUFFLED
from keras_a2i.evaluation.environment import read_config
from keras_a2i.evaluation.report import Report, read_report, replace_file
from keras_a2i.evaluation.report_blocks import Column, Section, Table
from keras_a2i.evaluation.report_format import BETTER, number
from keras_a2i.evaluation.report_sections import table
from keras_a2i.evaluation.report_text import render_table
from keras_a2i.evaluation.verdict import LEVELS

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".html", ".csv", ".tex")


@dataclasses.dataclass(frozen=True)
class Figure:
    """One column of a comparison.

    Attributes:
        id: what it is found by.
        title: for tables.
        better: "higher", "lower" or "one"; "" where neither is better.
        means, spreads: mean and sample standard deviation over the replicates of each row; nan where there is none.
    """

    id: str
    title: str
    better: str
    means: tuple[float, ...]
    spreads: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        names: recipe and records of each row.
        runs: the run folders of each row: its replicates.
        levels: the levels of their verdicts, by row.
        figures: the columns.
    """

    names: list[str]
    runs: list[list[str]]
    levels: list[list[str]]
    figures: list[Figure]

    def to_frame(self) -> "pd.DataFrame":
        """One row per recipe and records: name, runs, levels, and each figure's mean and `_std` (nan for one run)."""
        import pandas as pd

        columns: dict[str, object] = {
            "name": self.names,
            "n_runs": [len(group) for group in self.runs],
            "verdict": ["; ".join(dict.fromkeys(group)) for group in self.levels],
        }
        for figure in self.figures:
            columns |= {figure.id: figure.means, f"{figure.id}_std": figure.spreads}
        return pd.DataFrame(columns)

    def to_table(self) -> Table:
        """The comparison as a table of a report."""
        columns = [Column("Recipe on records"), Column("Runs", True)]
        columns += [Column(figure.title, True, BETTER.get(figure.better, "")) for figure in self.figures]
        rows = []
        for i, name in enumerate(self.names):
            cells = [_with_spread(figure.means[i], figure.spreads[i]) for figure in self.figures]
            verdict = "; ".join(LEVELS[level].heading for level in dict.fromkeys(self.levels[i]))
            rows.append((name, str(len(self.runs[i])), *cells, verdict))
        caption = "Means over runs that differ by their seed only, ± their sample standard deviation."
        return table([*columns, Column("Verdict", style="words")], rows, caption)

    def render_text(self) -> str:
        """The table for a terminal."""
        return render_table(self.to_table())

    def save(self, path: str | pathlib.Path) -> pathlib.Path:
        """Writes the comparison, whole or not at all.

        Args:
            path: a file that ends in .html, .csv or .tex (a LaTeX table, with the package booktabs).

        Raises:
            UsageError: if the path has another suffix.
        """
        path = pathlib.Path(path)
        check_suffix(path, SUFFIXES)
        if path.suffix == ".csv":
            replace_file(path, self.to_frame().to_csv(index=False, lineterminator="\n"))
        elif path.suffix == ".tex":
            replace_file(path, self._latex())
        else:
            from keras_a2i.evaluation.report_html import render_template

            sections = [Section("runs", "Recipes and records", (self.to_table(),))]
            page = render_template("sections.html.j2", title="Comparison of runs", sections=sections)
            replace_file(path, page)
        return path

    def _latex(self) -> str:
        shown = self.to_table()
        lines = [r"\begin{tabular}{l" + "".join("r" if c.number else "l" for c in shown.columns[1:]) + "}", r"\toprule"]
        lines += [" & ".join(_latex_text(column.title) for column in shown.columns) + r" \\", r"\midrule"]
        lines += [" & ".join(_latex_text(cell.text) for cell in row.cells) + r" \\" for row in shown.rows]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def compare(runs: Iterable[str | pathlib.Path]) -> Comparison:
    """Compares evaluated runs.

    Args:
        runs: run folders that hold a report.json, as `evaluate` writes it with `report.save(run)`.

    Returns:
        One row per recipe, settings, records and split; runs that differ by their seed only are replicates.

    Raises:
        ModelError: if a run has no report.
        UsageError: if no run is given.
    """
    folders = [pathlib.Path(run) for run in runs]
    if not folders:
        raise UsageError("runs must hold at least one run folder. Received: none")
    return compare_reports((folder, read_report(folder)) for folder in folders)


def compare_reports(found: Iterable[tuple[pathlib.Path, Report]]) -> Comparison:
    """As `compare`, for run folders whose reports have been read, at least one."""
    groups: dict[tuple, list[tuple[pathlib.Path, Report]]] = {}
    for folder, report in found:
        config = read_config(folder) or {}
        key = (report.configuration or str(folder), config.get("fingerprint", report.records), report.split)
        groups.setdefault(key, []).append((folder, report))
    reports = [[report for _, report in group] for group in groups.values()]
    values = [[_figures_of(report) for report in group] for group in reports]
    ids = dict.fromkeys(id for group in values for figures in group for id in figures)
    return Comparison(
        names=_names([group[0][0] for group in groups.values()], [group[0] for group in reports]),
        runs=[[str(folder) for folder, _ in group] for group in groups.values()],
        levels=[[report.level for report in group] for group in reports],
        figures=[_column(id, values) for id in ids],
    )


def check_suffix(path: pathlib.Path, suffixes: Sequence[str]) -> None:
    """Raises a UsageError unless the path ends in one of the suffixes."""
    if path.suffix not in suffixes:
        one_of = "one of " if len(suffixes) > 1 else ""
        raise UsageError(f"path must end in {one_of}{', '.join(suffixes)}. Received: {path}")


def _figures_of(report: Report) -> dict[str, tuple[str, str, float]]:
    """id -> (title, better, value) of what a comparison shows of a report."""
    model = report.contenders[0]
    figures = {m.id: (m.title, m.better, model.means[m.id]) for m in report.metrics if m.brief and not m.degenerate}
    baselines = [c.means["ssim"] for c in report.contenders if c.kind == "baseline"]
    gain = report.gain(SHUFFLED)
    if baselines:
        figures["best_baseline_ssim"] = ("best baseline's SSIM", "", max(baselines))
    if gain is not None:
        figures["gain_over_shuffled"] = ("SSIM gain over shuffled audio", "higher", gain.mean)
    if report.retrieval is not None:
        figures["r1"] = ("R@1", "higher", report.retrieval.r1)
    if report.labels is not None:
        figures["label_accuracy"] = ("label accuracy", "higher", report.labels.generated)
    shown = [result for result in report.measures if result.id in ("own-source", "memorisation", "density", "coverage")]
    return figures | {result.id: (result.title, result.better, result.value) for result in shown}


def _column(id: str, found: list[list[dict[str, tuple[str, str, float]]]]) -> Figure:
    title, better, _ = next(figures[id] for group in found for figures in group if id in figures)
    values = [[figures[id][2] for figures in group if id in figures] for group in found]
    means = tuple(float(np.mean(group)) if group else float("nan") for group in values)
    spreads = tuple(float(np.std(group, ddof=1)) if len(group) > 1 else float("nan") for group in values)
    return Figure(id, title, better, means, spreads)


def _names(folders: list[pathlib.Path], reports: list[Report]) -> list[str]:
    """Recipe and records of each row; rows of one name are told apart by their hash or folder."""
    names = []
    for folder, report in zip(folders, reports, strict=True):
        config = read_config(folder)
        recipe = config["recipe"]["name"] if config else folder.name
        names.append(f"{recipe} on {pathlib.Path(report.records).name}")
    apart = [f"{name} ({report.configuration or report.model})" for name, report in zip(names, reports, strict=True)]
    return [long if names.count(name) > 1 else name for name, long in zip(names, apart, strict=True)]


def _with_spread(mean: float, spread: float) -> str:
    return number(mean, 3) + (f" ± {number(spread, 3)}" if np.isfinite(spread) else "")


def _latex_text(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "–": "--"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)
