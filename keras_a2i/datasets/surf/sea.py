"""The moving water: rows of waves, the breaker, and its run up the beach."""

import numpy as np

from keras_a2i.datasets.surf.paint import blend, smoothstep
from keras_a2i.datasets.surf.palette import Palette
from keras_a2i.datasets.surf.scenery import HORIZON, Scenery

_BREAKING, _LANDING = 0.42, 0.80  # wave position where foam begins and where the crest meets the beach


def paint_sea(canvas: np.ndarray, scene: Scenery, palette: Palette, factors: dict[str, float]) -> None:
    """Paints open water, whitecaps and the light's path below the horizon, in place."""
    first = int(HORIZON * scene.size)
    area, rows = canvas[first:], scene.rows[first:]
    lumps, grain = scene.lumps[first:], scene.grain[first:]
    near = np.clip((rows - HORIZON) / (0.78 - HORIZON), 0, 1)
    body = palette.far_sea + (palette.near_sea - palette.far_sea) * (near**0.8)[..., None]
    body = body + (palette.overcast - body) * (0.45 * factors["rain"])
    blend(area, body, smoothstep(HORIZON - 0.5 / scene.size, HORIZON + 0.5 / scene.size, rows))
    turns = 6.5 * np.log(near + 0.07) + 0.5 * scene.bumps[0] + 0.35 * lumps - 2 * factors["wave"]
    ridge = np.sin(2 * np.pi * turns)
    strength = (0.10 + 0.30 * factors["swell"]) * (0.4 + 0.6 * near)
    blend(area, palette.crest, strength * np.maximum(ridge, 0))
    blend(area, palette.far_sea * 0.8, strength * 0.9 * np.maximum(-ridge, 0))
    _paint_glitter(area, scene, palette, grain, ridge, first, 1 - 0.9 * factors["rain"])
    wind = factors["wind"]
    caps = smoothstep(1.02 - 0.34 * wind, 1.10 - 0.34 * wind, grain + 0.12 * ridge)
    blend(area, palette.foam, 0.9 * caps)


def _paint_glitter(
    area: np.ndarray, scene: Scenery, palette: Palette, grain: np.ndarray, ridge: np.ndarray, first: int, clear: float
) -> None:
    width = 0.03 + 0.16 * (scene.rows[first:] - HORIZON)
    path = np.exp(-(((scene.columns - scene.light[0]) / width) ** 2))
    blend(area, palette.glow, 0.75 * clear * path * smoothstep(0.45, 0.8, grain + 0.25 * ridge))


def paint_beach(canvas: np.ndarray, scene: Scenery, palette: Palette, factors: dict[str, float]) -> None:
    """Paints sand, the wet strip that the swell reaches, and the sheet of water that runs up it, in place."""
    first = int((scene.shore.min() - 0.02) * scene.size)
    area, rows, grain = canvas[first:], scene.rows[first:], scene.grain[first:]
    size, shore, swell, wave = scene.size, scene.shore, factors["swell"], factors["wave"]
    below = rows - shore
    sand = palette.dry * (0.93 + 0.12 * grain[..., None])
    blend(area, sand, smoothstep(0, 0.012, below))
    furthest = (0.05 + 0.12 * swell) * (0.75 + 0.5 * scene.bumps[0])
    damp = np.maximum(1 - smoothstep(0.9, 1.25, below / furthest), 0.75 * factors["rain"])
    blend(area, palette.wet, 0.85 * damp * smoothstep(0, 0.012, below))
    sheen = damp * (1 - smoothstep(0.0, 1.0, below / furthest)) * smoothstep(0, 0.012, below)
    blend(area, palette.skyline, 0.38 * sheen)
    rising = float(smoothstep(_LANDING - 0.12, 1.0, wave))
    reach = furthest * rising + 0.005
    sheet = smoothstep(-0.5 / size, 1.0 / size, reach - below) * smoothstep(-0.05, 0.02, below)
    body = 0.55 * palette.near_sea + 0.45 * palette.crest
    blend(area, body, 0.8 * sheet)
    behind = (reach - below) / (0.012 + 0.10 * rising)
    lace = smoothstep(0.0, 0.35, grain - 0.25 - 0.55 * np.clip(behind, 0, 1)) * sheet
    blend(area, palette.foam, lace * (0.35 + 0.6 * rising))
    edge = 0.006 + 0.012 * rising * (0.4 + scene.bumps[2])
    blend(area, palette.foam, sheet * (1 - smoothstep(0.6, 1.1, (reach - below) / edge)))


def paint_breaker(canvas: np.ndarray, scene: Scenery, palette: Palette, factors: dict[str, float]) -> None:
    """Paints the main wave: a dark swell far out, a translucent face that breaks, white water at the beach."""
    size, swell, wave = scene.size, factors["swell"], factors["wave"]
    t = min(wave / _LANDING, 1.0)
    travel = 0.35 * t + 0.65 * t * t
    far = HORIZON + 0.035
    base = far + (scene.shore - far) * travel + 0.010 * travel * (scene.bumps[0] - 0.5)
    depth = (0.12 + 0.88 * travel) * (1 - float(smoothstep(_LANDING - 0.1, 0.97, wave)))
    height = (0.03 + 0.23 * swell) * depth * (0.80 + 0.3 * scene.bumps[0] + 0.08 * scene.bumps[2]) + 1e-3
    top = base - height
    first, last = int((top.min() - 0.1) * size), int(base.max() * size) + 2
    area, rows = canvas[first:last], scene.rows[first:last]
    lumps, grain = scene.lumps[first:last], scene.grain[first:last]
    down = (rows - top) / height
    inside = smoothstep(-0.5 / size, 1.0 / size, rows - top) * smoothstep(-1.0 / size, 0.5 / size, base - rows)
    shade = np.clip(down, 0, 1)[..., None]
    face = palette.crest * (1 - shade) + (0.62 * palette.far_sea + 0.2 * palette.near_sea) * shade
    stripes = 0.10 * np.sin(40 * scene.columns + 9 * scene.bumps[0] + 3 * down)[..., None]
    face = face * (1 + stripes * (1 - shade))
    present = float(smoothstep(0.0, 0.06, wave))
    blend(area, face + (palette.overcast - face) * (0.3 * factors["rain"]), inside * present)
    broken = smoothstep(_BREAKING, _BREAKING + 0.30, wave + 0.14 * (scene.bumps[0] - 0.5))
    _paint_foam(area, palette, broken, down, inside, lumps, grain)
    lip = (0.004 + 0.020 * broken * (0.4 + 0.9 * scene.bumps[2])) * (0.3 + 0.7 * depth)
    crown = 1 - smoothstep(lip * 0.7, lip * 0.7 + 2.0 / size, np.abs(rows - top))
    blend(area, palette.foam, crown * np.maximum(broken, 0.35 * travel) * smoothstep(0.02, 0.3, depth))
    spray = np.exp(-np.maximum(top - rows, 0) / (0.004 + 0.05 * factors["wind"] * swell)) * (rows < top)
    blend(area, palette.foam, 0.75 * spray * broken * depth * smoothstep(0.25, 0.8, lumps))


def _paint_foam(
    area: np.ndarray,
    palette: Palette,
    broken: np.ndarray,
    down: np.ndarray,
    inside: np.ndarray,
    lumps: np.ndarray,
    grain: np.ndarray,
) -> None:
    shade = np.clip(down, 0, 1)
    front = 1.5 * broken + 0.4 * (lumps - 0.5) * broken
    water = smoothstep(-0.2, 0.2, front - 0.2 - shade) * inside * np.minimum(1, 4 * broken)
    blend(area, (0.72 * palette.foam + 0.28 * palette.crest) * 0.94, water)
    light = smoothstep(0.25, 0.75, 0.55 * lumps + 0.45 * grain + 0.45 * (0.5 - shade))
    blend(area, palette.foam, water * light)
