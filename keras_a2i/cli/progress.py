"""Progress of long work on stderr: a line that rewrites itself on a terminal, a line now and then in a log."""

import contextlib
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

from keras_a2i.cli.terminal import echo
from keras_a2i.counts import counted
from keras_a2i.durations import format_seconds
from keras_a2i.remote.address import Address
from keras_a2i.remote.mirror import UploadWarning
from keras_a2i.remote.store import transfers_told

_SECONDS_BETWEEN_LOG_LINES = 5.0
_SECONDS_BETWEEN_UPDATES = 0.1
_WIDTH = 24


def tell_step(step: str) -> None:
    """Prints a step to stderr."""
    echo(f"{step} ...", err=True)


class TransferLines:
    """Prints now and then how much of a file is fetched from an object store or uploaded, where that takes long."""

    def __init__(self) -> None:
        self._current: tuple[str, Address] | None = None
        self._shown_at = 0.0

    def __call__(self, verb: str, address: Address, done: int, total: int) -> None:
        """Prints a line if the last is a few seconds ago; the first a few seconds after a file's beginning."""
        now = time.monotonic()
        if self._current != (verb, address):
            self._current, self._shown_at = (verb, address), now
        elif total and now - self._shown_at >= _SECONDS_BETWEEN_LOG_LINES:
            self._shown_at = now
            echo(f"{verb} {address}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", err=True)


@contextlib.contextmanager
def transfers_shown() -> Iterator[None]:
    """Prints lines about long transfers, and a sentence where an upload fails that is tried again."""
    with transfers_told(TransferLines()), warnings.catch_warnings():
        warnings.simplefilter("always", UploadWarning)
        usual = warnings.showwarning

        def show(message: Any, category: type[Warning], *rest: Any, **others: Any) -> None:
            if issubclass(category, UploadWarning):
                echo(f"Warning: {message}", err=True)
            else:
                usual(message, category, *rest, **others)

        warnings.showwarning = show
        yield


class ProgressLine:
    """Shows how much of something is done, at what rate and how long the rest may take.

    Args:
        what: what is being counted, such as "pair".
        after: seconds before which nothing is shown; work that ends earlier leaves no line.
    """

    def __init__(self, what: str, after: float = 0.0):
        self._what = what
        self._start = time.monotonic()
        self._shown_at = self._start
        self._begin = self._start + after
        self._on_terminal = sys.stderr.isatty()
        self._shown = ""
        self._written = True
        self.used = False

    def __call__(self, done: int, skipped: int, total: int) -> None:
        """Shows the state, but not more often than an eye can follow."""
        self.used = True
        now = time.monotonic()
        wait = _SECONDS_BETWEEN_UPDATES if self._on_terminal else _SECONDS_BETWEEN_LOG_LINES
        if now < self._begin:
            return
        self._shown = self._line(done, skipped, total, now - self._start)
        self._written = False
        if now - self._shown_at >= wait:
            self._shown_at = now
            self._write()

    def close(self) -> None:
        """Leaves the last state standing."""
        if not self._written:
            self._write()
        if self._shown and self._on_terminal:
            sys.stderr.write("\n")
        self._shown = ""

    def _write(self) -> None:
        sys.stderr.write(f"\r{self._shown}\x1b[K" if self._on_terminal else self._shown + "\n")
        sys.stderr.flush()
        self._written = True

    def _line(self, done: int, skipped: int, total: int, seconds: float) -> str:
        share = min(1.0, (done + skipped) / max(total, 1))
        filled = int(share * _WIDTH)
        rate = done / seconds if seconds > 0 else 0.0
        left = f", {format_seconds(seconds / share - seconds)} left" if 0 < share < 1 else ""
        skips = f", {skipped} skipped" if skipped else ""
        bar = "█" * filled + "·" * (_WIDTH - filled)
        return f"{bar} {done:,}/{counted(total, self._what)}, {rate:.0f}/s{skips}{left}"
