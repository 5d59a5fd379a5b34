"""The newest part of a sound that goes on, shared by the thread that hears it and the one that draws."""

import threading

import numpy as np


class RingBuffer:
    """Keeps the last `n_samples` of a sound in fixed memory; silence stands for what hasn't been heard yet.

    Args:
        n_samples: samples kept, 1 or more.
    """

    def __init__(self, n_samples: int):
        self._samples = np.zeros(n_samples, np.float32)
        self._next = 0
        self._heard_at: float | None = None
        self._lock = threading.Lock()

    def write(self, block: np.ndarray, heard_at: float) -> None:
        """Adds the next samples; the oldest ones make room.

        Args:
            block: float32 (n,) of any length.
            heard_at: seconds on the session's clock at which the last of them was heard.
        """
        if not len(block):
            return
        block = block[-len(self._samples) :]
        with self._lock:
            before_end = min(len(block), len(self._samples) - self._next)
            self._samples[self._next : self._next + before_end] = block[:before_end]
            self._samples[: len(block) - before_end] = block[before_end:]
            self._next = (self._next + len(block)) % len(self._samples)
            self._heard_at = heard_at

    def newest(self) -> tuple[np.ndarray, float | None]:
        """A copy of the last samples, float32 (n_samples,), oldest first, and when the newest of them was heard: None
        before the first one."""
        with self._lock:
            return np.concatenate([self._samples[self._next :], self._samples[: self._next]]), self._heard_at
