"""Reading the opening of the mouth back out of an image of a face, rendered or generated."""

import numpy as np

from keras_a2i.datasets.faces.identity import lips_of
from keras_a2i.datasets.faces.image import CLOSED_HEIGHT, INSIDE, OPEN_HEIGHT
from keras_a2i.errors import UsageError

# Shares of the image's side. The mouth lies within these rows, and the skin beside it within the columns of the cheeks.
_ROWS = (0.62, 0.83)
_MIDDLE = (0.47, 0.53)
_CHEEKS = ((0.31, 0.36), (0.64, 0.69))
_CHEEK_ROWS = (0.58, 0.66)


def read_mouth(images: np.ndarray) -> np.ndarray:
    """Reads how far the mouths are open: the height of the dark inside in the middle of the lips.

    Every pixel below the nose counts by how far its colour lies from that of the lips, which follows from that of the
    cheeks, to that of the inside of a mouth, so that edges and blurred mouths count in proportion.

    Args:
        images: uint8, or float in [-1, 1], (n, size, size, 3), of faces at the place of `synthetic:faces`.

    Returns:
        float64 (n,), about 0 closed to 1, the scale of the factor `opening`.

    Raises:
        UsageError: if the images aren't RGB images.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise UsageError(f"images must have the shape (n, size, size, 3). Received: shape {images.shape}")
    pixels = images.astype(np.float64)
    if images.dtype != np.uint8:
        pixels = (pixels + 1) * 127.5
    size = images.shape[1]
    sides = [_part(pixels, _CHEEK_ROWS, columns, size).reshape(len(images), -1, 3) for columns in _CHEEKS]
    skin = np.median(np.concatenate(sides, axis=1), axis=1)[:, None, None]
    way = np.array(INSIDE) - skin
    middle = _part(pixels, _ROWS, _MIDDLE, size)
    along, lips = (((colours - skin) * way).sum(axis=-1) / (way**2).sum(axis=-1) for colours in (middle, lips_of(skin)))
    dark = np.clip((along - lips) / (1 - lips), 0, 1)
    height = dark.mean(axis=2).sum(axis=1) / size
    return (height - CLOSED_HEIGHT) / (OPEN_HEIGHT - CLOSED_HEIGHT)


def _part(pixels: np.ndarray, rows: tuple[float, float], columns: tuple[float, float], size: int) -> np.ndarray:
    top, bottom, left, right = (round(size * share) for share in (*rows, *columns))
    return pixels[:, top:bottom, left:right]
