"""Opening a video file: its picture, its sound, its clock and its packets (PyAV)."""

import dataclasses
import pathlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from keras_a2i.errors import MissingPackageError, SourceError
from keras_a2i.media.image import MAX_PIXELS

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".flv", ".wmv", ".ogv", ".3gp"),
)
# Headers that claim more seconds than this are checked against the packets.
_MAX_CLAIM = 86_400


def import_av() -> Any:
    """Imports PyAV.

    Raises:
        MissingPackageError: if it isn't installed.
    """
    try:
        import av
    except ImportError:
        raise MissingPackageError("av", "video", "Reading video files") from None
    return av


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """An open video file: its two tracks and its clock.

    Attributes:
        container: PyAV's input container.
        video: the stream of pictures.
        audio: the stream of sound.
        origin: seconds on the container's clock at which the clip begins: the start of its earliest stream.
    """

    container: Any
    video: Any
    audio: Any
    origin: Fraction

    def duration(self) -> float:
        """Seconds from the start of the clip to its end: the header's word, else the end of the last packet."""
        claimed = self.container.duration
        if claimed is not None and 0 < claimed <= _MAX_CLAIM * 1_000_000:
            return claimed / 1_000_000
        end = self.origin
        for packet in read_packets(self, []):
            if packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.stream.time_base)
        return float(end - self.origin)


def open_clip(path: pathlib.Path) -> Clip:
    """Opens a video file and finds its picture and its sound; covers of sound files are no picture.

    Raises:
        SourceError: if the file can't be opened, or has no picture or no sound that can be decoded.
        MissingPackageError: if PyAV isn't installed.
    """
    av = import_av()
    try:
        container = av.open(f"file:{path}", metadata_errors="ignore", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        raise SourceError(f"The file can't be opened as a video: {error.strerror}") from None
    try:
        return _find_tracks(container)
    except SourceError:
        container.close()
        raise


def _find_tracks(container: Any) -> Clip:
    from av.stream import Disposition

    video = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    audio = list(container.streams.audio)
    for name, tracks in (("picture", video), ("sound", audio)):
        if not tracks:
            cover = name == "picture" and len(container.streams.video) > 0
            raise SourceError(f"The file has no {name}" + (", only a cover" if cover else ""))
        tracks[:] = [s for s in tracks if s.codec_context is not None]
        if not tracks:
            raise SourceError(f"This build of PyAV has no decoder for the file's {name}")
    # FFmpeg's choice where a file has several: the best quality, the original language.
    video, audio = (
        best if (best := container.streams.best(kind)) in tracks else tracks[0]
        for kind, tracks in (("video", video), ("audio", audio))
    )
    if not 0 < video.width * video.height <= MAX_PIXELS:
        raise SourceError(f"A picture must have 1 to {MAX_PIXELS:,} pixels. Received: {video.width} x {video.height}")
    for stream in (video, audio):
        # Files are read side by side by several processes: threads within one cost more than they give.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
    starts = [s.start_time * s.time_base for s in (video, audio) if s.start_time is not None]
    origin = min(starts, default=Fraction(0))
    if container.start_time is not None:
        # The container's start is rounded to microseconds; a stream's own is exact.
        rounded = Fraction(container.start_time, 1_000_000)
        origin = next((start for start in starts if abs(start - rounded) < Fraction(2, 1_000_000)), rounded)
    return Clip(container, video, audio, origin)


def read_packets(clip: Clip, troubles: list[str]) -> Iterator[Any]:
    """Yields the packets of both tracks; a file that breaks off ends the iteration and is noted in `troubles`."""
    av, packets = import_av(), clip.container.demux(clip.video, clip.audio)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            troubles.append(f"the file breaks off: {error.strerror}")
            return
        if packet is None:
            return
        if packet.size:
            yield packet
