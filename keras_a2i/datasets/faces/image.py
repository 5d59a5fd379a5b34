"""The image of a face: a function of who is shown, of the mouth and of the eyelids alone."""

import numpy as np
from PIL import Image, ImageDraw

from keras_a2i.config import ImageConfig
from keras_a2i.datasets.faces.identity import Colour, Identity
from keras_a2i.media.image import fit_image

INSIDE = (56, 12, 22)
"""Colour of the inside of every mouth."""
MOUTH_BELOW_EYES = 0.27
"""From the middle of the eyes to the middle of the mouth, as a share of the image's side."""
OPEN_HEIGHT = 0.13
"""Height of the inside of a mouth whose opening is 1, as a share of the image's side."""
CLOSED_HEIGHT = 0.012
"""The same of one whose opening is 0."""
_DRAWN_SIZE = 256
_CHIN_DROP = 0.035


def render_face(identity: Identity, opening: float, width: float, lids: float, image: ImageConfig) -> np.ndarray:
    """Renders a face at 256 pixels per side (or `image.size`, if that is larger) and scales it to `image.size`.

    Args:
        identity: who is shown.
        opening, width: of the mouth, 0 to 1, see `speech.mouth_of`.
        lids: 0 open to 1 closed eyes.
        image: size and channels.

    Returns:
        uint8 array (size, size, channels).
    """
    pen = _Pen(max(_DRAWN_SIZE, image.size), identity.background)
    _draw_head(pen, identity, _CHIN_DROP * opening)
    for side in (-1, 1):
        _draw_eye(pen, identity, 0.5 + side * identity.eyes, lids)
    _draw_mouth(pen, identity, opening, width)
    return fit_image(pen.image, image)


class _Pen:
    """Draws in shares of the image's side."""

    def __init__(self, size: int, background: Colour):
        self.image = Image.new("RGB", (size, size), background)
        self._draw, self._size = ImageDraw.Draw(self.image), size

    def ellipse(self, x: float, y: float, across: float, down: float, fill: Colour) -> None:
        """An ellipse by its middle and its half axes."""
        self._draw.ellipse([self._size * v for v in (x - across, y - down, x + across, y + down)], fill=fill)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour, radius: float = 0.0) -> None:
        """A rectangle with round corners."""
        corners = [self._size * v for v in (left, top, right, bottom)]
        self._draw.rounded_rectangle(corners, radius=self._size * radius, fill=fill)

    def polygon(self, points: np.ndarray, fill: Colour) -> None:
        """A polygon (n, 2)."""
        self._draw.polygon([tuple(point) for point in self._size * points], fill=fill)

    def ring(self, x: float, y: float, radius: float, width: float, fill: Colour) -> None:
        """A circle's outline."""
        corners = [self._size * v for v in (x - radius, y - radius, x + radius, y + radius)]
        self._draw.ellipse(corners, outline=fill, width=max(1, round(self._size * width)))


def _draw_head(pen: _Pen, who: Identity, drop: float) -> None:
    top, crown = who.top, who.top - 0.27
    shade: Colour = tuple(round(0.82 * value) for value in who.skin)  # type: ignore[assignment]
    if who.style:
        length = 0.3 if who.style == 1 else 0.55
        pen.box(0.5 - who.face - 0.06, crown, 0.5 + who.face + 0.06, top + length, who.hair, radius=0.2)
    pen.box(0.5 - 0.1, top + 0.2, 0.5 + 0.1, 1.0, shade)
    pen.ellipse(0.5, 1.04, 0.4, 0.16, who.shirt)
    pen.ellipse(0.5, top - 0.06, who.face + 0.04, 0.24, who.hair)
    angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    down = np.where(np.sin(angles) > 0, who.chin + drop, 0.22)
    # Fuller than an ellipse at the cheeks.
    across = np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** 0.85
    pen.polygon(np.stack([0.5 + who.face * across, top + down * np.sin(angles)], axis=1), who.skin)
    fringe = np.linspace(np.pi, 2 * np.pi, 40)
    arc = np.stack([0.5 + 1.02 * who.face * np.cos(fringe), top - 0.1 + 0.17 * np.sin(fringe)], axis=1)
    pen.polygon(arc, who.hair)
    pen.ellipse(0.5, top + 0.12, 0.026, 0.03, shade)
    pen.ellipse(0.5, top + 0.11, 0.024, 0.03, who.skin)


def _draw_eye(pen: _Pen, who: Identity, x: float, lids: float) -> None:
    y, size = who.top, who.eye_size
    down = 0.6 * size
    pen.ellipse(x, y, size, down, (248, 246, 240))
    pen.ellipse(x, y, 0.55 * size, 0.55 * size, who.eye)
    pen.ellipse(x, y, 0.25 * size, 0.25 * size, (16, 14, 16))
    # The lid comes from above; its edge is the lashes.
    edge = y - down + 2 * down * lids
    pen.box(x - size, y - down - 0.006, x + size, edge, who.skin)
    pen.box(x - size, edge - 0.006, x + size, edge + 0.002, (40, 30, 30))
    pen.box(x - size, y - down - 0.045, x + size, y - down - 0.045 + who.brows, who.hair, radius=0.005)
    if who.glasses:
        pen.ring(x, y, 1.45 * size, 0.012, (30, 30, 34))


def _draw_mouth(pen: _Pen, who: Identity, opening: float, width: float) -> None:
    y, half = who.top + MOUTH_BELOW_EYES, who.mouth * (0.75 + 0.5 * width)
    down = 0.5 * (CLOSED_HEIGHT + (OPEN_HEIGHT - CLOSED_HEIGHT) * opening)
    pen.ellipse(0.5, y, half, down + who.lip, who.lips)
    pen.ellipse(0.5, y, half - 0.5 * who.lip, down, INSIDE)
