"""The current step of an evaluation, printed in the way in which Keras prints the progress of a training."""

import sys
import time
from typing import Any

from keras_a2i.durations import format_seconds
from keras_a2i.errors import UsageError

VERBOSE = ("auto", 0, 1, 2)


class StepLine:
    """Prints the steps of an evaluation to stdout.

    Args:
        verbose: 1 or "auto" overwrites one line with the current step, where a terminal or a notebook can show that;
            2 prints a line for every step; 0 prints nothing.

    Raises:
        UsageError: if `verbose` is none of these.
    """

    def __init__(self, verbose: str | int):
        if verbose not in VERBOSE:
            raise UsageError(f"verbose must be 'auto', 0, 1 or 2. Received: verbose={verbose!r}")
        self._is_silent = verbose == 0
        self._overwrites = verbose in ("auto", 1) and _can_overwrite(sys.stdout)
        self._start, self._width = time.monotonic(), 0

    def __call__(self, step: str) -> None:
        """Shows a step."""
        self._show(f"{step} ...", end="" if self._overwrites else "\n")

    def close(self, what: str) -> None:
        """Shows what was done, and how long it took."""
        self._show(f"{what} in {format_seconds(time.monotonic() - self._start)}", end="\n")

    def _show(self, text: str, end: str) -> None:
        if self._is_silent:
            return
        # Spaces over what is left of a longer step: not every notebook knows the terminal's code for that.
        before = "\r" if self._overwrites else ""
        print(before + text.ljust(self._width), end=end, flush=True)
        self._width = len(text) if self._overwrites else 0


def _can_overwrite(stream: Any) -> bool:
    return "ipykernel" in sys.modules or (hasattr(stream, "isatty") and stream.isatty())
