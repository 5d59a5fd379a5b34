"""Contact sheets: rows of pictures in one PNG, for people who would rather look than read."""

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_a2i.errors import UsageError

_GAP = 4
_BACKGROUND = (24, 24, 28)
_INK = (225, 225, 225)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Pictures in [-1, 1] as 8-bit: round((x + 1) * 127.5), clipped; uint8 pictures come back as they are."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    return np.clip(np.rint((images.astype(np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def to_pillow(image: np.ndarray) -> Image.Image:
    """One picture (size, size, channels), uint8 or in [-1, 1], as a Pillow image."""
    image = to_uint8(image)
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def draw_sheet(
    rows: Sequence[np.ndarray],
    labels: Sequence[str] = (),
    captions: Sequence[str] = (),
    *,
    columns: int = 8,
    cell: int = 128,
) -> Image.Image:
    """Lays rows of pictures under one another, breaking them into bands of `columns`.

    Args:
        rows: each (n, size, size, channels), uint8 or in [-1, 1]; the i-th pictures of all rows stand under each other.
        labels: a name for each row.
        captions: a line of text above each column.
        columns: pictures side by side.
        cell: pixels a picture takes.

    Returns:
        The sheet as an RGB image.

    Raises:
        UsageError: if the rows differ in length or are empty.
    """
    n = len(rows[0]) if rows else 0
    if n == 0 or any(len(row) != n for row in rows):
        raise UsageError(f"The rows of a sheet must hold equally many pictures. Received: {[len(r) for r in rows]}")
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
            picture = to_pillow(row[i]).convert("RGB").resize((cell, cell), resampling)
            sheet.paste(picture, (left, top + j * (cell + _GAP)))
    for j, label in enumerate(labels):
        for b in range(bands):
            draw.text((_GAP, b * band + header + _GAP + j * (cell + _GAP) + cell // 2 - 6), label, _INK, font)
    return sheet


def save_png(image: Image.Image, path: pathlib.Path) -> None:
    """Writes a PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    image.save(temporary, "PNG")
    temporary.replace(path)


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text
