"""A report as text for a terminal."""

from keras_a2i.counts import counted
from keras_a2i.evaluation.report_blocks import Sentences, Table
from keras_a2i.evaluation.report_data import ReportData
from keras_a2i.evaluation.report_format import printable
from keras_a2i.evaluation.report_sections import sections_of

_GAP = 2


def render_text(report: ReportData) -> str:
    """The brief sections of a report; the verdict isn't part of it."""
    parts = []
    if report.leak.count:
        parts.append(report.leak.sentence)
    parts.append(f"{counted(report.n_pairs, 'held-out pair')} of {counted(report.n_sources, 'source')}")
    for section in sections_of(report):
        shown = [block for block in section.blocks if isinstance(block, Table | Sentences)]
        blocks = [render_table(b) if isinstance(b, Table) else "\n".join(b.items) for b in shown]
        if section.brief and any(blocks):
            parts.append("\n".join([f"{section.title}:", *filter(None, blocks)]))
    return str(printable("\n\n".join(parts)))


def render_table(table: Table) -> str:
    """A table with its columns aligned; those that aren't brief are left out."""
    kept = [i for i, column in enumerate(table.columns) if column.brief]
    if not kept:
        return ""
    heads = [table.columns[i].title for i in kept]
    rows = [[row.cells[i].text for i in kept] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = []
    for cells in (heads, *rows):
        parts = [
            cell.rjust(width) if table.columns[i].number else cell.ljust(width)
            for cell, width, i in zip(cells, widths, kept, strict=True)
        ]
        lines.append((" " * _GAP).join(parts).rstrip())
    return "\n".join(lines)
