"""The waveform of a voice: the harmonics of glottal pulses, weighted by the resonances of its formants."""

import numpy as np

from keras_a2i.datasets.faces.speech import GRID_RATE, Speech

_BANDWIDTHS = (80.0, 110.0, 160.0)
_HIGHEST = 5_000.0
_LOUDEST_DB, _RANGE_DB = -18.0, 34.0
_GATE = 0.06
_BREATH = 0.02
_TILT = 1.3
_LOUDEST_PEAK = 0.98


def render_voice(speech: Speech, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """Renders the waveform of a voice.

    Its level in dB is linear in the loudness: -18 dB of full scale (root mean square) at 1, 34 dB less near 0, nothing
    at 0. Harmonics above 5 kHz or half the sample rate are left out.

    Args:
        speech: the course of the voice.
        sample_rate: Hz.
        random: source of its breath.

    Returns:
        float32 (n_samples,) in [-1, 1].

    Reference:
        Fant, "Acoustic theory of speech production", 1960: a source, falling by 12 dB an octave and by less when it is
        radiated, and a filter of resonances.
    """
    n = round((len(speech.loudness) - 1) / GRID_RATE * sample_rate)
    at, grid = np.arange(n) / sample_rate, np.arange(len(speech.loudness)) / GRID_RATE
    turns = np.cumsum(np.interp(at, grid, speech.pitch)) / sample_rate
    top = min(_HIGHEST, 0.48 * sample_rate)
    number = np.arange(1, int(top / speech.pitch.min()) + 1)
    amplitudes = _envelope(speech.pitch[:, None] * number, speech.formants, top) / number**_TILT
    amplitudes *= (_level(speech.loudness) / np.sqrt(0.5 * np.square(amplitudes).sum(axis=1)))[:, None]
    waveform = np.zeros(n)
    # The harmonics by the recurrence of Chebyshev: a sine of each would take most of the time.
    before, now, turn = np.zeros(n), np.sin(2 * np.pi * turns), 2 * np.cos(2 * np.pi * turns)
    for k in range(len(number)):
        waveform += np.interp(at, grid, amplitudes[:, k]) * now
        before, now = now, turn * now - before
    waveform += _BREATH * np.interp(at, grid, _level(speech.loudness)) * random.standard_normal(n)
    return (waveform / max(1.0, np.abs(waveform).max() / _LOUDEST_PEAK)).astype(np.float32)


def _envelope(frequencies: np.ndarray, formants: np.ndarray, top: float) -> np.ndarray:
    """The gain of the resonances at the frequencies (n, harmonics); 0 above `top`."""
    gain = np.ones_like(frequencies)
    for i, bandwidth in enumerate(_BANDWIDTHS):
        centre, square = formants[:, i, None] ** 2, frequencies**2
        gain *= centre / np.sqrt((centre - square) ** 2 + square * bandwidth**2)
    return gain * (frequencies < top)


def _level(loudness: np.ndarray) -> np.ndarray:
    """The root mean square of a loudness."""
    return 10 ** ((_LOUDEST_DB - _RANGE_DB * (1 - loudness)) / 20) * np.minimum(loudness / _GATE, 1)
