"""The sound of a video file, block by block, as soundfile gives that of a sound file (PyAV)."""

import contextlib
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_a2i.errors import SourceError
from keras_a2i.media.video_clip import import_av


class VideoAudioFile:
    """What this package uses of soundfile.SoundFile, for a video: time 0 is the start of the earliest track.

    Where the sound starts later, has a gap or is damaged, there is silence.

    Args:
        path: a file that FFmpeg reads.

    Attributes:
        samplerate: Hz.
        channels: of the track.
        frames: samples of a channel, by the file's own word; 0 where it doesn't say.

    Raises:
        SourceError: if the file can't be opened, or has no sound that can be decoded.
        MissingPackageError: if PyAV isn't installed.
    """

    def __init__(self, path: pathlib.Path):
        self._av, self._name = import_av(), path.name
        try:
            self._container = self._av.open(f"file:{path}", options={"protocol_whitelist": "file"})
        except self._av.FFmpegError as error:
            raise SourceError(f"{path.name} can't be read as a video: {error.strerror}") from None
        tracks = self._container.streams.audio
        if not tracks or self._container.streams.best("audio").codec_context is None:
            self.close()
            raise SourceError(f"{path.name} has no sound" + (" that can be decoded" if tracks else ""))
        self._track = self._container.streams.best("audio")
        self.samplerate = self._track.rate
        # The track's own changes with what is decoded.
        self._layout = self._track.layout.name
        self.channels = self._track.layout.nb_channels
        self.frames = round((self._container.duration or 0) / 1e6 * self.samplerate)

    def __enter__(self) -> "VideoAudioFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def blocks(self, *_: Any, **__: Any) -> Iterator[np.ndarray]:
        """Yields float32 (n, channels), of the length that the file's own blocks have.

        Raises:
            SourceError: if the sound takes a form that FFmpeg can't bring to the one it began with.
        """
        done = 0
        for _, frames in itertools.groupby(self._frames(), _form):
            for block in self._filtered(frames, done):
                done += len(block)
                yield block

    def _filtered(self, frames: Iterator[Any], done: int) -> Iterator[np.ndarray]:
        """Frames of one form as float samples, behind `done` samples: silence up to where they begin, no overlap."""
        first = next(frames)
        begin = first.pts
        position = done if begin is None else round(begin * first.time_base * self.samplerate)
        if position > done:
            yield np.zeros((position - done, self.channels), np.float32)
        overlap = max(0, done - position)
        try:
            graph = self._graph(first)
            for frame in itertools.chain([first], frames, [None]):
                if frame is not None and frame.pts is not None and begin is not None:
                    frame.pts -= begin
                graph.push(frame)
                for block in self._ready(graph):
                    if len(block) > overlap:
                        yield block[overlap:]
                    overlap = max(0, overlap - len(block))
        except (self._av.FFmpegError, ValueError) as error:
            raise SourceError(f"The sound of {self._name} can't be followed: {error}") from None

    def _frames(self) -> Iterator[Any]:
        """Decoded frames on the file's clock; damaged ones give nothing, and a file that breaks off ends."""
        origin = round((self._container.start_time or 0) / 1e6 / self._track.time_base)
        packets = self._container.demux(self._track)
        while True:
            try:
                packet = next(packets, None)
            except self._av.FFmpegError:
                return
            if packet is None:
                return
            with contextlib.suppress(self._av.FFmpegError):
                for frame in self._track.decode(packet):
                    if frame.samples and not frame.is_corrupt:
                        frame.pts = None if frame.pts is None else frame.pts - origin
                        yield frame

    def _graph(self, frame: Any) -> Any:
        """What fills gaps by the time stamps and makes float samples of the track's rate and layout."""
        graph = self._av.filter.Graph()
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=frame.sample_rate, format=frame.format, layout=frame.layout, time_base=frame.time_base
            ),
            graph.add("aresample", f"{self.samplerate}:async=1:first_pts=0"),
            graph.add("aformat", f"sample_fmts=flt:channel_layouts={self._layout}"),
            graph.add("abuffersink"),
        ).configure()
        return graph

    def _ready(self, graph: Any) -> Iterator[np.ndarray]:
        while True:
            try:
                yield graph.pull().to_ndarray().reshape(-1, self.channels)
            except (self._av.BlockingIOError, self._av.EOFError):
                return


def _form(frame: Any) -> tuple[int, str, str]:
    return frame.sample_rate, frame.format.name, frame.layout.name
