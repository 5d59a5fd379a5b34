"""The options of a film, checked before anything is loaded."""

import contextlib
import dataclasses
import functools
import math
import pathlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.shown_frames import has_frames
from keras_a2i.models.styles import MAX_TEMPERATURE
from keras_a2i.serving.composition import FILLS
from keras_a2i.serving.film_codecs import FilmCodec, find_codec

MIN_FPS, MAX_FPS = 1.0, 60.0
MAX_SMOOTH = 10.0
MAX_STYLE_WALK = 10.0
MIN_SIDE, MAX_SIDE = 32, 4096
REACTIONS = ("loudness", "onsets")
# Enough for rates such as 30000/1001.
_LARGEST_DENOMINATOR = 1001


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilmSettings:
    """The options of a film.

    Attributes:
        fps, codec, smooth, size, fill, side_by_side, style_walk, temperature, seed, react: the arguments of
            `generate_video` of these names.

    Raises:
        UsageError: if a value is out of range.
    """

    fps: float = 25.0
    codec: str = "h264"
    smooth: float = 0.0
    size: tuple[int, int] | None = None
    fill: str = "blur"
    side_by_side: bool = False
    style_walk: float | None = None
    temperature: float = 1.0
    seed: int = 0
    react: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._check_range("fps", MIN_FPS, MAX_FPS, " frames per second")
        self._check_range("smooth", 0, MAX_SMOOTH, " seconds")
        self._check_range("temperature", 0, MAX_TEMPERATURE, "")
        self._check_choice("fill", self.fill, FILLS)
        for reaction in self.react:
            self._check_choice("react", reaction, REACTIONS)
        if self.style_walk is not None and not 0 < self.style_walk <= MAX_STYLE_WALK:
            raise UsageError(
                f"style_walk must be above 0 and at most {MAX_STYLE_WALK:g} new styles per second. "
                f"Received: style_walk={self.style_walk:g}"
            )
        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more. Received: seed={self.seed}")
        if self.size is not None and not all(MIN_SIDE <= side <= MAX_SIDE and side % 2 == 0 for side in self.size):
            raise UsageError(
                f"size must have even sides of {MIN_SIDE} to {MAX_SIDE} pixels. "
                f"Received: size={self.size[0]}x{self.size[1]}"
            )

    def _check_range(self, name: str, low: float, high: float, unit: str) -> None:
        value = getattr(self, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise UsageError(f"{name} must be between {low:g} and {high:g}{unit}. Received: {name}={value:g}")

    def _check_choice(self, name: str, value: Any, choices: Sequence[str]) -> None:
        if value not in choices:
            raise UsageError(f"{name} must be one of {', '.join(choices)}. Received: {name}={value!r}")

    @functools.cached_property
    def rate(self) -> Fraction:
        """The exact frame rate."""
        return Fraction(self.fps).limit_denominator(_LARGEST_DENOMINATOR)

    def find_codec(self) -> FilmCodec:
        """Returns the codec.

        Raises:
            UsageError: if there is none of this name, or it can't write films of this frame rate here.
            MissingPackageError: if a package that it needs isn't installed.
        """
        codec = find_codec(self.codec)
        codec.check(self.rate)
        return codec

    def check_source(self, audio: pathlib.Path) -> None:
        """Checks whether a film can be made of a file; a file that can't be read is left for later.

        Raises:
            UsageError: if the frames of an audio file shall be shown, or as `find_codec`.
            MissingPackageError: as `find_codec`.
        """
        self.find_codec()
        with contextlib.suppress(SourceError):
            if self.side_by_side and audio.is_file() and not has_frames(audio):
                raise UsageError(
                    f"side_by_side must be left out for audio files, which have no frames to show. Received: {audio}. "
                    "Pass the video"
                )

    def frame_size(self, image_size: int) -> tuple[int, int]:
        """Returns the width and height of a frame for a model of images of that many pixels a side."""
        return self.size or (image_size * (2 if self.side_by_side else 1), image_size)
