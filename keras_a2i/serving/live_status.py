"""How a live session is doing: pictures, drops, latencies and the sound's level, all in fixed memory."""

import collections
import dataclasses
import math

import numpy as np

# Pictures that the numbers of "now" are taken over: 10 seconds at the usual rate.
_RECENT = 100
_SHORTEST, _LONGEST, _STEP = 1e-4, 1e3, 1.02
_QUIETEST = -90.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveStatus:
    """A moment of a live session.

    Attributes:
        source: name of the file or microphone.
        window: seconds of sound a picture is drawn from; it belongs to their middle.
        seconds: since the start.
        pictures: drawn since then.
        dropped: pictures that weren't drawn because the one before took too long.
        overflows: how often the microphone lost sound.
        images_per_second: over the last 100 pictures; None before the second one.
        latency_median, latency_p95: milliseconds over the last 100 pictures; None before the first sound.
        level: of the last tenth of a second, dB relative to full scale, -90 or more.
    """

    source: str
    window: float
    seconds: float
    pictures: int
    dropped: int
    overflows: int
    images_per_second: float | None
    latency_median: float | None
    latency_p95: float | None
    level: float


class Latencies:
    """All latencies of a session, counted in steps of 2 %: percentiles to within 1 % in fixed memory."""

    def __init__(self) -> None:
        self.count = 0
        self.max = 0.0
        self._counts = np.zeros(_bin(_LONGEST) + 1, np.int64)

    def add(self, seconds: float) -> None:
        """Counts a latency; below 0.1 ms and above 1,000 s it counts as these."""
        self.count += 1
        self.max = max(self.max, seconds)
        self._counts[_bin(seconds)] += 1

    def percentile(self, percent: float) -> float:
        """The latency in seconds that `percent` of all don't exceed; 0 where there are none."""
        if self.count == 0:
            return 0.0
        rank = max(1, math.ceil(percent / 100 * self.count))
        step = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(_SHORTEST * _STEP ** (step + 0.5), self.max)


class RecentImages:
    """When the last 100 pictures stood at the output, and how old their sound was then."""

    def __init__(self) -> None:
        self._times: collections.deque[float] = collections.deque(maxlen=_RECENT)
        self._latencies: collections.deque[float] = collections.deque(maxlen=_RECENT)

    def add(self, time: float, latency: float | None) -> None:
        """Remembers a picture; its latency is None before the first sound."""
        self._times.append(time)
        if latency is not None:
            self._latencies.append(latency)

    @property
    def per_second(self) -> float | None:
        """Pictures a second, None before the second picture."""
        if len(self._times) < 2 or self._times[-1] <= self._times[0]:
            return None
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def milliseconds(self, percent: float) -> float | None:
        """A percentile of the latencies in milliseconds, None before the first."""
        return 1000 * float(np.percentile(self._latencies, percent)) if self._latencies else None


def audio_level(samples: np.ndarray) -> float:
    """Root mean square of samples (n,) in dB relative to full scale, -90 or more."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return max(_QUIETEST, 10 * math.log10(power)) if power > 0 else _QUIETEST


def _bin(seconds: float) -> int:
    seconds = min(max(seconds, _SHORTEST), _LONGEST)
    return int(math.log(seconds / _SHORTEST) / math.log(_STEP))
