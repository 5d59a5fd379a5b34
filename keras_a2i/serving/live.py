"""Images of audio while it is captured: at every tick, one of the newest clip."""

import math
import time
from collections.abc import Callable

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.media.conversion import to_uint8
from keras_a2i.serving.audio_inputs import AudioInput
from keras_a2i.serving.live_status import LiveStatus, Timings, audio_level
from keras_a2i.serving.model_inputs import clip_inputs
from keras_a2i.serving.outputs import ImageOutput
from keras_a2i.serving.predictor import Predictor
from keras_a2i.serving.ring_buffer import RingBuffer

MIN_RATE, MAX_RATE = 0.1, 60.0
# A signal must be answered between slow ticks too.
_SECONDS_BETWEEN_CHECKS = 0.05
_SECONDS_BETWEEN_REPORTS = 1.0
_LEVEL_SECONDS = 0.1


class LiveSession:
    """Generates an image of the newest clip of audio `rate` times per second. Nothing is ever queued.

    A tick that passes while the image before it is still being generated is dropped and counted. The latency of an
    image runs from when the newest sample of its clip was captured until the output shows the image. The image itself
    belongs to the middle of the clip, half a clip before that sample.

    Args:
        predictor: the model.
        source: the audio.
        output: where the images go; the caller closes it.
        rate: images per second, 0.1 to 60.
        now: a clock, in seconds.
        sleep: waits for a number of seconds of that clock.

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
        self.timings = Timings()
        self._predictor, self._source, self._output, self._rate = predictor, source, output, rate
        self._now, self._sleep = now, sleep
        self._features = predictor.metadata.features
        self._buffer = RingBuffer(self._features.n_samples)
        self._images = self._dropped = 0
        self._level = audio_level(np.zeros(0))
        self._started = self._reported = now()
        self._ended: float | None = None
        self._stopping = False

    def run(self, seconds: float | None = None, report: Callable[[LiveStatus], None] | None = None) -> None:
        """Generates images until the audio ends or `stop` is called; can be called once.

        Args:
            seconds: how long; None for no limit.
            report: called with the session's state once a second.

        Raises:
            SourceError: if the audio breaks off.
        """
        # The first call of a model compiles it: that isn't a delay of the session.
        self._predict(self._buffer.newest()[0])
        try:
            self._source.start(self._buffer)
            self._started = self._reported = self._now()
            self._run_ticks(math.inf if seconds is None else seconds, report)
        finally:
            self._source.stop()
            self._ended = self._now()

    def stop(self) -> None:
        """Ends `run` soon. It only sets a flag, so that a signal handler may call it."""
        self._stopping = True

    def status(self) -> LiveStatus:
        """Returns the session's state."""
        median, p95 = (self.timings.percentile(percent, recent=True) for percent in (50, 95))
        return LiveStatus(
            source=self._source.name,
            clip=self._features.duration,
            seconds=(self._now() if self._ended is None else self._ended) - self._started,
            images=self._images,
            dropped=self._dropped,
            overflows=self._source.overflows,
            images_per_second=self.timings.per_second,
            latency_median=None if median is None else 1000 * median,
            latency_p95=None if p95 is None else 1000 * p95,
            level=self._level,
        )

    def _run_ticks(self, seconds: float, report: Callable[[LiveStatus], None] | None) -> None:
        tick = 0
        while self._wait_for_tick(tick, seconds, report):
            # Asked before the clip is read: the image after the last audio is generated from all of it.
            finished = self._source.is_finished()
            self._show_newest()
            if finished:
                return
            passed = min(self._now() - self._started, seconds)
            newest = max(tick + 1, math.floor(passed * self._rate))
            self._dropped += newest - (tick + 1)
            tick = newest

    def _wait_for_tick(self, tick: int, seconds: float, report: Callable[[LiveStatus], None] | None) -> bool:
        """Waits until a tick is due; returns False where the session ends before it."""
        due = tick / self._rate
        while not self._stopping:
            now = self._now()
            if report is not None and now - self._reported >= _SECONDS_BETWEEN_REPORTS:
                self._reported = now
                report(self.status())
            wait = min(due, seconds) - (now - self._started)
            if wait <= 0:
                return due < seconds
            self._sleep(min(wait, _SECONDS_BETWEEN_CHECKS))
        return False

    def _show_newest(self) -> None:
        clip, captured_at = self._buffer.newest()
        image = to_uint8(self._predict(clip))
        self._level = audio_level(clip[-max(1, round(_LEVEL_SECONDS * self._features.sample_rate)) :])
        self._output.show(image, self.status())
        shown_at = self._now()
        self._images += 1
        self.timings.add(shown_at, None if captured_at is None else shown_at - captured_at)

    def _predict(self, clip: np.ndarray) -> np.ndarray:
        return self._predictor.predict_inputs(clip_inputs(clip[None], self._predictor.metadata))[0]


def check_rate(rate: float) -> None:
    """Raises a UsageError unless `rate` is between 0.1 and 60 images per second."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UsageError(
            f"rate must be between {MIN_RATE:g} and {MAX_RATE:g} images per second. Received: rate={rate:g}"
        )
