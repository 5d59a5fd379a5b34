"""Numbers and texts as a report shows them."""

import math
from collections.abc import Iterable

BETTER = {"higher": "↑ higher is better", "lower": "↓ lower is better", "one": "→ 1 is best"}


def distance(value: float, better: str) -> float:
    """What is small for a good score: the negative score, the score, or how far it is from 1."""
    return {"higher": -value, "lower": value, "one": abs(value - 1)}[better]


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


def mean_and_interval(mean: float, interval: tuple[float, float], decimals: int | None = None) -> str:
    """A mean with its interval in brackets, or alone where there is none.

    Args:
        mean: the mean.
        interval: its ends, nan where there is none.
        decimals: digits behind the point; None shows four figures.
    """
    if decimals is None:
        decimals = 3 if mean == 0 or not math.isfinite(mean) else max(0, 3 - math.floor(math.log10(abs(mean))))
    low, high = (number(end, decimals) for end in interval)
    return number(mean, decimals) + (f" [{low}, {high}]" if math.isfinite(interval[0]) else "")


def percent(share: float, decimals: int = 1) -> str:
    """A share of 1 in percent; a dash where it isn't finite."""
    return f"{share * 100:.{decimals}f} %" if math.isfinite(share) else "–"


def printable(value: object) -> object:
    """Text without control characters and lone surrogates, which HTML and SVG may not hold; other values unchanged."""
    if type(value) is not str:
        return value
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in value)
