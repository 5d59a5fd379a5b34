"""Colours of the two places by day and by night."""

import dataclasses

import numpy as np

from keras_a2i.datasets.surf.paint import colour


@dataclasses.dataclass(frozen=True)
class Palette:
    """Colours, float32 (3,) in [0, 1], of one place by day or by night; `tint` multiplies those of land and figures."""

    zenith: np.ndarray
    skyline: np.ndarray
    cloud: np.ndarray
    overcast: np.ndarray
    glow: np.ndarray
    far_sea: np.ndarray
    near_sea: np.ndarray
    crest: np.ndarray
    foam: np.ndarray
    dry: np.ndarray
    wet: np.ndarray
    tint: np.ndarray


# (place, night) -> its colours.
PALETTES = {
    (0, 0): Palette(
        zenith=colour(58, 134, 214),
        skyline=colour(206, 234, 244),
        cloud=colour(255, 255, 255),
        overcast=colour(150, 160, 170),
        glow=colour(255, 246, 206),
        far_sea=colour(34, 112, 172),
        near_sea=colour(72, 192, 194),
        crest=colour(150, 232, 214),
        foam=colour(252, 254, 254),
        dry=colour(242, 219, 168),
        wet=colour(186, 152, 108),
        tint=colour(255, 255, 255),
    ),
    (0, 1): Palette(
        zenith=colour(8, 12, 38),
        skyline=colour(50, 62, 116),
        cloud=colour(70, 80, 124),
        overcast=colour(30, 34, 50),
        glow=colour(236, 238, 220),
        far_sea=colour(16, 32, 70),
        near_sea=colour(24, 70, 100),
        crest=colour(62, 124, 146),
        foam=colour(158, 178, 210),
        dry=colour(84, 78, 98),
        wet=colour(46, 44, 68),
        tint=colour(88, 98, 146),
    ),
    (1, 0): Palette(
        zenith=colour(96, 148, 196),
        skyline=colour(244, 226, 198),
        cloud=colour(255, 250, 244),
        overcast=colour(140, 146, 154),
        glow=colour(255, 232, 178),
        far_sea=colour(36, 88, 118),
        near_sea=colour(52, 134, 134),
        crest=colour(126, 196, 176),
        foam=colour(246, 250, 248),
        dry=colour(168, 160, 150),
        wet=colour(98, 96, 98),
        tint=colour(255, 255, 255),
    ),
    (1, 1): Palette(
        zenith=colour(14, 12, 34),
        skyline=colour(74, 62, 104),
        cloud=colour(82, 76, 112),
        overcast=colour(30, 32, 44),
        glow=colour(240, 228, 204),
        far_sea=colour(18, 28, 54),
        near_sea=colour(24, 54, 76),
        crest=colour(58, 100, 116),
        foam=colour(146, 160, 190),
        dry=colour(62, 60, 76),
        wet=colour(36, 36, 52),
        tint=colour(88, 90, 128),
    ),
}
