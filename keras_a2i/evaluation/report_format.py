"""Text, numbers and tables as the HTML report writes them."""

import html
import math
from collections.abc import Iterable, Sequence

from keras_a2i.evaluation.report_plots import printable


def escaped(value: str) -> str:
    """Text that is safe inside HTML and its attributes."""
    return html.escape(printable(value))


def decimals_for(values: Iterable[float | None]) -> int:
    """Digits behind the point that show three figures of how far the values lie apart: 3 to 5."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    spread = max(finite) - min(finite) if finite else 0.0
    return min(5, max(3, 2 - math.floor(math.log10(spread)))) if spread > 0 else 3


def number(value: float | None, decimals: int) -> str:
    """A number with a true minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{decimals}f}".replace("-", "−")


def signed(value: float, decimals: int) -> str:
    """A number with its sign, plus or minus; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{value:+,.{decimals}f}".replace("-", "−")


def percent(share: float) -> str:
    """A share of 1 in percent; a dash where it isn't finite."""
    return f"{share * 100:.1f} %" if math.isfinite(share) else "–"


def table_of(heads: Sequence[str], rows: Sequence[str], caption: str, narrow: bool = False) -> str:
    """A table; a head that starts with # is of a column of numbers."""
    cells = ""
    for head in heads:
        style = ' class="number"' if head.startswith("#") else ""
        cells += f'<th scope="col"{style}>{escaped(head.removeprefix("#"))}</th>' if head else "<td></td>"
    style = ' class="narrow"' if narrow else ""
    return (
        f'<div class="scroll"><table{style}><caption><span>{escaped(caption)}</span></caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
