"""Writing animated GIF and WebP files without sound: every frame is encoded by Pillow and appended at once."""

import abc
import io
import math
import pathlib
from collections.abc import Iterable
from fractions import Fraction
from typing import ClassVar

import numpy as np
from PIL import Image

from keras_a2i.errors import UsageError

MAX_SECONDS = 60


class AnimationWriter(abc.ABC):
    """Writes an animation that repeats without end; a frame's bytes go to the disk before the next one is accepted.

    A frame is shown for a whole number of the format's ticks. Times are rounded, not durations, so that nothing drifts:
    at 30 frames per second, frames of a GIF last 3, 4, 3, 3, 4, 3 ... hundredths.

    Args:
        path: the file.
        size: width and height in pixels.
        fps: frames per second.

    Attributes:
        ticks: ticks per second.
    """

    ticks: ClassVar[int]

    def __init__(self, path: pathlib.Path, size: tuple[int, int], fps: Fraction):
        self._fps, self._frames, self._size = fps, 0, size
        self._file = path.open("wb")
        self._file.write(self._header())

    def write(self, images: Iterable[np.ndarray]) -> None:
        """Adds frames, each uint8 (height, width, 3).

        Raises:
            UsageError: if the animation would last longer than a minute.
        """
        for image in images:
            check_length(self._frames / self._fps)  # Not every file states how long it is.
            start, end = (round(self.ticks * n / self._fps) for n in (self._frames, self._frames + 1))
            self._file.write(self._encode(Image.fromarray(image), end - start))
            self._frames += 1

    def close(self, complete: bool = True) -> None:
        """Finishes and closes the file; without `complete` the file is closed as it is."""
        try:
            if complete:
                self._finish()
        finally:
            self._file.close()

    @abc.abstractmethod
    def _header(self) -> bytes:
        """Returns what precedes the frames."""

    @abc.abstractmethod
    def _encode(self, image: Image.Image, duration: int) -> bytes:
        """Returns the bytes of a frame that is shown for `duration` ticks."""

    @abc.abstractmethod
    def _finish(self) -> None:
        """Writes what follows the frames."""


class GifWriter(AnimationWriter):
    """An animated GIF: 256 colours in each frame, dithered.

    Reference:
        GIF89a specification, sections 18 to 27; Netscape's application extension for the repetition.
    """

    ticks = 100

    def _header(self) -> bytes:
        sides = b"".join(side.to_bytes(2, "little") for side in self._size)
        return b"GIF89a" + sides + bytes(3) + b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"

    def _encode(self, image: Image.Image, duration: int) -> bytes:
        buffer = io.BytesIO()
        # Octree is ten times as fast as median cut; the colours' error is dithered.
        palette = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        image.quantize(256, palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(
            buffer, "GIF", optimize=False, interlace=False
        )
        single = buffer.getvalue()
        bits = single[10] & 7
        colours, at = single[13 : 13 + 3 * 2 ** (bits + 1)], 13 + 3 * 2 ** (bits + 1)
        while single[at] == 0x21:
            at = _skip_blocks(single, at + 2)
        descriptor, data = single[at : at + 9], single[at + 10 : -1]
        control = b"\x21\xf9\x04\x04" + duration.to_bytes(2, "little") + b"\x00\x00"
        # The palette of the file becomes the palette of the frame.
        return control + descriptor + bytes([0x80 | bits]) + colours + data

    def _finish(self) -> None:
        self._file.write(b"\x3b")


class WebPWriter(AnimationWriter):
    """An animated WebP of lossy frames.

    Reference:
        WebP container specification, "Extended File Format" and "Animation".
    """

    ticks = 1000
    _QUALITY = 85

    def _header(self) -> bytes:
        animated = b"\x02\x00\x00\x00"
        extended = _chunk(b"VP8X", animated + b"".join((side - 1).to_bytes(3, "little") for side in self._size))
        return b"RIFF\x00\x00\x00\x00WEBP" + extended + _chunk(b"ANIM", b"\x00\x00\x00\xff\x00\x00")

    def _encode(self, image: Image.Image, duration: int) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=self._QUALITY, method=2)
        # What follows RIFF, its size and WEBP is the chunk of the image.
        content = buffer.getvalue()[12:]
        sides = b"".join((side - 1).to_bytes(3, "little") for side in self._size)
        # Each frame covers the last one whole, without blending.
        return _chunk(b"ANMF", bytes(6) + sides + duration.to_bytes(3, "little") + b"\x02" + content)

    def _finish(self) -> None:
        length = self._file.tell()
        self._file.seek(4)
        self._file.write((length - 8).to_bytes(4, "little"))


class Animation:
    """A codec whose films are animated images, for up to a minute; the interface is that of `muxing.Codec`.

    Args:
        name: the name by which the library knows it, which is the file's suffix too.
        writer: writes it.
        max_fps: largest frame rate.
    """

    has_sound: ClassVar[bool] = False

    def __init__(self, name: str, writer: type[AnimationWriter], max_fps: float):
        self.name = self.suffix = name
        self._writer, self._max_fps = writer, max_fps

    def check(self, fps: Fraction) -> None:
        """Raises a UsageError if viewers slow down films of that frame rate."""
        if fps > self._max_fps:
            raise UsageError(
                f"fps must be at most {self._max_fps:g} with codec={self.name!r}, because viewers slow down "
                f"shorter frames. Received: fps={float(fps):g}"
            )

    def check_length(self, seconds: float) -> None:
        """Raises a UsageError for an animation of more than a minute."""
        check_length(seconds)

    def open(self, path: pathlib.Path, size: tuple[int, int], fps: Fraction, audio: pathlib.Path) -> AnimationWriter:
        """Begins a file; the audio is left out."""
        return self._writer(path, size, fps)


ANIMATIONS = {
    # Browsers show frames of 1/100 s or less for 1/10 s.
    "gif": Animation("gif", GifWriter, 50),
    "webp": Animation("webp", WebPWriter, math.inf),
}


def check_length(seconds: float | Fraction) -> None:
    """Raises a UsageError unless an animation of that length is accepted."""
    if seconds > MAX_SECONDS:
        raise UsageError(
            f"The audio of animated images (codec='gif' and codec='webp') must last {MAX_SECONDS} seconds or less. "
            f"Received: {float(seconds):.1f} seconds or more. Cut it, or choose codec='h264'"
        )


def _skip_blocks(data: bytes, at: int) -> int:
    """Returns the position after a sequence of GIF's data blocks, each led by its length, up to an empty one."""
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)
