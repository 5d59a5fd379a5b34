"""The sound of a video file, block by block, as soundfile gives that of a sound file (PyAV)."""

import contextlib
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_a2i.errors import SourceError
from keras_a2i.sources.video_clip import import_av


class VideoSoundFile:
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
        self.channels = self._track.layout.nb_channels
        self.frames = round((self._container.duration or 0) / 1e6 * self.samplerate)

    def __enter__(self) -> "VideoSoundFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def blocks(self, *_: Any, **__: Any) -> Iterator[np.ndarray]:
        """Yields float32 (n, channels), of the length that the file's own blocks have."""
        graph = self._graph()
        for frame in self._frames():
            try:
                graph.push(frame)
            except (self._av.FFmpegError, ValueError) as error:
                raise SourceError(f"The sound of {self._name} changes its form: {error}") from None
            yield from self._ready(graph)
        with contextlib.suppress(self._av.EOFError):
            graph.push(None)
        yield from self._ready(graph)

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

    def _graph(self) -> Any:
        """Fills gaps with silence by the time stamps, and makes float samples of what the track holds."""
        graph = self._av.filter.Graph()
        chain = [
            graph.add_abuffer(template=self._track),
            graph.add("aresample", f"{self.samplerate}:async=1:first_pts=0"),
            graph.add("aformat", "sample_fmts=flt"),
            graph.add("abuffersink"),
        ]
        for one, other in itertools.pairwise(chain):
            one.link_to(other)
        graph.configure()
        return graph

    def _ready(self, graph: Any) -> Iterator[np.ndarray]:
        while True:
            try:
                yield graph.pull().to_ndarray().reshape(-1, self.channels)
            except (self._av.BlockingIOError, self._av.EOFError):
                return
