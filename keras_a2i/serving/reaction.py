"""The reaction of a film to the loudness and the onsets of its audio: the zoom, and the temperature of the style."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from keras_a2i.media.audio import stream_audio
from keras_a2i.serving.model_inputs import BATCH
from keras_a2i.serving.sliding import slide_clips, smooth_frames

ZOOM_BY_LOUDNESS, ZOOM_BY_ONSETS = 0.10, 0.06
HEAT = 0.5
# Loudness: dB below the loudest moment that count as silence, and the least that the loudest moment counts as.
_RANGE, _LEAST_PEAK = 30.0, -50.0
_LOUDNESS_SECONDS, _LOUDNESS_SIGMA = 0.1, 0.1
# Onsets: rises of the level in bands from one window to the next, in dB; windows begin every 10 ms.
_HOPS, _WINDOW_SECONDS, _LAG = Fraction(100), 0.03, 3
_N_BANDS, _LOWEST, _BAND_FLOOR = 24, 60.0, 1e-7
# An onset exceeds the mean rise of a second by 3 dB or more, and is the largest rise within 50 ms; 12 dB count in full.
_MEAN_HOPS, _NEIGHBOURS, _LEAST_RISE, _FULL_RISE = 50, 5, 3.0, 12.0
# A bump is highest after 0.05 s; after 0.6 s nothing of it is left.
_BUMP_SECONDS, _BUMP_END = 0.05, 0.6


@dataclasses.dataclass(frozen=True)
class Drive:
    """The loudness and the onsets of an audio file, as values from 0 to 1 for every frame.

    Loudness is the level of 0.1 s around the frame's middle, from 0 (30 dB below the loudest moment of the file, or
    quieter) to 1 (the loudest moment), smoothed by a Gaussian of 0.1 s; a loudest moment below -50 dB of full scale
    counts as -50 dB. The bump of an onset of strength a at the time t is a x exp(1 - x) with x = (now - t) / 0.05 s: it
    falls to 4 % of its height within 0.3 s. Bumps b1, b2 and so on that overlap are combined to 1 - (1 - b1)(1 - b2)...
    In silence, both are 0.

    Attributes:
        fps: frames per second.
        loudness: float32 (n_frames,); empty if the film doesn't react to it.
        onsets: float64 (n, 2), times in seconds, ascending, and strengths from 0.25 to 1.
    """

    fps: Fraction
    loudness: np.ndarray
    onsets: np.ndarray

    def zoom(self, start: int, n: int) -> np.ndarray:
        """Returns the zoom of `n` frames: 1 + 0.10 loudness + 0.06 bump, float64 (n,) from 1 to 1.16."""
        return 1 + ZOOM_BY_LOUDNESS * self._loudness(start, n) + ZOOM_BY_ONSETS * self._bumps(start, n)

    def heat(self, start: int, n: int) -> np.ndarray:
        """Returns the factor of the style's temperature: 1 + 0.5 loudness + 0.5 bump, float64 (n,) from 1 to 2."""
        return 1 + HEAT * (self._loudness(start, n) + self._bumps(start, n))

    def _loudness(self, start: int, n: int) -> np.ndarray:
        if not len(self.loudness):
            return np.zeros(n)
        return self.loudness[np.minimum(np.arange(start, start + n), len(self.loudness) - 1)].astype(np.float64)

    def _bumps(self, start: int, n: int) -> np.ndarray:
        times = (np.arange(start, start + n) + 0.5) / float(self.fps)
        first, last = np.searchsorted(self.onsets[:, 0], [times[0] - _BUMP_END, times[-1]]) if n else (0, 0)
        near = self.onsets[first:last]
        since = times[:, None] - near[:, 0]
        x = np.where((since > 0) & (since < _BUMP_END), since, 0) / _BUMP_SECONDS
        return 1 - np.prod(1 - near[:, 1] * x * np.exp(1 - x), axis=1)


def measure_drive(audio: pathlib.Path, sample_rate: int, fps: Fraction, react: Sequence[str]) -> Drive:
    """Measures the loudness and the onsets of an audio file, which is read once for each element of `react`.

    Args:
        audio: a file that `stream_audio` reads.
        sample_rate: Hz at which it is read.
        fps: frames per second.
        react: "loudness", "onsets" or both.

    Raises:
        SourceError: if the audio can't be read.
    """
    loudness = _measure_loudness(audio, sample_rate, fps) if "loudness" in react else np.zeros(0, np.float32)
    onsets = find_onsets(audio, sample_rate) if "onsets" in react else np.zeros((0, 2))
    return Drive(fps, loudness, onsets)


def find_onsets(audio: pathlib.Path, sample_rate: int) -> np.ndarray:
    """Finds onsets: moments at which the levels of 24 bands rise within 30 ms by more than before and after.

    Args:
        audio: a file that `stream_audio` reads.
        sample_rate: Hz at which it is read.

    Returns:
        float64 (n, 2): times in seconds, ascending, and strengths from 0.25 (a mean rise of 3 dB above the usual) to 1
        (12 dB).
    """
    levels = np.concatenate(list(_band_levels(audio, sample_rate)))
    before = np.concatenate([np.full((_LAG, levels.shape[1]), 10 * np.log10(_BAND_FLOOR)), levels])[: len(levels)]
    rises = np.maximum(0, levels - before).mean(axis=1)
    # The last windows reach beyond the end, where whatever sounds is cut off, which isn't an onset.
    rises[-2:] = 0
    sums = np.concatenate([[0], np.cumsum(rises)])
    hops = np.arange(len(rises))
    low, high = np.maximum(0, hops - _MEAN_HOPS), np.minimum(len(rises), hops + _MEAN_HOPS + 1)
    excess = rises - (sums[high] - sums[low]) / (high - low)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(rises, _NEIGHBOURS, constant_values=-1), 2 * _NEIGHBOURS + 1
    )
    # Of equal rises the first.
    found = np.flatnonzero((excess >= _LEAST_RISE) & (windows.argmax(axis=1) == _NEIGHBOURS))
    return np.stack([(found + 0.5) / float(_HOPS), np.minimum(1, excess[found] / _FULL_RISE)], axis=1)


def _measure_loudness(audio: pathlib.Path, sample_rate: int, fps: Fraction) -> np.ndarray:
    clips = _clips(audio, sample_rate, _LOUDNESS_SECONDS, fps)
    powers = np.concatenate([np.square(batch).mean(axis=1) for batch in clips])
    decibels = 10 * np.log10(powers + 1e-12)
    loudness = np.clip(1 + (decibels - max(decibels.max(), _LEAST_PEAK)) / _RANGE, 0, 1)
    parts = (loudness[i : i + BATCH, None] for i in range(0, len(loudness), BATCH))
    return np.concatenate(list(smooth_frames(parts, _LOUDNESS_SIGMA * float(fps))))[:, 0]


def _band_levels(audio: pathlib.Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Yields float32 (n, n_bands): levels in dB of full scale, 100 a second."""
    n_samples = round(_WINDOW_SECONDS * sample_rate)
    window = np.hanning(n_samples + 2)[1:-1].astype(np.float32)
    edges = np.geomspace(_LOWEST, sample_rate / 2, _N_BANDS + 1) * n_samples / sample_rate
    starts = np.unique(np.clip(np.round(edges[:-1]), 1, n_samples // 2).astype(int))
    sizes = np.diff([*starts, n_samples // 2 + 1])
    for batch in _clips(audio, sample_rate, _WINDOW_SECONDS, _HOPS):
        powers = 2 * np.abs(np.fft.rfft(batch * window) / window.sum()) ** 2
        yield 10 * np.log10(np.add.reduceat(powers, starts, axis=1) / sizes + _BAND_FLOOR)


def _clips(audio: pathlib.Path, sample_rate: int, seconds: float, fps: Fraction) -> Iterator[np.ndarray]:
    # What is wrong with the file is said when the model's inputs are read.
    blocks = stream_audio(audio, sample_rate, on_trouble=lambda _: None)
    return slide_clips(blocks, sample_rate, round(seconds * sample_rate), fps, BATCH)
