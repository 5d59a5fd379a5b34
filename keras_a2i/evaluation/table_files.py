"""Tables as files: HTML, CSV, Markdown and LaTeX."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from keras_a2i.evaluation.report import replace_file
from keras_a2i.evaluation.report_blocks import Section, Table
from keras_a2i.evaluation.report_markdown import markdown_table, markdown_text
from keras_a2i.media.output_file import check_suffix
from keras_a2i.remote.address import local_path

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".html", ".csv", ".md", ".tex")


def save_table(
    path: str | pathlib.Path, table: Table, frame: "pd.DataFrame", *, title: str, heading: str
) -> pathlib.Path:
    """Writes a table, whole or not at all.

    Args:
        path: a file that ends in .html, .csv, .md or .tex (a LaTeX table, with the package booktabs).
        table: what people read.
        frame: the same with all its numbers, for .csv.
        title, heading: of the page, for .html.

    Raises:
        UsageError: if the path has another suffix.
    """
    path = local_path(path, "path")
    check_suffix(path, SUFFIXES)
    if path.suffix == ".csv":
        replace_file(path, frame.to_csv(index=False, lineterminator="\n"))
    elif path.suffix == ".md":
        replace_file(path, to_markdown(table))
    elif path.suffix == ".tex":
        replace_file(path, to_latex(table))
    else:
        from keras_a2i.evaluation.report_html import render_template

        sections = [Section("runs", heading, (table,))]
        replace_file(path, render_template("sections.html.j2", title=title, sections=sections))
    return path


def to_markdown(table: Table) -> str:
    """The table as Markdown, its caption below it; columns that aren't brief are left out."""
    table = _brief(table)
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    text = markdown_table([column.title for column in table.columns], rows, [column.number for column in table.columns])
    return text + "\n" + (f"\n{markdown_text(table.caption)}\n" if table.caption else "")


def to_latex(table: Table) -> str:
    """The table as a tabular of LaTeX; its caption is a comment before the end, for the document has its own.

    Columns that aren't brief are left out.
    """
    table = _brief(table)
    alignment = "l" + "".join("r" if column.number else "l" for column in table.columns[1:])
    lines = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule"]
    lines += [" & ".join(_latex_text(column.title) for column in table.columns) + r" \\", r"\midrule"]
    lines += [" & ".join(_latex_text(cell.text) for cell in row.cells) + r" \\" for row in table.rows]
    caption = ["% " + " ".join(table.caption.split())] if table.caption else []
    return "\n".join([*lines, r"\bottomrule", *caption, r"\end{tabular}", ""])


def _brief(table: Table) -> Table:
    kept = [i for i, column in enumerate(table.columns) if column.brief]
    rows = tuple(dataclasses.replace(row, cells=tuple(row.cells[i] for i in kept)) for row in table.rows)
    return dataclasses.replace(table, columns=tuple(table.columns[i] for i in kept), rows=rows)


def _latex_text(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "–": "--"}
    special |= {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)
