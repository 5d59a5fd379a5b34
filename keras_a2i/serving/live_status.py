"""The state of a live session: images, dropped ones, latencies and the audio's level, in fixed memory."""

import collections
import dataclasses
import math

import numpy as np

MAX_KEPT = 10_000
# Images that the current rate and latency are computed over: 10 seconds at the usual rate.
_RECENT = 100
_QUIETEST = -90.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveStatus:
    """A moment of a live session.

    Attributes:
        source: name of the file or microphone.
        clip: seconds of audio that an image is generated from; the image belongs to their middle.
        seconds: since the start.
        images: generated since the start.
        dropped: images that weren't generated because the one before took too long.
        overflows: how often the microphone lost audio.
        images_per_second: over the last 100 images; None before the second one.
        latency_median, latency_p95: milliseconds over the last 100 images; None before the first audio.
        level: of the last tenth of a second, dB relative to full scale, -90 or more.
    """

    source: str
    clip: float
    seconds: float
    images: int
    dropped: int
    overflows: int
    images_per_second: float | None
    latency_median: float | None
    latency_p95: float | None
    level: float


class Timings:
    """When images were shown, and their latencies: of the last 10,000.

    Attributes:
        count: all latencies so far.
        max: the largest of all, in seconds.
    """

    def __init__(self) -> None:
        self.count = 0
        self.max = 0.0
        self._times: collections.deque[float] = collections.deque(maxlen=_RECENT)
        self._latencies: collections.deque[float] = collections.deque(maxlen=MAX_KEPT)
        self._recent: collections.deque[float] = collections.deque(maxlen=_RECENT)

    def add(self, time: float, latency: float | None) -> None:
        """Adds an image that was shown at a time; its latency in seconds is None before the first audio."""
        self._times.append(time)
        if latency is not None:
            self.count += 1
            self.max = max(self.max, latency)
            self._latencies.append(latency)
            self._recent.append(latency)

    @property
    def per_second(self) -> float | None:
        """Images per second over the last 100; None before the second image."""
        if len(self._times) < 2 or self._times[-1] <= self._times[0]:
            return None
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def percentile(self, percent: float, recent: bool = False) -> float | None:
        """A percentile of the latencies in seconds, of the last 100 with `recent`; None before the first one."""
        latencies = self._recent if recent else self._latencies
        return float(np.percentile(latencies, percent)) if latencies else None


def audio_level(samples: np.ndarray) -> float:
    """Returns the root mean square of samples (n,) in dB relative to full scale, -90 or more."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return max(_QUIETEST, 10 * math.log10(power)) if power > 0 else _QUIETEST
