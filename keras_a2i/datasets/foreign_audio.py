"""Rendered audio that is unlike recordings of scenes: tones, noise, clicks, sweeps, vowels and syllables.

A training set of tones or of speech holds something like a part of it.
"""

import numpy as np

N_CLIPS = 100
"""Clips of foreign audio that a model is judged by."""
KINDS = ("tone", "noise", "clicks", "sweep", "vowel", "speech")
_LOWEST, _HIGHEST = 0.005, 0.3
"""Frequencies in cycles per sample: 80 Hz to 4.8 kHz at 16 kHz."""
_DECAY_SAMPLES = 1_200
"""After as many, an oscillation has decayed below any rounding."""
_FORMANTS = ((0.044, 0.075), (0.025, 0.125), (0.02, 0.06), (0.03, 0.11), (0.038, 0.07))
_VOWELS = np.array(
    [(730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240)]
)  # fmt: skip
"""Formants of a, e, i, o and u of men in Hz, by Peterson and Barney, "Control methods used in a study of the vowels",
1952."""
_BANDWIDTHS, _LEVELS = (60, 90, 150), (1.0, 0.5, 0.25)
_RATE = 16_000
"""The rate in Hz at which frequencies in Hz are meant; at others they are shifted."""


def foreign_audio(n: int, n_samples: int, seed: int = 0) -> np.ndarray:
    """Renders clips of each kind in turn, at levels from -40 to -6 dB of full scale.

    Args:
        n: number of clips.
        n_samples: length of each.
        seed: random seed.

    Returns:
        float32 (n, n_samples) in [-1, 1].
    """
    rng = np.random.default_rng(seed)
    clips = [_RENDER[KINDS[i % len(KINDS)]](n_samples, rng) for i in range(n)]
    levels = 10 ** (rng.uniform(-40, -6, n) / 20)
    return np.stack([level * clip / np.abs(clip).max() for level, clip in zip(levels, clips, strict=True)]).astype(
        np.float32
    )


def _frequency(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(_LOWEST), np.log(_HIGHEST))))


def _tone(n: int, rng: np.random.Generator) -> np.ndarray:
    frequency, partials = _frequency(rng), rng.integers(1, 6)
    time = np.arange(n)
    return sum(np.sin(2 * np.pi * k * frequency * time) / k for k in range(1, partials + 1) if k * frequency < 0.5)


def _noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """White to brown: the power falls by a random power of the frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum *= np.maximum(np.fft.rfftfreq(n), 1 / n) ** -rng.uniform(0, 1)
    return np.fft.irfft(spectrum, n)


def _clicks(n: int, rng: np.random.Generator) -> np.ndarray:
    clip = 1e-3 * rng.standard_normal(n)
    clip[:: max(1, n // int(rng.integers(1, 30)))] = 1.0
    return clip


def _sweep(n: int, rng: np.random.Generator) -> np.ndarray:
    frequencies = np.geomspace(_frequency(rng), _frequency(rng), n)
    return np.sin(2 * np.pi * np.cumsum(frequencies))


def _vowel(n: int, rng: np.random.Generator) -> np.ndarray:
    """Pulses of a voice through two resonances, whose frequencies glide from one vowel to another."""
    from_vowel, to_vowel = rng.integers(0, len(_FORMANTS), 2)
    pitch = 0.0075 * rng.uniform(0.8, 2.2)
    pulses = np.diff(np.floor(pitch * np.arange(n + 1)))
    pulses[0] = 1
    clip = np.zeros(n)
    for start, stop in zip(_FORMANTS[from_vowel], _FORMANTS[to_vowel], strict=True):
        clip += _resonance(pulses, np.linspace(start, stop, n))
    return clip


def _resonance(x: np.ndarray, frequencies: np.ndarray, width: float = 0.006) -> np.ndarray:
    """A resonance of a varying frequency, in cycles per sample: every pulse starts a decaying oscillation."""
    decay = np.exp(-np.pi * width * np.arange(_DECAY_SAMPLES))
    return np.convolve(x, decay)[: len(x)] * np.sin(2 * np.pi * np.cumsum(frequencies))


def _speech(n: int, rng: np.random.Generator) -> np.ndarray:
    """Syllables and pauses: a hiss or nothing, then a vowel of one voice whose pitch falls over the clip."""
    clip, start = np.zeros(n), 0
    size, pitch = rng.uniform(0.85, 1.25), rng.uniform(90, 220) / _RATE
    while start < n:
        hiss, voiced, pause = (int(rng.uniform(*bounds) * _RATE) for bounds in ((0, 0.08), (0.09, 0.2), (0.01, 0.1)))
        consonant = 0.1 * np.diff(rng.standard_normal(hiss + 1)) * np.hanning(hiss)
        vowel = _syllable(voiced, pitch * (1 - 0.3 * start / n), size * _VOWELS[rng.integers(len(_VOWELS))] / _RATE)
        syllable = np.concatenate([consonant, vowel])[: n - start]
        clip[start : start + len(syllable)] = syllable
        start += len(syllable) + pause
    return clip


def _syllable(n: int, pitch: float, formants: np.ndarray) -> np.ndarray:
    """A vowel of n samples: the flow through the glottis, differentiated by the lips, through parallel formants.

    Reference:
        Rosenberg, "Effect of glottal pulse shape on the quality of natural vowels", 1971; Klatt, "Software for a
        cascade/parallel formant synthesizer", 1980.
    """
    phase = (pitch * np.arange(n + 1)) % 1
    # The glottis opens over 40 % of the period and closes over 16 %.
    opening, closing = 0.5 - 0.5 * np.cos(np.pi * phase / 0.4), np.cos(np.pi * (phase - 0.4) / 0.32)
    flow = np.where(phase < 0.4, opening, np.where(phase < 0.56, closing, 0))
    source, time, vowel = np.diff(flow), np.arange(_DECAY_SAMPLES), np.zeros(n)
    for formant, width, level in zip(formants, _BANDWIDTHS, _LEVELS, strict=True):
        response = np.exp(-np.pi * width / _RATE * time) * np.sin(2 * np.pi * formant * time)
        vowel += level * np.convolve(source, response)[:n]
    return vowel / np.abs(vowel).max() * np.hanning(n) ** 0.5


_RENDER = {"tone": _tone, "noise": _noise, "clicks": _clicks, "sweep": _sweep, "vowel": _vowel, "speech": _speech}
