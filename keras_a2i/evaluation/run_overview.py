"""`runs`: run folders side by side, evaluated or not, finished or still training: curves, scores and newest sheets."""

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Iterable, Sequence

from keras_a2i.counts import counted
from keras_a2i.errors import ModelError, SourceError, UsageError
from keras_a2i.evaluation.compare import compare_reports
from keras_a2i.evaluation.contenders import SHUFFLED
from keras_a2i.evaluation.report import JSON_NAME, Report, read_report, replace_file
from keras_a2i.evaluation.report_blocks import Block, Cell, Column, Figure, Figures, Section, Sheet, Sheets, Table
from keras_a2i.evaluation.report_format import number, percent, signed
from keras_a2i.evaluation.report_plots import plot_curves
from keras_a2i.evaluation.report_sections import table
from keras_a2i.evaluation.report_text import render_table
from keras_a2i.evaluation.verdict import LEVELS
from keras_a2i.media.image import read_thumbnail
from keras_a2i.media.output_file import check_suffix
from keras_a2i.remote.address import local_path
from keras_a2i.training.run_folder import HIGHER_IS_BETTER, SCORES, RunConfig, RunFolder

SUFFIXES = (".html",)
_DEPTH = 3
_SHEET_SIDE = 1400


@dataclasses.dataclass(frozen=True)
class Run:
    """The configuration, history, report and newest sheet of a run folder.

    Attributes:
        path: the folder.
        name: the path without what is common to all runs.
        config: how it was trained.
        history: a row per epoch.
        report: the report of its evaluation, or None.
        problem: why its report can't be read or isn't of its present model, or "".
        sheet: the newest sample sheet, or None.
    """

    path: pathlib.Path
    name: str
    config: RunConfig
    history: list[dict[str, float]]
    report: Report | None
    problem: str
    sheet: pathlib.Path | None

    @property
    def minutes(self) -> float:
        """Training time so far."""
        return sum(row.get("seconds", 0.0) for row in self.history) / 60

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """Minutes and values of a column of the history; empty where it has none."""
        minutes, values, elapsed = [], [], 0.0
        for row in self.history:
            elapsed += row.get("seconds", 0.0) / 60
            if math.isfinite(row.get(name, math.nan)):
                minutes.append(elapsed)
                values.append(row[name])
        return minutes, values


@dataclasses.dataclass(frozen=True)
class RunOverview:
    """Run folders side by side.

    Attributes:
        runs: in the order of their paths.
        skipped: (folder, reason) of those that can't be read.
    """

    runs: list[Run]
    skipped: list[tuple[pathlib.Path, str]]

    def to_table(self) -> Table:
        """One row per run: what was trained, how far, and what it reached."""
        titles = ("Epochs", "Minutes", "val_ssim", "SSIM", "gain over shuffled audio", "label accuracy")
        columns = [Column("Run"), Column("Recipe on records"), *(Column(title, True) for title in titles)]
        return table(
            [*columns, Column("Verdict", style="words")],
            [_row(run) for run in self.runs],
            "val_ssim: scored by fit on a sample of the held-out pairs. The columns after it come from evaluate.",
        )

    def render_text(self) -> str:
        """The table for a terminal."""
        return render_table(self.to_table())

    def save(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Writes one HTML page with the table, the curves and the newest sheets, whole or not at all.

        Args:
            path: a file that ends in .html.

        Raises:
            UsageError: if the path has another suffix.
        """
        from keras_a2i.evaluation.report_html import render_template

        path = local_path(path, "path")
        check_suffix(path, SUFFIXES)
        replace_file(path, render_template("sections.html.j2", title="Runs", sections=self._sections()))
        return path

    def _sections(self) -> list[Section]:
        sections = [Section("runs", "Runs", (self.to_table(),)), Section("curves", "Curves", self._curves())]
        evaluated = [(run.path, run.report) for run in self.runs if run.report]
        if len(evaluated) > 1:
            sections.append(Section("evaluated", "Evaluated runs", (compare_reports(evaluated).to_table(),)))
        sheets = tuple(_sheet(run, run.sheet) for run in self.runs if run.sheet)
        sections.append(Section("sheets", "Newest sample sheets", (Sheets(sheets),) if sheets else ()))
        return [section for section in sections if section.blocks]

    def _curves(self) -> tuple[Block, ...]:
        figures = []
        for title in (f"val_{score}" for score in SCORES):
            curves = {run.name: run.curve(title) for run in self.runs}
            shown = {name: curve for name, curve in curves.items() if curve[0]}
            if shown:
                better = "higher" if title in HIGHER_IS_BETTER else "lower"
                figures.append(
                    Figure(
                        f"{title} of {counted(len(shown), 'run')} over the minutes of training",
                        f"{title} after every epoch, on the sample of held-out pairs that fit scores",
                        functools.partial(plot_curves, shown, "minutes of training", title, better),
                    )
                )
        return (Figures(tuple(figures)),) if figures else ()


def run_overview(paths: Iterable[str | os.PathLike[str]]) -> RunOverview:
    """Reads run folders without their models; unfinished trainings are listed with the number of epochs so far.

    Args:
        paths: run folders, or folders that contain run folders, at most three levels below.

    Returns:
        The overview: `overview.save("runs.html")`, `overview.render_text()`.

    Raises:
        UsageError: if no path is given, or one is a file or an address.
        ModelError: if a path doesn't exist, or no run is found.
    """
    found, skipped = [], []
    places = [local_path(path, "paths") for path in paths]
    folders = _run_folders(places)
    for folder, name in zip(folders, _short_names(folders), strict=True):
        try:
            found.append(_read(folder, name))
        except (ModelError, OSError) as error:
            skipped.append((folder, str(error)))
    if not found:
        reasons = "".join(f". {folder}: {reason}" for folder, reason in skipped)
        kind = ModelError if places else UsageError
        raise kind(f"paths must hold at least one run folder, as fit writes it. Received: none{reasons}")
    return RunOverview(found, skipped)


def _run_folders(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    folders: dict[pathlib.Path, pathlib.Path] = {}
    for path in paths:
        if not path.is_dir():
            error, what = (UsageError, "is a file") if path.exists() else (ModelError, "doesn't exist")
            raise error(f"Each path must be a folder. Received: {path}, which {what}")
        patterns = ["/".join(["*"] * depth + ["config.json"]) for depth in range(_DEPTH + 1)]
        for pattern in patterns:
            for config in sorted(path.glob(pattern)):
                # Folders of presets and other tools have a config.json, too; a run has a history or its samples.
                folder = config.parent
                if (folder / "history.csv").is_file() or (folder / "samples").is_dir():
                    folders.setdefault(folder.resolve(), folder)
    return list(folders.values())


def _short_names(folders: Sequence[pathlib.Path]) -> list[str]:
    if len(folders) < 2:
        return [folder.resolve().name for folder in folders]
    common = os.path.commonpath([folder.absolute().parent for folder in folders])
    return [folder.absolute().relative_to(common).as_posix() for folder in folders]


def _read(folder: pathlib.Path, name: str) -> Run:
    run = RunFolder(folder)
    report, problem = None, ""
    if (folder / JSON_NAME).is_file():
        try:
            report = read_report(folder)
        except ModelError as error:
            problem = str(error)
    return Run(
        path=folder,
        name=name,
        config=run.read_config(),
        history=run.read_history(),
        report=report,
        problem=problem,
        sheet=max(run.samples.glob("epoch_*.png"), key=lambda path: (path.stat().st_mtime, path.name), default=None),
    )


def _row(run: Run) -> tuple[Cell | str, ...]:
    last = run.curve("val_ssim")[1][-1:]
    recipe = "custom model" if run.config.own_model else str(run.config.recipe.get("name", ""))
    trained = (
        run.name,
        Cell(f"{recipe} on {pathlib.Path(run.config.records).name}", f"seed {run.config.seed}"),
        _epochs(run),
        f"{run.minutes:.1f}",
        number(last[0], 3) if last else "",
    )
    if run.report is None:
        return (*trained, "", "", "", Cell("unusable report", run.problem) if run.problem else "not evaluated")
    gain, labels = run.report.gain(SHUFFLED), run.report.labels
    return (
        *trained,
        number(run.report.contenders[0].means["ssim"], 3),
        f"{signed(gain.mean, 3)} [{signed(gain.widest.low, 3)}, {signed(gain.widest.high, 3)}]" if gain else "",
        percent(labels.generated) if labels else "",
        LEVELS[run.report.level].heading,
    )


def _sheet(run: Run, path: pathlib.Path) -> Sheet:
    note = f"after epoch {int(path.stem.removeprefix('epoch_'))}; epochs: {_epochs(run)}"
    try:
        return Sheet(run.name, note, read_thumbnail(path, _SHEET_SIDE))
    except SourceError as error:
        return Sheet(run.name, str(error), None)


def _epochs(run: Run) -> str:
    epochs = f"{len(run.history)} of {run.config.epochs}"
    return epochs if run.config.finished else f"{epochs}, not finished"
