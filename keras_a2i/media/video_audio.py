"""The audio of a video file as a stream of blocks, on the same timeline as the clips of its records (PyAV)."""

import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_a2i.errors import SourceError
from keras_a2i.media.audio_track import AudioTrack
from keras_a2i.media.video_file import import_av, open_video

_BLOCK = 65_536
# A track that restarts may revise its last sample or two, by rounding.
_REVISED = 16


class VideoAudio:
    """The audio of a video file. Time 0 is the start of the file's earliest track.

    There is silence where the audio track starts later, has a gap or is damaged.

    Args:
        path: a file that FFmpeg reads; a video track isn't required.

    Attributes:
        samplerate: Hz.
        channels: number of channels of the track.
        frames: samples per channel, from the duration that the header states; 0 where it states none.

    Raises:
        SourceError: if the file can't be opened, or has no audio track that can be decoded.
        MissingPackageError: if PyAV isn't installed.
    """

    def __init__(self, path: pathlib.Path):
        self._file, self._name = open_video(path, audio_only=True), path.name
        # Read now: the track's own values change with the frames that are decoded.
        self.samplerate: int = self._file.audio.rate or 0
        self.channels: int = self._file.audio.layout.nb_channels
        self.frames = round((self._file.container.duration or 0) / 1e6 * self.samplerate)

    def __enter__(self) -> "VideoAudio":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def blocks(self, sample_rate: int | None = None, channels: int | None = None) -> Iterator[np.ndarray]:
        """Yields float32 blocks (n, channels) in [-1, 1]; see `AudioFile.blocks`."""
        file, channels = self._file, channels or self.channels
        track = AudioTrack(sample_rate or self.samplerate, file.origin, file.audio.time_base, channels)
        done = 0
        for frame in self._frames():
            track.push(frame)
            while track.ready - _REVISED - done >= _BLOCK:
                yield self._take(track, done, _BLOCK)
                done += _BLOCK
        track.finish()
        while done < track.ready:
            n = min(_BLOCK, track.ready - done)
            yield self._take(track, done, n)
            done += n

    def _take(self, track: AudioTrack, start: int, n_samples: int) -> np.ndarray:
        samples, _ = track.take(start, n_samples)
        if not np.isfinite(samples).all():
            raise SourceError(f"Samples must be finite. Received: {self._name} with NaN or infinite samples")
        return samples.reshape(n_samples, -1)

    def _frames(self) -> Iterator[Any]:
        """Yields decoded frames; damaged packets are skipped, and a file that breaks off ends."""
        av, audio = import_av(), self._file.audio
        for packet in itertools.chain(self._file.packets(audio, troubles=[]), [None]):
            try:
                frames = audio.decode(packet)
            except av.FFmpegError:
                continue
            yield from (frame for frame in frames if frame.samples and not frame.is_corrupt)
