"""The course of a voice: how loud it is at every moment, and which vowel it forms; and the mouth that goes with it."""

import dataclasses

import numpy as np

GRID_RATE = 200
"""Values per second of a course."""
FORMANTS = np.array(
    [(730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240), (500, 1500, 2500)]
)  # fmt: skip
"""Formants of a, e, i, o and u of men in Hz, and of the neutral vowel.

Reference:
    Peterson and Barney, "Control methods used in a study of the vowels", 1952.
"""
F1_CLOSED, F1_OPEN = 270.0, 760.0
F2_ROUND, F2_SPREAD = 840.0, 2300.0
_PAUSE_SHARE = 0.22
_BLINK_SECONDS = 0.3
_MARGIN_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Speech:
    """A voice over time, `GRID_RATE` values a second, from the start of its recording.

    Attributes:
        loudness: (n,), 0 silent to 1.
        formants: (n, 3) in Hz.
        pitch: (n,) in Hz.
        lids: (n,), 0 open to 1 closed eyes; independent of the voice.
    """

    loudness: np.ndarray
    formants: np.ndarray
    pitch: np.ndarray
    lids: np.ndarray

    def mouth_at(self, seconds: float) -> tuple[float, float]:
        """Returns the opening and the width of the mouth at a moment, as of `mouth_of`."""
        i = round(seconds * GRID_RATE)
        return mouth_of(float(self.loudness[i]), float(self.formants[i, 0]), float(self.formants[i, 1]))

    def lids_at(self, seconds: float) -> float:
        """Returns how far the eyes are closed at a moment, 0 to 1."""
        return float(self.lids[round(seconds * GRID_RATE)])


def mouth_of(loudness: float, f1: float, f2: float) -> tuple[float, float]:
    """The law of the data set: the louder and the higher the first formant, the wider open is the mouth.

    Args:
        loudness: 0 to 1.
        f1, f2: the first two formants in Hz.

    Returns:
        opening: 0 closed to 1: loudness x (0.3 + 0.7 a), where a rises from 0 at 270 Hz to 1 at 760 Hz of `f1`.
        width: 0 round to 1 spread: half of the way in silence, towards the place of `f2` between 840 and 2,300 Hz the
            louder the voice is.
    """
    a = min(max((f1 - F1_CLOSED) / (F1_OPEN - F1_CLOSED), 0.0), 1.0)
    spread = min(max((f2 - F2_ROUND) / (F2_SPREAD - F2_ROUND), 0.0), 1.0)
    return loudness * (0.3 + 0.7 * a), 0.5 + loudness * (spread - 0.5)


def make_speech(seconds: float, pitch: float, tract: float, random: np.random.Generator) -> Speech:
    """Draws syllables and pauses until a voice is long enough; the beginning of a longer one is the same.

    Args:
        seconds: length.
        pitch: mean pitch of the voice in Hz.
        tract: factor of all formants.
        random: source of the vowels, levels, lengths and blinks.
    """
    ends, levels, vowels, tones = [0.0], [0.0], [5], [1.0]
    blinks = [float(random.uniform(0.3, 2.5))]
    while ends[-1] < seconds + 2 * _MARGIN_SECONDS:
        is_pause = random.uniform() < _PAUSE_SHARE and levels[-1] > 0
        length, level, vowel = random.uniform(0.14, 0.34), random.uniform(0.3, 1.0), int(random.integers(6))
        tone, blink = random.uniform(0.85, 1.2), random.uniform(1.5, 4.0)
        ends.append(ends[-1] + length)
        levels.append(0.0 if is_pause else level)
        # The mouth of a pause is on its way to the next vowel.
        vowels.append(vowel)
        tones.append(tone)
        blinks.append(blinks[-1] + blink)
    times = np.arange(round((seconds + _MARGIN_SECONDS) * GRID_RATE) + 1) / GRID_RATE
    segment = np.searchsorted(ends, times, side="right").clip(1, len(ends) - 1)
    kept = slice(0, round(seconds * GRID_RATE) + 1)
    return Speech(
        loudness=_smooth(np.array(levels)[segment], 0.12)[kept],
        formants=_smooth(tract * FORMANTS[np.array(vowels)[segment]], 0.12)[kept],
        pitch=_smooth(pitch * np.array(tones)[segment], 0.2)[kept],
        lids=_lids(times, np.array(blinks))[kept],
    )


def _smooth(values: np.ndarray, seconds: float) -> np.ndarray:
    """Averages over a Hann window; the ends are repeated."""
    window = np.hanning(round(seconds * GRID_RATE) | 1)[1:-1]
    reach = len(window) // 2
    padded = np.pad(values, [(reach, reach)] + [(0, 0)] * (values.ndim - 1), mode="edge")
    columns = padded.reshape(len(padded), -1).T
    smoothed = np.stack([np.convolve(column, window / window.sum(), mode="valid") for column in columns], axis=-1)
    return smoothed.reshape(values.shape)


def _lids(times: np.ndarray, blinks: np.ndarray) -> np.ndarray:
    nearest = np.abs(times[:, None] - blinks).min(axis=1)
    return np.cos(np.pi * np.minimum(nearest / _BLINK_SECONDS, 0.5)) ** 2
