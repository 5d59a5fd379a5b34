"""A thread that ends a training which makes no progress."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras

FIRST_STEP_FACTOR = 6
"""So many times the limit until the first step of an epoch ends, before which records are read, steps are compiled, and
the first process computes scores, draws sheets and saves."""


class Watchdog(keras.callbacks.Callback):
    """Calls a function when no step of a training has ended for a while, for one process waits for ever for another.

    As a callback it counts steps and ends of epochs as progress.

    Args:
        limit: seconds without progress, above 0; until the end of an epoch's first step, six times as many.
        end: called once with a sentence about what happened.
    """

    def __init__(self, limit: float, end: Callable[[str], Any]):
        super().__init__()
        self._limit, self._end = limit, end
        self._allowed = FIRST_STEP_FACTOR * limit
        self._progress = time.monotonic()
        self._over = threading.Event()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watches while the block runs."""
        self._progress = time.monotonic()
        thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        thread.start()
        try:
            yield
        finally:
            self._over.set()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._progress, self._allowed = time.monotonic(), self._limit

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._progress, self._allowed = time.monotonic(), FIRST_STEP_FACTOR * self._limit

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._limit / 4)):
            if time.monotonic() - self._progress > self._allowed:
                self._end(f"no step ended within {self._allowed:g} seconds: another process hangs or was lost")
                return
