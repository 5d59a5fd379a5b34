"""The audio of a video file as a stream of blocks, on the same timeline as the clips of its records (PyAV)."""

import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_a2i.errors import SourceError
from keras_a2i.media.audio_content import believable_samples
from keras_a2i.media.audio_track import AudioTrack
from keras_a2i.media.video_file import import_av, open_video

_BLOCK = 65_536
# A track that restarts may revise its last sample or two, by rounding.
_REVISED = 16
# A track is whole if no more than this is missing: headers count the padding of encoders differently.
_MISSING_SECONDS = 0.5
# Encoders fill their last frame with silence; no frame is longer.
_MAX_PADDING = 0.2


class VideoAudio:
    """The audio of a video file. Time 0 is the start of the file's earliest track.

    There is silence where the audio track starts later, has a gap or is damaged in between.

    Args:
        path: a file that FFmpeg reads; a video track isn't required.

    Attributes:
        samplerate: Hz.
        channels: number of channels of the track.
        frames: samples per channel, from the duration that the header states; 0 where it states none.
        trouble: once the blocks were read, what was wrong with the file; "" if nothing was.

    Raises:
        SourceError: if the file can't be opened, or has no audio track that can be decoded.
        MissingPackageError: if PyAV isn't installed.
    """

    def __init__(self, path: pathlib.Path):
        self._file, self._name = open_video(path, audio_only=True), path.name
        self.trouble = ""
        self._troubles: list[str] = []
        # Read now: the track's own values change with the frames that are decoded.
        self.samplerate: int = self._file.audio.rate or 0
        self.channels: int = self._file.audio.layout.nb_channels
        stated = round((self._file.container.duration or 0) / 1e6 * self.samplerate)
        self.frames = believable_samples(stated, path)

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
        stop = self._without_padding(track)
        while done < stop:
            n = min(_BLOCK, stop - done)
            yield self._take(track, done, n)
            done += n
        self._note_missing(track.end)

    def _without_padding(self, track: AudioTrack) -> int:
        """Samples up to the end that the header states, where only the padding of the encoder lies beyond it."""
        stop = round(self._stated_end() * track.sample_rate)
        padding = track.ready - stop
        return stop if 0 < padding < _MAX_PADDING * track.sample_rate else track.ready

    def _stated_end(self) -> float:
        audio = self._file.audio
        start = float((audio.start_time or 0) * audio.time_base - self._file.origin)
        return start + float((audio.duration or 0) * audio.time_base)

    def _note_missing(self, end: float) -> None:
        stated = self._stated_end()
        if self._troubles:
            self.trouble = f"{self._name} is damaged: {self._troubles[0]}"
        elif end < stated - _MISSING_SECONDS:
            self.trouble = f"{self._name} breaks off at {end:.1f} s; its header states {stated:.1f} s"

    def _take(self, track: AudioTrack, start: int, n_samples: int) -> np.ndarray:
        samples, _ = track.take(start, n_samples)
        if not np.isfinite(samples).all():
            raise SourceError(f"Samples must be finite. Received: {self._name} with NaN or infinite samples")
        return samples.reshape(n_samples, -1)

    def _frames(self) -> Iterator[Any]:
        """Yields decoded frames; damaged packets are skipped, and a file that breaks off ends."""
        av, audio = import_av(), self._file.audio
        for packet in itertools.chain(self._file.audio_packets(self._troubles), [None]):
            try:
                frames = audio.decode(packet)
            except EOFError:
                continue
            except av.FFmpegError as error:
                self._troubles.append(f"a part of its audio can't be decoded ({error.strerror})")
                continue
            yield from (frame for frame in frames if frame.samples and not frame.is_corrupt)
