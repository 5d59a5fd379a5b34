"""Writing animated GIF and WebP files without sound (PyAV)."""

import dataclasses
import math
import pathlib
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from keras_a2i.errors import UsageError
from keras_a2i.serving.muxing import check_encoder, import_av

MAX_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Animation:
    """A codec whose films are animated images, for up to a minute; the interface is that of `muxing.Codec`.

    Attributes:
        name: the name by which the library knows it, which is FFmpeg's name of the container and the suffix, too.
        encoder: FFmpeg's name of the encoder.
        pixels: FFmpeg's name of its pixels: "pal8" has 256 colours in each frame, dithered.
        ticks: parts of a second of which a frame is shown for a whole number.
        max_fps: largest frame rate.
        options: settings of the encoder.
    """

    has_sound: ClassVar[bool] = False

    name: str
    encoder: str
    pixels: str
    ticks: int
    max_fps: float
    options: dict[str, str]

    @property
    def suffix(self) -> str:
        """The suffix of the file's name, without its dot."""
        return self.name

    def check(self, fps: Fraction) -> None:
        """Checks that viewers show films of that frame rate, and that this machine has the encoder.

        Raises:
            UsageError: if they slow them down, or this build of PyAV has no such encoder.
            MissingPackageError: if PyAV isn't installed.
        """
        if fps > self.max_fps:
            raise UsageError(
                f"fps must be at most {self.max_fps:g} with codec={self.name!r}, because viewers slow down "
                f"shorter frames. Received: fps={float(fps):g}"
            )
        check_encoder(self.name, self.encoder)

    def check_length(self, seconds: float | Fraction) -> None:
        """Raises a UsageError for an animation of more than a minute."""
        if seconds > MAX_SECONDS:
            raise UsageError(
                f"The audio of animated images (codec='gif' and codec='webp') must last {MAX_SECONDS} seconds or less. "
                f"Received: {float(seconds):.1f} seconds or more. Cut it, or choose codec='h264'"
            )

    def open(self, path: pathlib.Path, size: tuple[int, int], fps: Fraction, audio: pathlib.Path) -> "AnimationWriter":
        """Begins a file; the audio is left out."""
        return AnimationWriter(path, self, size, fps)


ANIMATIONS = {
    # Browsers show frames of 1/100 s or less for 1/10 s.
    "gif": Animation("gif", "gif", "pal8", 100, 50, {}),
    "webp": Animation("webp", "libwebp_anim", "yuv420p", 1000, math.inf, {"quality": "85", "compression_level": "2"}),
}


class AnimationWriter:
    """Writes an animation that repeats without end.

    Times are rounded to ticks, not durations, so that nothing drifts: at 30 frames per second, frames of a GIF last 3,
    4, 3, 3, 4, 3 ... hundredths.

    Args:
        path: the file; the suffix doesn't matter.
        codec: the encoder.
        size: width and height in pixels, both even.
        fps: frames per second.
    """

    def __init__(self, path: pathlib.Path, codec: Animation, size: tuple[int, int], fps: Fraction):
        self._av = av = import_av()
        self._codec, self._fps, self._frames = codec, fps, 0
        self._container = av.open(f"file:{path}", "w", format=codec.name, options={"loop": "0"})
        self._stream = self._container.add_stream(codec.encoder, rate=fps, options=codec.options)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = codec.pixels
        self._stream.codec_context.time_base = Fraction(1, codec.ticks)

    def write(self, images: Iterable[np.ndarray]) -> None:
        """Adds frames, each uint8 (height, width, 3).

        Raises:
            UsageError: if the animation would last longer than a minute.
        """
        for image in images:
            self._codec.check_length(self._frames / self._fps)  # Not every file states how long it is.
            frame = self._to_frame(np.ascontiguousarray(image))
            frame.pts = round(self._codec.ticks * self._frames / self._fps)
            frame.time_base = Fraction(1, self._codec.ticks)
            self._container.mux(self._stream.encode(frame))
            self._frames += 1

    def close(self, complete: bool = True) -> None:
        """Writes the rest and closes the file; without `complete` the file is closed as it is."""
        try:
            if complete:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def _to_frame(self, image: np.ndarray) -> Any:
        if self._codec.pixels != "pal8":
            return self._av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=self._codec.pixels)
        whole = Image.fromarray(image)
        # Octree is ten times as fast as median cut, and as FFmpeg's palettes; the colours' error is dithered.
        palette = whole.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        dithered = whole.quantize(256, palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        colours = np.zeros((256, 4), np.uint8)
        rgb = np.array(dithered.getpalette(), np.uint8).reshape(-1, 3)
        # Opaque first, as FFmpeg's arrays of palettes have it.
        colours[:, 0], colours[: len(rgb), 1:] = 255, rgb
        return self._av.VideoFrame.from_ndarray((np.asarray(dithered), colours), format="pal8")
