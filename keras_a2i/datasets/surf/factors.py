"""The hidden factors of a rendered pair: which there are, and how they change during a recording."""

import math

import numpy as np

# name -> (kind, lowest, highest). A binary factor is exactly 0.0 or 1.0.
FACTORS: dict[str, tuple[str, float, float]] = {
    "swell": ("continuous", 0.0, 1.0),  # height of the waves
    "wave": ("continuous", 0.0, 1.0),  # 0 a crest far out, about 0.6 breaking, 1 run up on the beach
    "wind": ("continuous", 0.0, 1.0),
    "rain": ("continuous", 0.0, 1.0),  # 0 dry
    "night": ("binary", 0.0, 1.0),
    "place": ("binary", 0.0, 1.0),  # 0 sandy bay, 1 rocky cove; the same all through a recording
}

_DRY_SHARE = 0.4
# Shortest and longest period of the slow drift, in pairs.
_PERIODS = {"swell": (9, 19), "wind": (7, 15), "rain": (10, 20), "night": (14, 24)}
_FACTOR_STREAM, _JITTER_STREAM, AUDIO_STREAM = 0, 1, 2


def random_stream(seed: int, recording: int, stream: int, second: int = 0) -> np.random.Generator:
    """Returns random numbers that depend on the arguments alone, so that pairs can be rendered in any order."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(recording, stream, second)))


def factors_at(seed: int, recording: int, second: int) -> dict[str, float]:
    """Returns the values of all factors of one pair.

    Swell, wind and rain drift with sums of sines, made uniform by their normal distribution function; a wave arrives
    every 6 to 10 pairs; day and night change every 5 to 15 pairs. A little jitter keeps two pairs from being equal.

    Args:
        seed: random seed of the data set.
        recording: number of the recording; even ones are at the bay, odd ones at the cove.
        second: number of the pair within the recording, from 0.

    Returns:
        A value for every name in `FACTORS`, within its range.
    """
    course = random_stream(seed, recording, _FACTOR_STREAM)
    jitter = random_stream(seed, recording, _JITTER_STREAM, second)
    level = {name: _drift(course, second, *periods) for name, periods in _PERIODS.items()}
    period, start, sway = course.uniform(6, 10), course.uniform(), course.uniform(0, 2 * math.pi)
    wave = start + second / period + 0.35 * math.sin(2 * math.pi * second / 31 + sway) + jitter.uniform(-0.04, 0.04)
    moved = {name: _reflect(level[name] + jitter.uniform(-0.05, 0.05)) for name in ("swell", "wind", "rain")}
    return {
        "swell": moved["swell"],
        "wave": wave % 1.0,
        "wind": moved["wind"],
        "rain": max(0.0, (moved["rain"] - _DRY_SHARE) / (1 - _DRY_SHARE)),
        "night": float(level["night"] > 0.5),
        "place": float(recording % 2),
    }


def _drift(course: np.random.Generator, second: int, shortest: float, longest: float) -> float:
    periods, phases = course.uniform(shortest, longest, 4), course.uniform(0, 2 * math.pi, 4)
    # Four sines of unit amplitude have variance 2: erf(x / 2) is the distribution function of their normal limit.
    return 0.5 + 0.5 * math.erf(float(np.sin(2 * np.pi * second / periods + phases).sum()) / 2)


def _reflect(value: float) -> float:
    return min(abs(value), 2 - abs(value))
