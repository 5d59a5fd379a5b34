"""Contact sheets: rows of images side by side in one image."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_a2i.errors import UsageError
from keras_a2i.media.image import to_pillow

_GAP = 4
_BACKGROUND = (24, 24, 28)
_INK = (225, 225, 225)


def draw_sheet(
    rows: Sequence[np.ndarray],
    labels: Sequence[str] = (),
    captions: Sequence[str] = (),
    *,
    columns: int = 8,
    cell: int = 128,
) -> Image.Image:
    """Arranges rows of images one below the other, broken into bands of `columns` images.

    Args:
        rows: arrays (n, size, size, channels), uint8 or float in [-1, 1]; the i-th images of all rows share a column.
        labels: a name for each row.
        captions: a line of text above each column.
        columns: the largest number of images side by side.
        cell: width and height of an image on the sheet, in pixels.

    Returns:
        The sheet as an RGB image.

    Raises:
        UsageError: if the rows differ in length or hold no images.
    """
    n = len(rows[0]) if rows else 0
    if n == 0 or any(len(row) != n for row in rows):
        raise UsageError(f"rows must hold equally many images, at least one. Received: {[len(row) for row in rows]}")
    font = ImageFont.load_default(11)
    margin = max((int(font.getlength(label)) + 2 * _GAP for label in labels), default=0)
    header = 16 if captions else 0
    columns = min(columns, n)
    band = header + len(rows) * (cell + _GAP) + _GAP
    bands = -(-n // columns)
    sheet = Image.new("RGB", (margin + columns * (cell + _GAP) + _GAP, bands * band), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for i in range(n):
        left = margin + _GAP + (i % columns) * (cell + _GAP)
        top = (i // columns) * band + header + _GAP
        if captions:
            draw.text((left, top - 14), _shorten(captions[i], font, cell), _INK, font)
        for j, row in enumerate(rows):
            resampling = Image.Resampling.NEAREST if row.shape[1] < cell else Image.Resampling.LANCZOS
            image = to_pillow(row[i]).convert("RGB").resize((cell, cell), resampling)
            sheet.paste(image, (left, top + j * (cell + _GAP)))
    for j, label in enumerate(labels):
        for b in range(bands):
            draw.text((_GAP, b * band + header + _GAP + j * (cell + _GAP) + cell // 2 - 6), label, _INK, font)
    return sheet


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text
