"""The frames of a film out of generated images: composed, moved by the audio, beside the frames of the original."""

import itertools
import pathlib
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import Self

import numpy as np

from keras_a2i.media.shown_frames import shown_frames
from keras_a2i.serving.composition import Panel
from keras_a2i.serving.film_settings import FilmSettings
from keras_a2i.serving.reaction import Drive


class FilmFrames:
    """Composes the frames of a film, from its first image to its last; closes the original when it is left.

    Args:
        size: width and height of a frame in pixels; the width is even.
        settings: of the film.
        drive: what zooms into the images; None is nothing.
        audio: the video whose frames are shown, with `side_by_side`.
    """

    def __init__(self, size: tuple[int, int], settings: FilmSettings, drive: Drive | None, audio: pathlib.Path):
        self._drive, self._count = drive, 0
        self._originals: Generator[np.ndarray, None, None] | None = None
        width, height = size
        if settings.side_by_side:
            width //= 2
            middles = (Fraction(2 * k + 1, 2) / settings.rate for k in itertools.count())
            self._originals = shown_frames(audio, middles, height)
        self._panel = Panel((width, height), settings.fill)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._originals is not None:
            self._originals.close()

    def compose(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the next frames, uint8 (height, width, 3), of the next images, uint8 (n, size, size, channels)."""
        zooms = np.ones(len(images)) if self._drive is None else self._drive.zoom(self._count, len(images))
        self._count += len(images)
        for image, zoom in zip(images, zooms.tolist(), strict=True):
            colours = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
            frame = self._panel(colours, zoom)
            if self._originals is not None:
                frame = np.concatenate([self._panel(next(self._originals)), frame], axis=1)
            yield frame
