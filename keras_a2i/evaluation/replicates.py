"""Scores over replicates, runs that differ by their seed only: mean, spread and an interval of the mean."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

_HALVINGS = 60


class Value(NamedTuple):
    """A score of one run: its title, which is better ("higher", "lower", "one" or ""), and its value."""

    title: str
    better: str
    value: float


@dataclasses.dataclass(frozen=True)
class Score:
    """A score of several rows of replicates: a column of a table.

    Attributes:
        id: what it is found by.
        title: for tables.
        better: "higher", "lower" or "one"; "" where neither is better.
        values: of the replicates of each row; () where none has it.
    """

    id: str
    title: str
    better: str
    values: tuple[tuple[float, ...], ...]

    @property
    def means(self) -> tuple[float, ...]:
        """The mean of each row; nan where there is none."""
        return tuple(float(np.mean(row)) if row else math.nan for row in self.values)

    @property
    def spreads(self) -> tuple[float, ...]:
        """The sample standard deviation of each row; nan for fewer than two replicates."""
        return tuple(float(np.std(row, ddof=1)) if len(row) > 1 else math.nan for row in self.values)

    @property
    def intervals(self) -> tuple[tuple[float, float], ...]:
        """The 95 % interval of the mean of each row, see `student_interval`."""
        return tuple(student_interval(row) for row in self.values)

    def to_columns(self) -> dict[str, Sequence[float]]:
        """The columns of a DataFrame: the mean by the score's id, and with _std, _low and _high behind it the rest."""
        low, high = zip(*self.intervals, strict=True) if self.values else ((), ())
        return {
            self.id: self.means,
            f"{self.id}_std": self.spreads,
            f"{self.id}_low": low,
            f"{self.id}_high": high,
        }


def gather_scores(rows: Sequence[Sequence[Mapping[str, Value]]]) -> list[Score]:
    """Returns every score that a run has, in the order in which they are found.

    Args:
        rows: for each row the scores of its replicates by id.
    """
    first: dict[str, Value] = {}
    for replicates in rows:
        for found in replicates:
            first |= {id: value for id, value in found.items() if id not in first}
    return [
        Score(
            id,
            title,
            better,
            tuple(tuple(found[id].value for found in replicates if id in found) for replicates in rows),
        )
        for id, (title, better, _) in first.items()
    ]


def student_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The confidence interval of the mean of a normal distribution, from few values of it.

    Args:
        values: independent values, such as a score of each seed.
        level: the share of such intervals that hold the mean, between 0 and 1.

    Returns:
        Its ends, (nan, nan) for fewer than two values, from which no spread can be estimated.

    Reference:
        Student, "The probable error of a mean", 1908.
    """
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    reach = _student_quantile(level, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return mean - reach, mean + reach


def _student_quantile(level: float, degrees: int) -> float:
    """What a variable of Student's distribution stays within, on either side of zero, with a probability."""
    # Bisected as an angle, whose range is finite: its tangent is the variable over the root of the degrees.
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        angle = (low + high) / 2
        low, high = (angle, high) if _student_share(angle, degrees) < level else (low, angle)
    return math.tan(low) * math.sqrt(degrees)


def _student_share(angle: float, degrees: int) -> float:
    """The probability of a smaller angle, of either sign.

    Reference:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.
    """
    is_odd, cosine, total = degrees % 2, math.cos(angle), 0.0
    term = cosine if is_odd else 1.0
    for i in range(2 + is_odd, degrees + 1, 2):
        total += term
        term *= cosine**2 * (i - 1) / i
    share = math.sin(angle) * total
    return 2 / math.pi * (angle + share) if is_odd else share
