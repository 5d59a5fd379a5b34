"""The codecs that films are written with: videos with sound, and animated images without."""

import pathlib
from collections.abc import Iterable
from fractions import Fraction
from typing import ClassVar, Protocol

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.serving.animation import ANIMATIONS
from keras_a2i.serving.muxing import CODECS


class FilmWriter(Protocol):
    """Writes the frames of a film to a file."""

    def write(self, images: Iterable[np.ndarray]) -> None:
        """Adds frames, each uint8 (height, width, 3)."""

    def close(self, complete: bool = True) -> None:
        """Writes the rest and closes the file; without `complete` the file is closed as it is."""


class FilmCodec(Protocol):
    """How a film is encoded.

    Attributes:
        has_sound: whether its films have sound.
    """

    has_sound: ClassVar[bool]

    @property
    def name(self) -> str:
        """The name by which the library knows the codec."""

    @property
    def suffix(self) -> str:
        """The suffix of the file's name, without its dot."""

    def check(self, fps: Fraction) -> None:
        """Raises a UsageError or MissingPackageError if films of that frame rate can't be written here."""

    def check_length(self, seconds: float) -> None:
        """Raises a UsageError if a film mustn't be as long."""

    def open(self, path: pathlib.Path, size: tuple[int, int], fps: Fraction, audio: pathlib.Path) -> FilmWriter:
        """Begins a file of frames of `size` (width, height), both even, with the audio of another file."""


CODEC_NAMES = (*CODECS, *ANIMATIONS)


def find_codec(name: str) -> FilmCodec:
    """Returns the codec of a name; raises a UsageError if there is none."""
    codec: FilmCodec | None = CODECS.get(name) or ANIMATIONS.get(name)
    if codec is None:
        raise UsageError(f"codec must be one of {', '.join(CODEC_NAMES)}. Received: codec={name!r}")
    return codec
