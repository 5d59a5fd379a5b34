"""Brushes of the image: soft steps, blending and fixed smooth textures on float arrays."""

import numpy as np
from PIL import Image


def smoothstep(low: float | np.ndarray, high: float | np.ndarray, x: float | np.ndarray) -> np.ndarray:
    """Returns 0 below `low`, 1 above `high`, and a smooth cubic in between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def blend(canvas: np.ndarray, colour: np.ndarray, alpha: np.ndarray | float) -> None:
    """Blends a colour (3,) or an image (h, w, 3) over the canvas in place; alpha is (h, w), (h, 1) or a number."""
    alpha = np.asarray(alpha, np.float32)
    canvas += (colour - canvas) * (alpha[..., None] if alpha.ndim else alpha)


def lay(canvas: np.ndarray, layer: np.ndarray, tint: np.ndarray, left: int = 0, top: int = 0) -> None:
    """Blends an RGBA layer (h, w, 4), its colours multiplied by `tint` (3,), over part of the canvas in place."""
    part = canvas[top : top + layer.shape[0], left : left + layer.shape[1]]
    part += (layer[..., :3] * tint - part) * layer[..., 3:]


def to_floats(layer: Image.Image) -> np.ndarray:
    """Converts an RGBA image to float32 (h, w, 4) in [0, 1]."""
    return np.asarray(layer, np.float32) / 255


def colour(*values: int) -> np.ndarray:
    """Converts an RGB colour of 0 to 255 to float32 (3,) in [0, 1]."""
    return np.array(values, np.float32) / 255


def texture(seed: int, rows: int, columns: int, height: int, width: int) -> np.ndarray:
    """Returns smooth noise in [0, 1], uniform over its area, from a random grid that is the same for every image size.

    Args:
        seed: which texture.
        rows: grid cells from top to bottom.
        columns: grid cells from left to right.
        height: pixels.
        width: pixels.

    Returns:
        float32 (height, width).
    """
    grid = np.random.default_rng(seed).normal(size=(rows + 1, columns + 1)).astype(np.float32)
    fine = np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
    ranks = np.quantile(fine, np.linspace(0, 1, 65))
    return np.interp(fine, ranks, np.linspace(0, 1, 65)).astype(np.float32)
