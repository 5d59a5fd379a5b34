"""The image of the shore: a function of the hidden factors alone."""

import numpy as np
from PIL import Image

from keras_a2i.config import ImageConfig
from keras_a2i.datasets.surf.figures import flag, gulls, palm, rain_streaks
from keras_a2i.datasets.surf.paint import blend, colour, lay, smoothstep
from keras_a2i.datasets.surf.palette import PALETTES, Palette
from keras_a2i.datasets.surf.scenery import HORIZON, LANTERN, Scenery, scenery
from keras_a2i.datasets.surf.sea import paint_beach, paint_breaker, paint_sea
from keras_a2i.media.image import fit_image

_DRAWN_SIZE = 256


def render_image(factors: dict[str, float], image: ImageConfig) -> np.ndarray:
    """Renders the shore at 256 pixels per side (or `image.size`, if that is larger) and scales it to `image.size`.

    Args:
        factors: value of every name in `FACTORS`.
        image: size and channels.

    Returns:
        uint8 array (size, size, channels).
    """
    place, night = int(factors["place"]), int(factors["night"])
    scene, palette = scenery(place, max(_DRAWN_SIZE, image.size)), PALETTES[place, night]
    canvas = np.broadcast_to(palette.skyline, (scene.size, scene.size, 3)).copy()
    _paint_sky(canvas, scene, palette, factors)
    paint_sea(canvas, scene, palette, factors)
    lay(canvas, scene.rocks, _tint(palette, factors))
    paint_beach(canvas, scene, palette, factors)
    paint_breaker(canvas, scene, palette, factors)
    if night and place:
        _paint_beam(canvas, scene, factors["rain"])
    layer, left, top = (flag if place else palm)(scene.size, factors["wind"])
    lay(canvas, layer, _tint(palette, factors), left, top)
    if factors["rain"] > 0:
        streaks = rain_streaks(scene.size, factors["rain"], factors["wind"])
        blend(canvas, palette.foam, 0.5 * streaks)
    rendered = Image.fromarray((np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8))
    return fit_image(rendered, image)


def _tint(palette: Palette, factors: dict[str, float]) -> np.ndarray:
    return palette.tint * (1 - 0.3 * factors["rain"])


def _paint_sky(canvas: np.ndarray, scene: Scenery, palette: Palette, factors: dict[str, float]) -> None:
    last = int(HORIZON * scene.size) + 1
    sky, rows, glow = canvas[:last], scene.rows[:last], scene.glow[:last]
    night, rain, wind = factors["night"], factors["rain"], factors["wind"]
    cover = float(smoothstep(0.0, 0.7, rain))
    sky[:] = palette.zenith + (palette.skyline - palette.zenith) * ((rows / HORIZON) ** 1.4)[..., None]
    if night:
        blend(sky, colour(255, 255, 255), scene.stars[:last] * (1 - cover))
    blend(sky, palette.glow, (0.25 if night else 0.6) * (1 - 0.9 * cover) * glow)
    _paint_light(sky, scene, palette, night, 1 - cover)
    clouds = smoothstep(0.78 - 0.34 * wind, 1.05 - 0.34 * wind, scene.clouds[:last])
    blend(sky, palette.cloud, (0.55 if night else 0.85) * clouds)
    billows = palette.overcast * (0.82 + 0.3 * scene.clouds[:last, :, None])
    blend(sky, billows, 0.92 * cover * (0.8 + 0.2 * clouds))
    if not night:
        alpha = gulls(scene.size, wind)
        blend(canvas[: len(alpha)], colour(58, 66, 84), 0.9 * alpha)


def _paint_light(sky: np.ndarray, scene: Scenery, palette: Palette, night: float, clear: float) -> None:
    """The sun's disc, or the moon's with its dark side."""
    x, y = scene.light
    edge, rows = 0.7 / scene.size, scene.rows[: len(sky)]

    def disc(dx: float, dy: float, radius: float) -> np.ndarray:
        distance = np.hypot(scene.columns - x - dx, rows - y - dy)
        return 1 - smoothstep(radius - edge, radius + edge, distance)

    if night:
        crescent = disc(0, 0, 0.046) * (1 - disc(0.024, -0.012, 0.042))
        blend(sky, palette.glow, (0.15 + 0.85 * clear) * crescent)
    else:
        blend(sky, palette.glow + (1 - palette.glow) * 0.4, clear * disc(0, 0, 0.05))


def _paint_beam(canvas: np.ndarray, scene: Scenery, rain: float) -> None:
    """The lighthouse's two beams and the glow of its lantern."""
    last = int(0.6 * scene.size)
    dx, dy = scene.columns - LANTERN[0], scene.rows[:last] - LANTERN[1]
    reach = np.hypot(dx, dy)
    off_axis = np.abs(dy - 0.10 * dx) / (0.012 + 0.16 * np.abs(dx))
    beam = (1 - smoothstep(0.3, 1.0, off_axis)) * np.exp(-reach / (0.45 - 0.15 * rain))
    glow = np.exp(-((reach / 0.035) ** 2))
    blend(canvas[:last], colour(255, 240, 180), np.clip(0.55 * beam + glow, 0, 1))
