"""The static parts of the two places: shoreline, sky, land and textures, rendered once per image size."""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from keras_a2i.datasets.surf.paint import texture, to_floats

HORIZON = 0.42  # height of the horizon, as a fraction of the image from the top
LANTERN = (0.795, 0.112)  # column and row of the lighthouse's light
_LAND_BOTTOM = 0.68
_OVERSAMPLING = 4
# Column, row, half width, half height and colour: a dark stone, then its lighter top.
_BOULDERS = (
    (0.07, 0.60, 0.10, 0.055, (88, 82, 82)),
    (0.05, 0.588, 0.07, 0.035, (116, 108, 104)),
    (0.19, 0.635, 0.05, 0.028, (78, 74, 76)),
    (0.183, 0.629, 0.032, 0.015, (108, 102, 98)),
)


@dataclasses.dataclass(frozen=True)
class Scenery:
    """Layers of one place at one size, all float32; rows and columns are fractions of the image, 0 to 1."""

    rows: np.ndarray  # (size, 1)
    columns: np.ndarray  # (size,)
    shore: np.ndarray  # (size,) row where sea and land meet
    bumps: np.ndarray  # (3, size) smooth noise along x
    light: tuple[float, float]  # column and row of sun and moon
    glow: np.ndarray  # (size, size) nearness to the light, 1 at its centre
    stars: np.ndarray  # (size, size)
    clouds: np.ndarray  # (size, size)
    lumps: np.ndarray  # (size, size) coarse noise of foam
    grain: np.ndarray  # (size, size) fine noise of sand, whitecaps and foam lace
    rocks: np.ndarray  # (upper rows, size, 4) land, in daylight

    @property
    def size(self) -> int:
        """Pixels per side."""
        return len(self.columns)


@functools.lru_cache(maxsize=4)
def scenery(place: int, size: int) -> Scenery:
    """Renders the static layers of the bay (0) or the cove (1) for images of `size` pixels per side."""
    rows = ((np.arange(size, dtype=np.float32) + 0.5) / size)[:, None]
    columns = rows[:, 0]
    light = (0.70, 0.15) if place == 0 else (0.27, 0.16)
    distance = np.hypot(columns - light[0], rows - light[1])
    seeds = iter(range(100 * place, 100 * place + 100))
    bumps = np.stack([_bumps(next(seeds), turns, columns) for turns in (1.5, 3, 8)])
    if place == 0:
        shore = 0.765 - 0.10 * (columns - 0.35) ** 2 + 0.02 * np.sin(5 * columns)
    else:
        shore = 0.775 + 0.02 * np.sin(7 * columns + 1) - 0.03 * columns
    return Scenery(
        rows=rows,
        columns=columns,
        shore=shore.astype(np.float32),
        bumps=bumps,
        light=light,
        glow=np.exp(-distance / 0.13).astype(np.float32),
        stars=_stars(next(seeds), size),
        clouds=_clouds(next(seeds), size),
        lumps=texture(next(seeds), 40, 22, size, size),
        grain=0.6 * texture(next(seeds), 110, 60, size, size) + 0.4 * texture(next(seeds), 50, 30, size, size),
        rocks=_draw_land(_paint_headland if place == 0 else _paint_cliff, size),
    )


def _bumps(seed: int, turns: float, columns: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(seed)
    waves = [np.sin(2 * np.pi * (turns * stretch * columns + random.uniform())) for stretch in (0.6, 1.0, 1.7)]
    return (0.5 + np.asarray(sum(waves)) / 6).astype(np.float32)


def _clouds(seed: int, size: int) -> np.ndarray:
    layers = [(0.55, 9, 3), (0.3, 22, 8), (0.15, 50, 20)]
    noise = [
        share * texture(seed + 10 * i, rows, columns, size, size) for i, (share, rows, columns) in enumerate(layers)
    ]
    return np.asarray(sum(noise)).astype(np.float32)


def _stars(seed: int, size: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    layer = Image.new("L", (_OVERSAMPLING * size,) * 2)
    draw = ImageDraw.Draw(layer)
    for x, y, bright in random.uniform(size=(90, 3)) * (1, HORIZON, 1):
        radius = (0.0014 + 0.0022 * bright**3) * layer.width
        centre = np.array([x, y]) * layer.width
        draw.ellipse([*(centre - radius), *(centre + radius)], fill=int(110 + 145 * bright))
    return np.asarray(layer.reduce(_OVERSAMPLING), np.float32) / 255


def _draw_land(paint: Callable[["_Pen"], None], size: int) -> np.ndarray:
    layer = Image.new("RGBA", (_OVERSAMPLING * size,) * 2)
    paint(_Pen(layer))
    return to_floats(layer.reduce(_OVERSAMPLING))[: round(_LAND_BOTTOM * size)]


class _Pen:
    """Draws polygons whose points are fractions of the image."""

    def __init__(self, layer: Image.Image):
        self._draw, self._side = ImageDraw.Draw(layer), layer.width

    def polygon(self, points: list[tuple[float, float]], fill: tuple[int, int, int]) -> None:
        self._draw.polygon([(x * self._side, y * self._side) for x, y in points], fill=(*fill, 255))


def _paint_headland(pen: _Pen) -> None:
    ridge = np.linspace(0.0, 1.0, 41)
    for reach, height, phase, fill in ((0.62, 0.075, 0.3, (126, 168, 176)), (0.40, 0.06, 1.9, (84, 142, 128))):
        x = ridge * reach
        y = HORIZON - height * (1 - ridge**2) * (0.75 + 0.25 * np.sin(11 * x + phase))
        pen.polygon([(0, HORIZON + 0.004), *zip(x, y, strict=True), (reach, HORIZON + 0.004)], fill)


def _paint_cliff(pen: _Pen) -> None:
    back = [(0.0, 0.43), (0.0, 0.375), (0.05, 0.37), (0.11, 0.395), (0.17, 0.405), (0.22, 0.43)]
    pen.polygon(back, (142, 150, 160))
    top = [(0.62, 0.395), (0.66, 0.36), (0.71, 0.345), (0.79, 0.335), (0.88, 0.33), (1.0, 0.30)]
    foot = [(1.0, 0.62), (0.93, 0.60), (0.88, 0.56), (0.80, 0.535), (0.75, 0.50), (0.66, 0.475), (0.58, 0.452)]
    pen.polygon([*top, *foot], (108, 98, 92))
    pen.polygon([(0.62, 0.395), (0.66, 0.36), (0.69, 0.43), (0.66, 0.475), (0.58, 0.452)], (142, 128, 116))
    pen.polygon([(0.71, 0.345), (0.76, 0.40), (0.75, 0.50), (0.71, 0.487), (0.72, 0.42)], (132, 120, 110))
    pen.polygon([(0.84, 0.34), (0.87, 0.42), (0.86, 0.50), (0.88, 0.56), (0.83, 0.545), (0.80, 0.44)], (128, 116, 106))
    pen.polygon([(0.94, 0.36), (1.0, 0.40), (1.0, 0.54), (0.955, 0.50)], (124, 112, 104))
    pen.polygon([*top, (1.0, 0.335), (0.90, 0.352), (0.80, 0.352), (0.70, 0.364), (0.655, 0.378)], (112, 140, 84))
    _paint_lighthouse(pen)
    for x, y, rx, ry, fill in _BOULDERS:
        angles = np.linspace(0, 2 * np.pi, 9)[:-1]
        uneven = 1 + 0.16 * np.sin(3 * angles + 30 * x)
        across, down = x + rx * uneven * np.cos(angles), y + np.minimum(ry * uneven * np.sin(angles), 0.6 * ry)
        pen.polygon(list(zip(across, down, strict=True)), fill)


def _paint_lighthouse(pen: _Pen) -> None:
    x, foot, head = LANTERN[0], 0.345, 0.135
    stripes = np.linspace(foot, head, 6)
    for i, (low, high) in enumerate(itertools.pairwise(stripes)):
        wide, narrow = (0.024 + 0.016 * (y - head) / (foot - head) for y in (low, high))
        light, shade = ((214, 62, 52), (176, 44, 42)) if i % 2 else ((250, 248, 242), (216, 212, 206))
        pen.polygon([(x - wide, low), (x + wide, low), (x + narrow, high), (x - narrow, high)], light)
        pen.polygon([(x + 0.25 * wide, low), (x + wide, low), (x + narrow, high), (x + 0.25 * narrow, high)], shade)
    pen.polygon([(x - 0.033, 0.140), (x + 0.033, 0.140), (x + 0.033, 0.132), (x - 0.033, 0.132)], (70, 66, 70))
    pen.polygon([(x - 0.017, 0.132), (x + 0.017, 0.132), (x + 0.017, 0.092), (x - 0.017, 0.092)], (252, 236, 170))
    pen.polygon([(x - 0.025, 0.093), (x + 0.025, 0.093), (x, 0.066)], (190, 50, 46))
