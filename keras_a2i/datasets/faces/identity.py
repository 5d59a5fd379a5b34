"""Who is shown: the colours and shapes of a face, and the voice that belongs to it."""

import colorsys
import dataclasses

import numpy as np

Colour = tuple[int, int, int]
_LIGHTEST, _DARKEST = np.array((250, 214, 186)), np.array((146, 92, 62))
_HAIR: tuple[Colour, ...] = (
    (38, 28, 26), (92, 58, 36), (150, 98, 48), (222, 184, 108), (176, 72, 36), (190, 188, 186), (70, 90, 160),
)  # fmt: skip
_EYES: tuple[Colour, ...] = ((70, 110, 160), (90, 60, 40), (70, 120, 80), (40, 34, 34), (120, 120, 130))


@dataclasses.dataclass(frozen=True)
class Identity:
    """A face and its voice. Lengths are shares of the image's side.

    Attributes:
        tone: 0 the lightest to 1 the darkest skin.
        skin, hair, eye, lips, background, shirt: colours.
        face: half of the width of the face.
        chin: from the middle of the eyes to the chin, with a closed mouth.
        top: row of the middle of the eyes.
        eyes: from the middle of the face to the middle of an eye.
        eye_size: half of the width of an eye.
        mouth: half of the width of the mouth.
        lip: thickness of a lip.
        brows: thickness of the brows.
        style: of the hair: 0 short, 1 to the chin, 2 to the shoulders.
        glasses: whether it has glasses.
        pitch: Hz.
        tract: factor of the formants.
    """

    tone: float
    skin: Colour
    hair: Colour
    eye: Colour
    lips: Colour
    background: Colour
    shirt: Colour
    face: float
    chin: float
    top: float
    eyes: float
    eye_size: float
    mouth: float
    lip: float
    brows: float
    style: int
    glasses: bool
    pitch: float
    tract: float


def draw_identity(random: np.random.Generator) -> Identity:
    """Draws a face and its voice."""
    tone = float(random.uniform())
    skin = _LIGHTEST + (_DARKEST - _LIGHTEST) * tone
    low = float(random.uniform())
    return Identity(
        tone=tone,
        skin=_colour(skin),
        hair=_HAIR[random.integers(len(_HAIR))],
        eye=_EYES[random.integers(len(_EYES))],
        lips=_colour(lips_of(skin)),
        background=_hue(random, (0.25, 0.6), (0.55, 0.95)),
        shirt=_hue(random, (0.3, 0.8), (0.3, 0.9)),
        face=float(random.uniform(0.24, 0.31)),
        chin=float(random.uniform(0.37, 0.43)),
        top=float(random.uniform(0.41, 0.46)),
        eyes=float(random.uniform(0.095, 0.125)),
        eye_size=float(random.uniform(0.042, 0.058)),
        mouth=float(random.uniform(0.075, 0.1)),
        lip=float(random.uniform(0.014, 0.026)),
        brows=float(random.uniform(0.01, 0.026)),
        style=int(random.integers(3)),
        glasses=bool(random.uniform() < 0.25),
        pitch=95.0 + 135.0 * low,
        # A higher voice mostly has the shorter vocal tract, and thereby higher formants.
        tract=0.96 + 0.1 * low + float(random.uniform(-0.02, 0.02)),
    )


def lips_of(skin: np.ndarray) -> np.ndarray:
    """The colour of the lips (..., 3) that goes with a skin."""
    return 0.45 * skin + 0.55 * np.array((196, 62, 74))


def _hue(random: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    parts = colorsys.hsv_to_rgb(random.uniform(), random.uniform(*saturation), random.uniform(*value))
    return _colour(255 * np.array(parts))


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = (int(value) for value in np.rint(values))
    return red, green, blue
