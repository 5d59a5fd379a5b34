"""Ranges of numbers, from which a searcher chooses values of a setting."""

import dataclasses
import math

from keras_a2i.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Range:
    """All numbers between two, from which a searcher chooses: whole ones if both ends are.

    Args:
        low, high: its ends, of which `low` is below `high`.
        log: whether numbers are spread evenly by their logarithms.

    Raises:
        UsageError: if the ends are in the wrong order, or aren't positive with `log`.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or not math.isfinite(self.high - self.low) or (self.log and self.low <= 0):
            above = " and above 0" if self.log else ""
            raise UsageError(
                f"The ends of a range must be numbers{above}, the lower one first. Received: {self.low}..{self.high}"
            )

    @property
    def is_whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)
