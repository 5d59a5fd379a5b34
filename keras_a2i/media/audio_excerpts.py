"""Excerpts of a long audio file."""

import pathlib
from collections.abc import Iterator

import numpy as np

from keras_a2i.errors import SourceError
from keras_a2i.media.audio import stream_audio


class ExcerptReader:
    """Reads excerpts of an audio file. Those that begin in ascending order are read in one pass, in constant memory.

    Args:
        path: as for `stream_audio`.
        sample_rate: rate of the excerpts, Hz.

    Attributes:
        n_read: the number of samples of the file that were read so far.
        troubles: sentences about what is wrong with the file within these samples.
    """

    def __init__(self, path: pathlib.Path, sample_rate: int):
        self._path, self._sample_rate = path, sample_rate
        self._rewind()

    def _rewind(self) -> None:
        # The number of the first sample in memory, and the samples from there.
        self._first: int = 0
        self._samples: np.ndarray = np.empty(0, np.float32)
        self.n_read: int = 0
        self.troubles: list[str] = []
        self._blocks: Iterator[np.ndarray] = stream_audio(self._path, self._sample_rate, self.troubles.append)

    def read(self, start: int, n_samples: int) -> np.ndarray:
        """Reads an excerpt, and what follows it until it is known whether the file is longer.

        Args:
            start: its first sample, from 0.
            n_samples: the largest number of its samples.

        Returns:
            The mono float32 waveform (n,) with n <= n_samples: 0 where the file ends at `start` or before.

        Raises:
            SourceError: as `stream_audio`.
        """
        if start < self._first:
            self._rewind()
        self._forget_until(start)
        while self.n_read <= start + n_samples:
            try:
                block = next(self._blocks, None)
            except SourceError:
                self._rewind()
                raise
            if block is None:
                break
            self._samples = np.concatenate([self._samples, block])
            self.n_read += len(block)
            self._forget_until(start)
        return self._samples[:n_samples].copy()

    def _forget_until(self, start: int) -> None:
        n = min(start - self._first, len(self._samples))
        self._samples = self._samples[n:]
        self._first += n
