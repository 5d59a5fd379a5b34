"""The audio of the shore: every hidden factor has its own band and pattern, so that one clip determines them all.

| factor | audible as |
|---|---|
| swell | level of the rumble around 120 Hz (26 dB), and a little of the breaker's |
| wave | centre of the breaker's noise: 0.85 kHz far out, 2.9 kHz on the sand; loudest when it breaks |
| wind | howl, 340 to 720 Hz, rising in pitch and level with the wind |
| rain | crackle from 5.9 to 8 kHz, denser and louder |
| night | crickets at 5 kHz by night, gulls at 2 to 3 kHz by day |
| place | bamboo chimes in the bay; a bell buoy, rattling pebbles at 3.9 kHz and an echo in the cove |

At sample rates below 16 kHz the high bands are shifted down in proportion.
"""

import numpy as np

from keras_a2i.config import FeatureConfig

_ECHO_SECONDS, _ECHO = 0.11, 0.3
_LOUDEST_PEAK = 0.98
_BELL = ((270.0, 1.0, 4.0), (545.0, 0.3, 6.0), (980.0, 0.3, 10.0))  # Hz, amplitude, decay per second
_CHIMES = ((1180.0, 1.0, 30.0), (2050.0, 0.4, 45.0))


def render_audio(factors: dict[str, float], features: FeatureConfig, random: np.random.Generator) -> np.ndarray:
    """Renders the waveform of one pair.

    Args:
        factors: value of every name in `FACTORS`; constant over the pair.
        features: sample rate (8 kHz or more) and duration.
        random: source of the noise and of the moments of calls and strokes.

    Returns:
        float32 (n_samples,) in [-1, 1].
    """
    n, rate = features.n_samples, features.sample_rate
    seconds = np.arange(n) / rate
    frequencies = np.fft.rfftfreq(n, 1 / rate)
    top = min(rate / 16_000, 1.0)
    # Always drawn, in the same order: two waveforms with the same seed differ by their factors alone.
    white, gusts, drops = random.standard_normal((3, n), dtype=np.float32)
    arrivals, weights = random.uniform(size=n), np.minimum(random.exponential(size=n), 3)
    waveform = _shape(white, _surf_spectrum(frequencies, factors))
    waveform += _shape(gusts, _wind_spectrum(frequencies, factors["wind"]))
    if factors["rain"] > 0:
        waveform += _rain(drops, arrivals, weights, frequencies, rate, factors["rain"])
    waveform += _crickets(seconds, 5_000 * top, random) if factors["night"] else _gulls(seconds, top, random)
    if factors["place"]:
        waveform += _strokes(seconds, _BELL, 0.012, 1.0, random)
        waveform += _pebbles(drops[::-1], arrivals[::-1], weights[::-1], frequencies, rate)
        waveform = _with_echo(waveform, round(_ECHO_SECONDS * rate))
    else:
        waveform += _strokes(seconds, _CHIMES, 0.02, 3.0, random)
    return (waveform / max(1.0, np.abs(waveform).max() / _LOUDEST_PEAK)).astype(np.float32)


def _band(frequencies: np.ndarray, centre: float, octaves: float, level: float) -> np.ndarray:
    """Power spectrum of a noise band, log-Gaussian around `centre`, with the rms `level` (1 is full scale)."""
    distance = np.log2(np.maximum(frequencies, 1.0) / centre) / octaves
    power = np.exp(-0.5 * distance * distance)
    return power * (level**2 / max(power.mean(), 1e-12))


def _shape(white: np.ndarray, power: np.ndarray) -> np.ndarray:
    return np.fft.irfft(np.fft.rfft(white) * np.sqrt(power), len(white))


def _decibels(level: float) -> float:
    return 10 ** (level / 20)


def _surf_spectrum(frequencies: np.ndarray, factors: dict[str, float]) -> np.ndarray:
    swell, wave = factors["swell"], factors["wave"]
    rumble = _band(frequencies, 120, 0.5, _decibels(-44 + 26 * swell))
    crash = np.exp(-(((wave - 0.62) / 0.2) ** 2))
    breaker = _band(frequencies, 850 * (2.9 / 0.85) ** wave, 0.3, _decibels(-38 + 6 * swell + 4 * crash))
    return rumble + breaker + _band(frequencies, 1_000, 2.5, _decibels(-62))


def _wind_spectrum(frequencies: np.ndarray, wind: float) -> np.ndarray:
    return _band(frequencies, 340 * (720 / 340) ** wind, 0.22, _decibels(-44 + 22 * wind))


def _rain(
    drops: np.ndarray, arrivals: np.ndarray, weights: np.ndarray, frequencies: np.ndarray, rate: int, rain: float
) -> np.ndarray:
    power = 1 / (1 + np.exp((0.37 * min(rate, 16_000) - frequencies) / 120)) * (frequencies < 8_000)
    power *= _decibels(-60 + 32 * rain) ** 2 / power.mean()
    return _shape(0.8 * drops + 0.6 * _clicks(drops, arrivals, weights, rate, 60 + 500 * rain), power)


def _pebbles(
    drops: np.ndarray, arrivals: np.ndarray, weights: np.ndarray, frequencies: np.ndarray, rate: int
) -> np.ndarray:
    power = _band(frequencies, 3_900 * min(rate / 16_000, 1.0), 0.12, _decibels(-32))
    return _shape(_clicks(drops, arrivals, weights, rate, 800), power)


def _clicks(drops: np.ndarray, arrivals: np.ndarray, weights: np.ndarray, rate: int, per_second: float) -> np.ndarray:
    """Single samples of random sign and size at random moments; unit power on average."""
    return np.where(arrivals < per_second / rate, weights * np.sign(drops), 0) * np.sqrt(rate / per_second / 2)


def _crickets(seconds: np.ndarray, pitch: float, random: np.random.Generator) -> np.ndarray:
    phase, trill = random.uniform(0, 2 * np.pi, 2)
    pulses = np.maximum(0, np.sin(2 * np.pi * 27 * seconds + trill)) ** 2
    return _decibels(-32) * pulses * np.sin(2 * np.pi * pitch * seconds + phase)


def _gulls(seconds: np.ndarray, top: float, random: np.random.Generator) -> np.ndarray:
    """Falling cries, three per second, from 3 kHz down to 2 kHz."""
    step = 1 / 3
    start = random.uniform(0, 0.08)
    since = np.mod(seconds - start, step)
    pitch = (3_000 - 1_000 * since / 0.22) * min(1.0, 0.6 + 0.4 * top)
    turns = np.cumsum(pitch) * (2 * np.pi * (seconds[1] - seconds[0]))
    swell = np.where(since < 0.22, np.sin(np.pi * np.minimum(since / 0.22, 1)), 0)
    return _decibels(-28) * swell * np.sin(turns)


def _strokes(
    seconds: np.ndarray,
    partials: tuple[tuple[float, float, float], ...],
    level: float,
    per_second: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Struck partials (Hz, amplitude, decay per second), the strokes evenly spaced after a random start."""
    since = np.mod(seconds + random.uniform(0, 1 / per_second), 1 / per_second)
    struck = [a * np.exp(-decay * since) * np.sin(2 * np.pi * hz * since) for hz, a, decay in partials]
    return level * np.asarray(sum(struck))


def _with_echo(waveform: np.ndarray, delay: int) -> np.ndarray:
    echoed = waveform.copy()
    echoed[delay:] += _ECHO * waveform[: max(len(waveform) - delay, 0)]
    return echoed
