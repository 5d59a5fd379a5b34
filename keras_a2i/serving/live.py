"""Sound into pictures while it is heard: at every tick the newest window is drawn."""

import math
import time
from collections.abc import Callable

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.media.conversion import to_uint8
from keras_a2i.serving.audio_inputs import AudioInput
from keras_a2i.serving.live_status import Latencies, LiveStatus, RecentImages, audio_level
from keras_a2i.serving.outputs import ImageOutput
from keras_a2i.serving.predictor import Predictor
from keras_a2i.serving.ring_buffer import RingBuffer

MIN_RATE, MAX_RATE = 0.1, 60.0
# An output's window must answer its user, and a signal its sender, between slow ticks too.
_SECONDS_BETWEEN_ATTENTION = 0.05
_SECONDS_BETWEEN_REPORTS = 1.0
_LEVEL_SECONDS = 0.1


class LiveSession:
    """Draws the newest window of a sound `rate` times a second. Newest sound wins: nothing is ever queued.

    A tick that passes while the picture before it is still being drawn is dropped and counted. The latency of a picture
    runs from when the newest sample of its window was heard until the output holds the picture. The picture itself
    belongs to the middle of the window, half a window before that sample.

    Args:
        predictor: the model.
        source: what is heard.
        output: where pictures go; the caller closes it.
        rate: pictures a second, 0.1 to 60.
        now: a clock, in seconds.
        sleep: waits for some seconds of that clock.

    Raises:
        UsageError: if the rate is out of range.
    """

    def __init__(
        self,
        predictor: Predictor,
        source: AudioInput,
        output: ImageOutput,
        rate: float = 10.0,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        check_rate(rate)
        self.latencies = Latencies()
        self._predictor, self._source, self._output, self._rate = predictor, source, output, rate
        self._now, self._sleep = now, sleep
        self._features = predictor.metadata.features
        self._buffer = RingBuffer(self._features.n_samples)
        self._recent = RecentImages()
        self._pictures = self._dropped = 0
        self._level = audio_level(np.zeros(0))
        self._started = self._reported = now()
        self._ended: float | None = None
        self._stopping = False

    def run(self, seconds: float | None = None, report: Callable[[LiveStatus], None] | None = None) -> None:
        """Draws until the sound ends, `stop` is called or the output is closed by its viewer; can be called once.

        Args:
            seconds: ends after so many; None for no limit.
            report: told how things stand once a second.

        Raises:
            SourceError: if the sound breaks off.
        """
        # The first call of a model compiles it: that isn't a delay of the session.
        self._predictor.predict_clips(self._buffer.newest()[0][None])
        try:
            self._source.start(self._buffer)
            self._started = self._reported = self._now()
            self._draw_ticks(math.inf if seconds is None else seconds, report)
        finally:
            self._source.stop()
            self._ended = self._now()

    def stop(self) -> None:
        """Ends `run` soon. Only sets a flag, so that a signal handler may call it."""
        self._stopping = True

    def status(self) -> LiveStatus:
        """How things stand."""
        return LiveStatus(
            source=self._source.name,
            window=self._features.duration,
            seconds=(self._now() if self._ended is None else self._ended) - self._started,
            pictures=self._pictures,
            dropped=self._dropped,
            overflows=self._source.overflows,
            images_per_second=self._recent.per_second,
            latency_median=self._recent.milliseconds(50),
            latency_p95=self._recent.milliseconds(95),
            level=self._level,
        )

    def _draw_ticks(self, seconds: float, report: Callable[[LiveStatus], None] | None) -> None:
        tick = 0
        while self._wait_for_tick(tick, seconds, report):
            # Asked before the window is taken: the picture after the last sound is drawn from all of it.
            finished = self._source.is_finished()
            self._draw()
            if finished:
                return
            passed = min(self._now() - self._started, seconds)
            newest = max(tick + 1, math.floor(passed * self._rate))
            self._dropped += newest - (tick + 1)
            tick = newest

    def _wait_for_tick(self, tick: int, seconds: float, report: Callable[[LiveStatus], None] | None) -> bool:
        """Waits until a tick is due; False where the session ends before it."""
        due = tick / self._rate
        while not self._stopping and self._output.attend():
            now = self._now()
            if report is not None and now - self._reported >= _SECONDS_BETWEEN_REPORTS:
                self._reported = now
                report(self.status())
            wait = min(due, seconds) - (now - self._started)
            if wait <= 0:
                return due < seconds
            self._sleep(min(wait, _SECONDS_BETWEEN_ATTENTION))
        return False

    def _draw(self) -> None:
        window, heard_at = self._buffer.newest()
        picture = to_uint8(self._predictor.predict_clips(window[None])[0])
        self._level = audio_level(window[-max(1, round(_LEVEL_SECONDS * self._features.sample_rate)) :])
        self._output.show(picture, self.status())
        stands_at = self._now()
        self._pictures += 1
        latency = None if heard_at is None else stands_at - heard_at
        self._recent.add(stands_at, latency)
        if latency is not None:
            self.latencies.add(latency)


def check_rate(rate: float) -> None:
    """Raises a UsageError unless `rate` lies between 0.1 and 60 pictures a second."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UsageError(f"rate must lie between {MIN_RATE:g} and {MAX_RATE:g} pictures a second. Received: {rate:g}")
