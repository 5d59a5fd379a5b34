"""Opening a video file: its video track, its audio track, its clock and its packets (PyAV)."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

from keras_a2i.errors import MissingPackageError, SourceError
from keras_a2i.media.image import MAX_PIXELS
from keras_a2i.media.packet_clock import PacketClock

# A header's duration is checked against the packets if the file is shorter than this, in bytes per second of it.
_MIN_BYTES_PER_SECOND = 2_000
# Formats without a header that states a duration, whose clock may restart.
_WITHOUT_DURATION = {"mpegts", "mpeg"}
# Formats with an index of keyframes, in which reading may begin at any of them.
_INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
# Reading begins this long before a moment: decoders of audio need up to some frames before their output is that of
# reading from the start, and frames of videos are presented later than they are decoded.
_LEAD_IN = 1
# The version of PyAV from which its `open` has no argument for tags that aren't UTF-8.
_TOLERANT_VERSION = 19


def import_av() -> Any:
    """Imports PyAV.

    Raises:
        MissingPackageError: if it isn't installed.
    """
    try:
        import av
    except ImportError:
        raise MissingPackageError("av", "video", "Reading video files and audio such as m4a") from None
    return av


@dataclasses.dataclass(frozen=True, slots=True)
class VideoFile:
    """An open video file: its two tracks and its clock.

    Attributes:
        container: PyAV's input container.
        video: the video stream; None if the file has none and none was required.
        audio: the audio stream.
        origin: seconds on the container's clock at which time 0 lies: the start of the file's earliest stream, or a
            later moment (`from_moment`).
        start: seconds from the start of the earliest stream to time 0.
        size: of the file in bytes.
    """

    container: Any
    video: Any
    audio: Any
    origin: Fraction
    start: Fraction = Fraction(0)
    size: int = 0

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self.container.close()

    def from_moment(self, start: Fraction) -> "VideoFile":
        """Returns the same open file with its time 0 at `start` seconds from the start of its earliest stream."""
        return dataclasses.replace(self, origin=self.origin - self.start + start, start=start)

    @property
    def has_index(self) -> bool:
        """Whether files of this format have an index."""
        return self.container.format.name in _INDEXED

    @property
    def can_skip_ahead(self) -> bool:
        """Whether `skip_ahead` leaves out anything."""
        return self.start > _LEAD_IN and self.video is not None and self.has_index

    def skip_ahead(self) -> None:
        """Makes reading begin with the last keyframe that the index has one second before time 0.

        Raises:
            av.FFmpegError: if the index can't be used; then the file must be opened again.
        """
        moment = int((self.origin - _LEAD_IN) // self.video.time_base)
        self.container.seek(moment, stream=self.video, backward=True)

    def duration(self) -> float:
        """Returns the seconds from start to end of the file: as a credible header states, else of the last packet."""
        stated = (self.container.duration or 0) / 1_000_000
        credible = 0 < stated * _MIN_BYTES_PER_SECOND <= self.size
        if credible and self.container.format.name not in _WITHOUT_DURATION:
            return stated
        begin = end = self.origin - self.start
        for packet in self.packets(self.video, self.audio, troubles=[]):
            if packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.stream.time_base)
        return float(end - begin)

    def audio_packets(self, troubles: list[str]) -> Iterator[Any]:
        """Yields the packets of the audio, with the times that `packets` of all streams gives them."""
        # Where a clock restarts, the end of both streams decides on the time of what follows.
        streams = [self.audio]
        if self.video is not None and self.container.format.name in _WITHOUT_DURATION:
            streams.append(self.video)
        for packet in self.packets(*streams, troubles=troubles):
            if packet.stream_index == self.audio.index:
                yield packet

    def packets(self, *streams: Any, troubles: list[str]) -> Iterator[Any]:
        """Yields the packets of the streams in the order of the file, on a clock that is continuous (`PacketClock`).

        A file that breaks off ends the iteration and is noted in `troubles`, as are jumps of the clock.
        """
        yield from PacketClock(troubles)(self._packets(streams, troubles))

    def _packets(self, streams: tuple[Any, ...], troubles: list[str]) -> Iterator[Any]:
        av, packets = import_av(), self.container.demux(*streams)
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


def open_video(path: pathlib.PurePath, *, audio_only: bool = False, stream: BinaryIO | None = None) -> VideoFile:
    """Opens a video file and finds its tracks; an attached cover doesn't count as a video track.

    Args:
        path: a file that FFmpeg reads.
        audio_only: whether a file without a video track is accepted too.
        stream: where the content is read in place of the disk; it can seek to its end. `path` is then a name only.

    Raises:
        SourceError: if the file can't be opened, or has no track of a kind that is required and can be decoded.
        MissingPackageError: if PyAV isn't installed.
    """
    av = import_av()
    # Tags that aren't UTF-8 must not matter; from version 19 on they don't, and the argument is gone.
    tags = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < _TOLERANT_VERSION else {}
    size = 0
    if stream is not None:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
    source = f"file:{path}" if stream is None else stream
    try:
        container = av.open(source, options={"protocol_whitelist": "file"}, **tags)
    except av.FFmpegError as error:
        raise SourceError(f"{path.name} can't be opened as a video: {error.strerror}") from None
    try:
        return dataclasses.replace(_find_tracks(container, path.name, audio_only), size=size or container.size)
    except SourceError:
        container.close()
        raise


def _find_tracks(container: Any, name: str, audio_only: bool) -> VideoFile:
    from av.stream import Disposition

    video = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    video_track = None if audio_only and not _decodable(video) else _best(container, "video", video, name)
    audio_track = _best(container, "audio", list(container.streams.audio), name)
    if video_track is not None and not audio_only and not 0 < video_track.width * video_track.height <= MAX_PIXELS:
        raise SourceError(
            f"A frame must have 1 to {MAX_PIXELS:,} pixels. "
            f"Received: {name} with {video_track.width} x {video_track.height}"
        )
    tracks = [track for track in (video_track, audio_track) if track is not None]
    for track in tracks:
        # Several processes read files side by side: threads within one cost more than they save.
        track.thread_type = "NONE"
        track.codec_context.thread_count = 1
    starts = [track.start_time * track.time_base for track in tracks if track.start_time is not None]
    origin = min(starts, default=Fraction(0))
    if container.start_time is not None:
        # The container's start is rounded to microseconds; a stream's own is exact.
        rounded = Fraction(container.start_time, 1_000_000)
        origin = next((start for start in starts if abs(start - rounded) < Fraction(2, 1_000_000)), rounded)
    return VideoFile(container, video_track, audio_track, origin)


def _decodable(tracks: list[Any]) -> list[Any]:
    return [track for track in tracks if track.codec_context is not None]


def _best(container: Any, kind: str, tracks: list[Any], name: str) -> Any:
    """The track that FFmpeg chooses among several (the best quality, the original language), if it can be decoded."""
    if not tracks:
        cover = kind == "video" and len(container.streams.video) > 0
        raise SourceError(f"{name} has no {kind} track" + (", only a cover" if cover else ""))
    if not (decodable := _decodable(tracks)):
        raise SourceError(f"{name} has no {kind} track that this build of PyAV can decode")
    best = container.streams.best(kind)
    return best if best in decodable else decodable[0]
