"""Tables and text as Markdown shows them."""

from collections.abc import Sequence

from keras_a2i.evaluation.report_format import printable


def markdown_table(head: Sequence[object], rows: Sequence[Sequence[object]], numbers: Sequence[bool] = ()) -> str:
    """A table of Markdown.

    Args:
        head: titles of the columns.
        rows: the cells of each row.
        numbers: for each column whether it is aligned to the right; () aligns all to the left.
    """
    lines = ["| " + " | ".join(markdown_text(cell) for cell in cells) + " |" for cells in (head, *rows)]
    rules = ["---:" if is_number else "---" for is_number in numbers or [False] * len(head)]
    return "\n".join([lines[0], "|" + "|".join(rules) + "|", *lines[1:]])


def markdown_text(value: object) -> str:
    """Text that Markdown shows as it is, in a table too."""
    text = " ".join(str(printable(str(value))).split())
    return "".join("\\" + c if c in "\\`*_[]<>|#" else c for c in text)
