"""The audio of a live session: the protocol of its sources, and a file played at real speed."""

import itertools
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Protocol

from keras_a2i.media.audio import stream_audio
from keras_a2i.media.clips import cut_clips
from keras_a2i.serving.ring_buffer import RingBuffer

BLOCK_SECONDS = 0.02


_CHECK_RATE = 16_000


def check_file(path: pathlib.Path) -> None:
    """Raises a SourceError if the beginning of a file can't be read as audio."""
    # What is damaged later is told when it is played.
    next(stream_audio(path, _CHECK_RATE, lambda _: None), None)


class AudioInput(Protocol):
    """A source of audio for a live session.

    Attributes:
        name: of the file or microphone, for people.
        overflows: how often audio was lost because it wasn't read in time.
    """

    name: str
    overflows: int

    def start(self, buffer: RingBuffer) -> None:
        """Begins to write audio at the model's sample rate into the buffer, from another thread."""

    def is_finished(self) -> bool:
        """Whether the audio was written to its end; raises a SourceError if it broke off."""

    def stop(self) -> None:
        """Ends the writing; nothing is written after it."""


class FileInput:
    """An audio file at real speed: a block arrives when its last sample would have been played.

    Args:
        path: an audio file of any rate and length, or a video.
        sample_rate: Hz of the audio to write.
        now: a clock, in seconds.
        sleep: waits for a number of seconds of that clock.

    Raises:
        SourceError: if the file can't be read as audio.
    """

    def __init__(
        self,
        path: pathlib.Path,
        sample_rate: int,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.name = path.name
        self.overflows = 0
        self._sample_rate, self._now, self._sleep = sample_rate, now, sleep
        n = max(1, round(BLOCK_SECONDS * sample_rate))
        blocks = cut_clips(stream_audio(path, sample_rate), n, pad=False)
        # Reading the first one here refuses a bad file before anything is generated.
        self._blocks = itertools.chain(list(itertools.islice(blocks, 1)), blocks)
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._stopping = False

    def start(self, buffer: RingBuffer) -> None:
        """Begins to play."""
        self._thread = threading.Thread(target=self._play, args=(buffer, self._now()), name="audio", daemon=True)
        self._thread.start()

    def is_finished(self) -> bool:
        """Whether the file has been played to its end; raises what ended it early."""
        if self._thread is None or self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True

    def stop(self) -> None:
        """Stops playing and joins the thread."""
        self._stopping = True
        if self._thread is not None:
            self._thread.join()

    def _play(self, buffer: RingBuffer, start: float) -> None:
        played = 0
        try:
            for block in self._blocks:
                played += len(block)
                due = start + played / self._sample_rate
                while not self._stopping and (wait := due - self._now()) > 0:
                    self._sleep(wait)
                if self._stopping:
                    return
                buffer.write(block, due)
        except Exception as error:
            # Raised again where the session asks: an error in this thread would only be printed.
            self._error = error
