"""The sound of a video, put on the clip's timeline as it is decoded."""

import collections
from fractions import Fraction
from typing import Any

import numpy as np

from keras_a2i.media.audio import Resampler

# Time stamps of whole milliseconds and encoders' priming jitter by less; what jumps further is a real gap or overlap.
MAX_JITTER = 0.010
_BLOCK = 16_384
_FULL_SCALE = {"i2": 2.0**15, "i4": 2.0**31}
_FORMATS = {name + planar for name in ("u8", "s16", "s32", "flt", "dbl") for planar in ("", "p")}
# PyAV reads beyond the planes of a frame that has as many as FFmpeg's AV_NUM_DATA_POINTERS.
_MAX_PLANES = 7


class AudioTrack:
    """Puts decoded audio frames on the clip's timeline: mono, resampled, with silence where there is no sound.

    Consecutive frames run through one stream resampler. A jump of their time stamps by more than `MAX_JITTER`
    starts anew at the right sample, so the track never drifts from the time stamps by more than that.

    Args:
        sample_rate: Hz of the waveforms cut from it.
        origin: seconds on the container's clock where the clip begins.
        time_base: seconds of a tick of the frames' time stamps.
    """

    def __init__(self, sample_rate: int, origin: Fraction, time_base: Fraction):
        self.sample_rate = sample_rate
        self.first: float | None = None
        self._origin, self._tick = float(origin), float(time_base)
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
        """Samples from the start of the clip up to which the waveform is complete, counted at `sample_rate`."""
        return self._position

    @property
    def end(self) -> float:
        """Seconds from the start of the clip at which the last sound so far ends."""
        return self._time

    def push(self, frame: Any) -> None:
        """Takes the next decoded audio frame."""
        form = (frame.sample_rate, frame.format.name, frame.layout.name)
        time = self._time if frame.pts is None else frame.pts * self._tick - self._origin
        if form != self._form or time > self._time + MAX_JITTER:
            self._restart(form, time if self.first is None else max(time, self._time))
        samples = self._samples(frame)
        overlap = self._time - time
        if overlap > MAX_JITTER:
            samples = samples[:, round(overlap * frame.sample_rate) :]
        self._pending.append(samples)
        self._n_pending += samples.shape[1]
        self._time += samples.shape[1] / frame.sample_rate
        if self._n_pending >= _BLOCK:
            self._flush(last=False)

    def finish(self) -> None:
        """Takes what is still in the resampler: the track has ended."""
        if self._resampler is not None:
            self._flush(last=True)

    def take(self, start: int, n_samples: int) -> tuple[np.ndarray, int]:
        """Cuts a piece out and forgets everything before its end.

        Returns:
            float32 (n_samples,) in [-1, 1], silent where there is no sound, and the number of samples that are sound.
        """
        waveform, covered, end = np.zeros(n_samples, np.float32), 0, start + n_samples
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

    def _restart(self, form: tuple[int, str, str], time: float) -> None:
        self.finish()
        self._packer = None
        self.first = time if self.first is None else self.first
        self._form, self._time = form, time
        self._resampler = Resampler(form[0], self.sample_rate)
        self._position = round(time * self.sample_rate)

    def _flush(self, last: bool) -> None:
        block = _mono(np.concatenate(self._pending, axis=1)) if self._pending else np.zeros(0, np.float32)
        self._pending, self._n_pending = [], 0
        block = np.clip(self._resampler(block, last=last), -1, 1)
        if len(block):
            self._chunks.append((self._position, block))
            self._position += len(block)


def _mono(samples: np.ndarray) -> np.ndarray:
    """Mean over the channels of (channels, n) samples of any of FFmpeg's formats, as float32 in [-1, 1]."""
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / _FULL_SCALE[samples.dtype.str[1:]]
    return samples.mean(axis=0, dtype=np.float32)
