"""The timeline of the audio track of a video: decoded frames placed at their time stamps and resampled."""

import collections
from fractions import Fraction
from typing import Any

import numpy as np

from keras_a2i.media.conversion import INT16_SCALE
from keras_a2i.media.resampling import Resampler

MAX_JITTER = 0.010
"""Largest deviation of a time stamp, in seconds, that isn't a gap or an overlap.

Time stamps in whole milliseconds and the priming of encoders deviate by less."""

_BLOCK = 16_384
# Seconds before time 0 from which a track is resampled: more than the filter of the resampler is long.
_LEAD_IN = 0.5
# Samples of which none may lie nearer to a resampled one than those before: 441 from 44.1 to 16 kHz.
_MAX_LEFT_OUT = 1_024
# Distances, in samples, that differ by rounding alone.
_EQUAL = 1e-6
_INTEGER_SCALES = {"i2": float(INT16_SCALE), "i4": 2.0**31}
_FORMATS = {name + planar for name in ("u8", "s16", "s32", "flt", "dbl") for planar in ("", "p")}
# PyAV reads beyond the planes of a frame that has as many as FFmpeg's AV_NUM_DATA_POINTERS.
_MAX_PLANES = 7


class AudioTrack:
    """Places decoded audio frames on the timeline of their file: resampled, with silence where there is no audio.

    Consecutive frames go through one stream resampler. A jump of their time stamps by more than `MAX_JITTER` restarts
    it at the right sample, so the track never drifts from the time stamps by more than that. Of frames that overlap,
    the earlier one is kept.

    Where time 0 lies within the track, what ends more than half a second before isn't used, and as little more as
    brings one of the resampled samples to time 0.

    Args:
        sample_rate: rate of the samples that `take` returns, Hz.
        origin: seconds on the container's clock at which time 0 lies.
        time_base: seconds per tick of the frames' time stamps.
        channels: 1 for the mean of all channels; else this number: the frames' own channels where they have as many,
            and copies of their mean where they have not.
        first_tick: time stamp at which the track starts, where time 0 lies within it. Frames of equal length lie at
            multiples of that length from it: of a clock of whole milliseconds, it gives the exact time.
    """

    def __init__(
        self,
        sample_rate: int,
        origin: Fraction,
        time_base: Fraction,
        channels: int = 1,
        first_tick: int | None = None,
    ):
        self.sample_rate, self.channels = sample_rate, channels
        self.first: float | None = None
        self._origin, self._tick = float(origin), float(time_base)
        self._start = None if first_tick is None else first_tick * self._tick - self._origin
        self._form: tuple[int, str, str] | None = None
        self._packer: Any = None
        self._resampler: Resampler | None = None
        self._pending: list[np.ndarray] = []
        self._n_pending = 0
        self._time = 0.0
        self._position = 0
        self._chunks: collections.deque[tuple[int, np.ndarray]] = collections.deque()

    @property
    def ready(self) -> int:
        """Samples from time 0, counted at `sample_rate`, up to which the waveform is complete."""
        return self._position

    @property
    def end(self) -> float:
        """Seconds from time 0 at which the last frame so far ends."""
        return self._time

    def push(self, frame: Any) -> None:
        """Appends the next decoded audio frame."""
        form = (frame.sample_rate, frame.format.name, frame.layout.name)
        time = self._time if frame.pts is None else frame.pts * self._tick - self._origin
        begins = self.first is None and self._start is not None
        if begins:
            end = time + frame.samples / frame.sample_rate
            if frame.pts is None or end < -_LEAD_IN:
                self._time = min(end, 0.0)
                return
            time = self._unrounded(time, frame.samples / frame.sample_rate)
        if form != self._form or time > self._time + MAX_JITTER:
            self._restart(form, time if self.first is None else max(time, self._time))
        samples = self._samples(frame)
        if begins:
            samples = samples[:, self._align(samples.shape[1], frame.sample_rate) :]
            time = self._time
        overlap = self._time - time
        if overlap > MAX_JITTER:
            samples = samples[:, round(overlap * frame.sample_rate) :]
        self._pending.append(samples)
        self._n_pending += samples.shape[1]
        self._time += samples.shape[1] / frame.sample_rate
        if self._n_pending >= _BLOCK:
            self._flush(last=False)

    def finish(self) -> None:
        """Completes the waveform with the samples that are still in the resampler; the track has ended."""
        if self._resampler is not None:
            self._flush(last=True)

    def take(self, start: int, n_samples: int) -> tuple[np.ndarray, int]:
        """Cuts out a part and forgets everything before its end.

        Returns:
            float32 (n_samples,), or (n_samples, channels) for several channels, in [-1, 1], silent where there is no
            audio, and the number of samples that are audio.
        """
        shape = (n_samples,) if self.channels == 1 else (n_samples, self.channels)
        waveform, covered, end = np.zeros(shape, np.float32), 0, start + n_samples
        for position, chunk in self._chunks:
            low, high = max(position, start), min(position + len(chunk), end)
            if low < high:
                waveform[low - start : high - start] = chunk[low - position : high - position]
                covered += high - low
        while self._chunks and self._chunks[0][0] + len(self._chunks[0][1]) <= end:
            self._chunks.popleft()
        return waveform, min(covered, n_samples)

    def _samples(self, frame: Any) -> np.ndarray:
        """The samples of a frame, (channels, n), in the type they have."""
        n_channels = frame.layout.nb_channels
        if frame.format.name in _FORMATS and not (frame.format.is_planar and n_channels > _MAX_PLANES):
            samples = frame.to_ndarray()
            return samples if frame.format.is_planar else samples.reshape(-1, n_channels).T
        if self._packer is None:
            from av.audio.resampler import AudioResampler

            self._packer = AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
        packed = [part.to_ndarray().reshape(-1, n_channels).T for part in self._packer.resample(frame)]
        return np.concatenate([np.zeros((n_channels, 0), np.float32), *packed], axis=1)

    def _unrounded(self, time: float, length: float) -> float:
        """The time of a frame, which is less than a tick from `time` if all frames before it have the same length."""
        assert self._start is not None
        exact = self._start + round((time - self._start) / length) * length
        return exact if abs(exact - time) < self._tick else time

    def _align(self, n_samples: int, rate: int) -> int:
        """Moves the start to that of the first samples, before time 0, that is nearest to a resampled sample."""
        times = self._time + np.arange(min(n_samples, _MAX_LEFT_OUT)) / rate
        positions = times[times <= 0] * self.sample_rate
        if not len(positions):
            return 0
        distances = np.abs(positions - np.round(positions))
        lead = int(np.argmax(distances <= distances.min() + _EQUAL))
        self._time, self._position = float(times[lead]), round(positions[lead])
        return lead

    def _restart(self, form: tuple[int, str, str], time: float) -> None:
        self.finish()
        self._packer = None
        self.first = time if self.first is None else self.first
        self._form, self._time = form, time
        self._resampler = Resampler(form[0], self.sample_rate, self.channels)
        self._position = round(time * self.sample_rate)

    def _flush(self, last: bool) -> None:
        assert self._resampler is not None
        samples = np.concatenate(self._pending, axis=1) if self._pending else np.zeros((1, 0), np.float32)
        self._pending, self._n_pending = [], 0
        block = np.clip(self._resampler(self._mix(_to_float(samples)), last=last), -1, 1)
        if len(block):
            self._chunks.append((self._position, block))
            self._position += len(block)

    def _mix(self, samples: np.ndarray) -> np.ndarray:
        """Samples (channels, n) of a frame as float32 (n,), or (n, self.channels) for several channels."""
        if self.channels > 1 and len(samples) == self.channels:
            return samples.T.astype(np.float32)
        mean = samples.mean(axis=0, dtype=np.float32)
        return mean if self.channels == 1 else np.repeat(mean[:, None], self.channels, axis=1)


def _to_float(samples: np.ndarray) -> np.ndarray:
    """Samples of any of FFmpeg's formats as floats with full scale [-1, 1]."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / _INTEGER_SCALES[samples.dtype.str[1:]]
    return samples
