"""What wind and rain move: palm, flag, gulls and rain streaks, drawn at twice the size and scaled down."""

import functools
import math

import numpy as np
from PIL import Image, ImageDraw

from keras_a2i.datasets.surf.paint import to_floats

_OVERSAMPLING = 2
_GULLS = ((0.30, 0.13, 1.0), (0.42, 0.20, 0.75), (0.17, 0.24, 0.6), (0.55, 0.10, 0.55))
_MOST_STREAKS = 260
# Degrees clockwise from the right, length, colour; from back to front.
_FRONDS = (
    (200, 0.20, (34, 96, 54)),
    (-20, 0.21, (34, 96, 54)),
    (235, 0.18, (40, 110, 58)),
    (-55, 0.18, (40, 110, 58)),
    (170, 0.20, (56, 134, 66)),
    (10, 0.21, (56, 134, 66)),
    (265, 0.15, (64, 146, 72)),
    (150, 0.16, (78, 160, 78)),
    (32, 0.18, (78, 160, 78)),
)
_COCONUTS = np.array([(-0.012, 0.012), (0.012, 0.014), (0.001, 0.02)])


def _stroke(draw: ImageDraw.ImageDraw, line: np.ndarray, widths: np.ndarray, fill: tuple[int, ...]) -> None:
    """Fills a line (n, 2) with the given width at each of its points, as one polygon."""
    along = np.gradient(line, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], 1) / (np.hypot(*along.T)[:, None] + 1e-9)
    offset = across * widths[:, None] / 2
    draw.polygon(list(map(tuple, np.concatenate([line + offset, (line - offset)[::-1]]))), fill=fill)


def palm(size: int, wind: float) -> tuple[np.ndarray, int, int]:
    """The bay's palm bending to the right with the wind.

    Returns:
        RGBA float32 layer, and the column and row of its top left corner in an image of `size` pixels per side.
    """
    left, top, right, bottom = 0, int(0.12 * size), int(0.56 * size), size
    layer = Image.new("RGBA", (_OVERSAMPLING * (right - left), _OVERSAMPLING * (bottom - top)))
    draw, side = ImageDraw.Draw(layer), _OVERSAMPLING * size
    origin = np.array([0.0, _OVERSAMPLING * top])
    t = np.linspace(0, 1, 14)[:, None]
    head = np.array([0.17 + 0.13 * wind, 0.36 + 0.035 * wind])
    root, knee = np.array([0.075, 1.02]), np.array([0.045 + 0.02 * wind, 0.62])
    trunk = (1 - t) ** 2 * root + 2 * t * (1 - t) * knee + t**2 * head
    _stroke(draw, trunk * side - origin, np.linspace(0.042, 0.020, 14) * side, (116, 84, 58))
    _stroke(draw, (trunk + np.array([0.006, 0])) * side - origin, np.linspace(0.016, 0.007, 14) * side, (150, 114, 78))
    for angle, reach, fill in _FRONDS:
        _frond(draw, head * side - origin, math.radians(angle), reach * side, wind, fill)
    for centre in (head + _COCONUTS) * side - origin:
        draw.ellipse([*(centre - 0.011 * side), *(centre + 0.011 * side)], fill=(104, 70, 44))
    return to_floats(layer.reduce(_OVERSAMPLING)), left, top


def _frond(
    draw: ImageDraw.ImageDraw, head: np.ndarray, angle: float, reach: float, wind: float, fill: tuple[int, ...]
) -> None:
    """One leaf: it leaves the head at `angle` (clockwise from the right) and droops, or streams with the wind."""
    t = np.linspace(0, 1, 12)[:, None]
    leave = np.array([math.cos(angle), math.sin(angle)])
    blown = np.array([1.0, 0.16 + 0.22 * math.sin(angle)])
    bend = (1 - 0.75 * wind) * np.array([0.12 * leave[0], 0.75]) + 0.9 * wind * blown
    line = head + reach * (t * leave * (1 - 0.45 * wind) + t**2 * bend)
    teeth = 1 - 0.28 * (np.arange(12) % 2)
    widths = reach * 0.24 * np.sin(np.pi * np.minimum(t[:, 0] * 0.86 + 0.14, 1)) * teeth
    _stroke(draw, line, widths, fill)


def flag(size: int, wind: float) -> tuple[np.ndarray, int, int]:
    """The cove's storm flag on its pole: hanging in still air, stretched and rippling in a gale.

    Returns:
        As `palm`.
    """
    left, top, right, bottom = int(0.08 * size), int(0.42 * size), int(0.48 * size), size
    layer = Image.new("RGBA", (_OVERSAMPLING * (right - left), _OVERSAMPLING * (bottom - top)))
    draw, side = ImageDraw.Draw(layer), _OVERSAMPLING * size
    origin = np.array([_OVERSAMPLING * left, _OVERSAMPLING * top])
    foot, tip = np.array([0.135, 0.99]), np.array([0.155 + 0.012 * wind, 0.46])
    pole = foot + (tip - foot) * np.linspace(0, 1, 3)[:, None]
    t = np.linspace(0, 1, 16)
    droop = math.radians(82 * (1 - wind) ** 1.5)
    length, hoist = 0.235, 0.115
    ripple = 0.014 * wind * np.sin(2 * np.pi * 1.6 * t) * t + 0.012 * (1 - wind) * np.sin(2 * np.pi * t)
    along = np.stack([np.cos(droop) * t, np.sin(droop) * t], 1) * length
    upper = tip + along + np.stack([ripple * np.sin(droop), ripple + 0.012], 1)
    fold = hoist * (0.55 + 0.45 * wind)
    lower = upper + np.stack([0.10 * t * np.sin(droop), fold * (1 - 0.45 * t)], 1)
    middle = (upper + lower) / 2
    for a, b, fill in ((upper, middle, (236, 120, 44)), (middle, lower, (214, 88, 34))):
        draw.polygon(list(map(tuple, np.concatenate([a, b[::-1]]) * side - origin)), fill=fill)
    _stroke(draw, pole * side - origin, np.full(3, 0.011 * side), (84, 74, 70))
    _tufts(draw, side, origin, wind)
    return to_floats(layer.reduce(_OVERSAMPLING)), left, top


def _tufts(draw: ImageDraw.ImageDraw, side: int, origin: np.ndarray, wind: float) -> None:
    """Grass around the pole's foot, laid over by the wind."""
    for i, spread in enumerate(np.linspace(-1, 1, 13)):
        root = np.array([0.19 + 0.07 * spread, 1.01])
        tip = root + np.array([0.03 * spread + 0.12 * wind, -(0.13 + 0.03 * (i % 3)) * (1 - 0.42 * wind)])
        knee = (root + tip) / 2 - np.array([0.03 * wind, 0.01])
        t = np.linspace(0, 1, 6)[:, None]
        line = (1 - t) ** 2 * root + 2 * t * (1 - t) * knee + t**2 * tip
        shade = (92, 120, 62) if i % 2 else (120, 146, 76)
        _stroke(draw, line * side - origin, np.linspace(0.012, 0.001, 6) * side, shade)


def gulls(size: int, wind: float) -> np.ndarray:
    """Four gulls, blown lower and to the side by the wind; alpha float32 (rows above the sea, size)."""
    side = _OVERSAMPLING * size
    layer = Image.new("L", (side, _OVERSAMPLING * int(0.42 * size)))
    draw = ImageDraw.Draw(layer)
    t = np.linspace(0, 1, 9)[:, None]
    for x, y, scale in _GULLS:
        body = np.array([x + 0.08 * wind, y + 0.03 * wind])
        for way in (-1, 1):
            tip = body + np.array([way * 0.055, -0.012 - 0.012 * way * wind]) * scale
            knee = body + np.array([way * 0.025, -0.042]) * scale
            wing = (1 - t) ** 2 * body + 2 * t * (1 - t) * knee + t**2 * tip
            _stroke(draw, wing * side, np.linspace(0.011, 0.002, 9) * scale * side, (255,))
    return np.asarray(layer.reduce(_OVERSAMPLING), np.float32) / 255


def rain_streaks(size: int, rain: float, wind: float) -> np.ndarray:
    """Rain falling at the wind's slant, more and longer streaks the more it rains; alpha float32 (size, size)."""
    side = _OVERSAMPLING * size
    layer = Image.new("L", (side, side))
    draw = ImageDraw.Draw(layer)
    width = max(1, round(0.004 * side))
    length = 0.05 + 0.06 * rain
    step = np.array([0.06 + 0.75 * wind, 1.0]) * length
    shown = rain * _MOST_STREAKS
    for i, start in enumerate(_streak_starts()[: math.ceil(shown)]):
        head = (start * (1.5, 1.1) - (0.45, 0.1)) * side
        draw.line([*head, *(head + step * side)], fill=int(190 * min(1.0, shown - i)), width=width)
    return np.asarray(layer.reduce(_OVERSAMPLING), np.float32) / 255


@functools.lru_cache(maxsize=1)
def _streak_starts() -> np.ndarray:
    # An additive recurrence fills the square evenly whatever the number of streaks.
    i = np.arange(1, _MOST_STREAKS + 1)[:, None]
    return np.mod(i * np.array([0.7548776662, 0.5698402910]), 1)
