"""Frames of any size from square images: scaled, zoomed, with the rest of the frame filled, side by side."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

FILLS = ("blur", "mirror", "tile", "black")
# A surround of this brightness leaves the eye on the image.
_SURROUND_BRIGHTNESS = 0.5
# Enlarged more than this, single pixels show as a lattice unless a Gaussian of this sigma, in pixels, comes first.
_LATTICE_FROM, _LATTICE_SIGMA = 2.0, 0.5
# The surround is blurred at this part of its size, by a Gaussian of this part of its shorter side.
_BLUR_SCALE, _BLUR_SIGMA = 8, 0.08


class Panel:
    """Fits images into a panel of a frame: whole, centred, as large as the panel allows, scaled by Lanczos.

    An image that is enlarged by a factor of more than 2 is first blurred by a Gaussian of half a pixel.

    Args:
        size: width and height of the panel in pixels.
        fill: content of the rest of the panel: "blur", the image again, enlarged to cover the panel, blurred and
            darkened; "mirror", the image mirrored at its edges; "tile", the image repeated; "black".
    """

    def __init__(self, size: tuple[int, int], fill: str):
        self._size = size
        self._fill: Callable[[np.ndarray, Image.Image], np.ndarray] = {
            "blur": self._surround,
            "mirror": self._mirror,
            "tile": self._tile,
            "black": self._black,
        }[fill]

    def __call__(self, image: np.ndarray, zoom: float = 1.0) -> np.ndarray:
        """Returns the panel.

        Args:
            image: uint8 (height, width, 3), of any size.
            zoom: from 1; the centre of the image is enlarged by it, by fractions of a pixel where need be.

        Returns:
            uint8 (height, width, 3) of the panel.
        """
        source = Image.fromarray(image)
        margins = [side * (1 - 1 / zoom) / 2 for side in source.size]
        box = (margins[0], margins[1], source.width - margins[0], source.height - margins[1])
        size = self._fitted(source.size)
        if size == source.size and zoom == 1:
            scaled = image
        else:
            if size[0] > _LATTICE_FROM * source.width:
                source = source.filter(ImageFilter.GaussianBlur(_LATTICE_SIGMA))
            scaled = np.asarray(source.resize(size, Image.Resampling.LANCZOS, box=box))
        if size == self._size:
            return scaled
        left, top, right, bottom = map(round, box)
        return self._fill(scaled, source.crop((left, top, right, bottom)))

    def _fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns the largest size of these proportions within the panel."""
        scale = min(self._size[0] / size[0], self._size[1] / size[1])
        width, height = (min(limit, max(1, round(scale * n))) for limit, n in zip(self._size, size, strict=True))
        return width, height

    def _before(self, scaled: np.ndarray) -> tuple[int, int]:
        """Returns the pixels of the panel above and to the left of the image."""
        return (self._size[1] - scaled.shape[0]) // 2, (self._size[0] - scaled.shape[1]) // 2

    def _mirror(self, scaled: np.ndarray, source: Image.Image) -> np.ndarray:
        return self._repeat(scaled, mirrored=True)

    def _tile(self, scaled: np.ndarray, source: Image.Image) -> np.ndarray:
        return self._repeat(scaled, mirrored=False)

    def _repeat(self, scaled: np.ndarray, mirrored: bool) -> np.ndarray:
        for axis, before in enumerate(self._before(scaled)):
            length, total = scaled.shape[axis], self._size[1 - axis]
            index = (np.arange(total) - before) % (2 * length if mirrored else length)
            if mirrored:
                index = np.minimum(index, 2 * length - 1 - index)
            if total > length:
                scaled = np.take(scaled, index, axis=axis)
        return scaled

    def _black(self, scaled: np.ndarray, source: Image.Image) -> np.ndarray:
        return self._place(np.zeros((self._size[1], self._size[0], 3), np.uint8), scaled)

    def _surround(self, scaled: np.ndarray, source: Image.Image) -> np.ndarray:
        scale = max(self._size[0] / source.width, self._size[1] / source.height)
        width, height = self._size[0] / scale, self._size[1] / scale
        left, top = (source.width - width) / 2, (source.height - height) / 2
        small = source.resize(
            (max(1, self._size[0] // _BLUR_SCALE), max(1, self._size[1] // _BLUR_SCALE)),
            Image.Resampling.BICUBIC,
            box=(left, top, left + width, top + height),
        )
        blurred = small.filter(ImageFilter.GaussianBlur(_BLUR_SIGMA * min(small.size)))
        dark = blurred.point(lambda value: round(_SURROUND_BRIGHTNESS * value))
        return self._place(np.array(dark.resize(self._size, Image.Resampling.BICUBIC)), scaled)

    def _place(self, panel: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        top, left = self._before(scaled)
        panel[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
        return panel
