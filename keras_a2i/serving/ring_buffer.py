"""The newest part of continuing audio, shared by the thread that captures it and the one that generates images."""

import threading

import numpy as np


class RingBuffer:
    """Keeps the last `n_samples` of audio in fixed memory; before there is enough of it, the rest is silence.

    Args:
        n_samples: number of samples to keep, 1 or more.
    """

    def __init__(self, n_samples: int):
        self._samples = np.zeros(n_samples, np.float32)
        self._next = 0
        self._captured_at: float | None = None
        self._lock = threading.Lock()

    def write(self, block: np.ndarray, captured_at: float) -> None:
        """Adds the next samples, which replace the oldest.

        Args:
            block: float32 (n,) of any length.
            captured_at: seconds on the session's clock at which the last of them was captured.
        """
        if not len(block):
            return
        block = block[-len(self._samples) :]
        with self._lock:
            before_end = min(len(block), len(self._samples) - self._next)
            self._samples[self._next : self._next + before_end] = block[:before_end]
            self._samples[: len(block) - before_end] = block[before_end:]
            self._next = (self._next + len(block)) % len(self._samples)
            self._captured_at = captured_at

    def newest(self) -> tuple[np.ndarray, float | None]:
        """Returns a copy of the last samples, float32 (n_samples,), oldest first, and when the newest was captured.

        The time is None before the first sample.
        """
        with self._lock:
            return np.concatenate([self._samples[self._next :], self._samples[: self._next]]), self._captured_at
