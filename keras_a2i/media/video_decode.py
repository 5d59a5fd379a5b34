"""Reading a video file once from start to end: for every clip the frame at its middle and its waveform."""

import collections
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.media.audio_track import AudioTrack
from keras_a2i.media.video_file import VideoFile, import_av, open_video
from keras_a2i.media.video_frames import Crop, FramePicker, FrameShaper

# Seconds of one track that are kept while waiting for the other one in a badly interleaved file.
MAX_SKEW = 30
# Packets that are read ahead of the one that is decoded: no codec reorders over more than 16 frames.
_LOOKAHEAD = 16
# Codecs and containers in which one packet holds one frame and the decoder knows the frames that no other refers to.
_SKIPPING = {"h264", "hevc"}
_FRAMED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}


DecodedClip = tuple[np.ndarray, np.ndarray] | str
"""The waveform and the image of a clip, or the reason why it has none."""


class InexactSkipError(Exception):
    """Something that was skipped is needed: the decoder didn't return the frame that should have been chosen."""


def decode_clips(
    path: pathlib.Path,
    n_clips: int,
    features: FeatureConfig,
    image: ImageConfig,
    *,
    start: Fraction = Fraction(0),
    crop: Crop | None = None,
) -> Iterator[DecodedClip]:
    """Decodes consecutive clips of a video; what isn't needed is skipped where that changes nothing.

    Args:
        path: the video.
        n_clips: number of clips.
        features: duration and sample rate of a clip.
        image: size and channels of the images.
        start: seconds from the start of the file at which the first clip begins. Audio before it isn't used; a frame
            before it only where it is still being shown at the middle of a clip that has none nearby.
        crop: the part of the frames that images show; None for the largest centred square.

    Yields:
        `DecodedClip` for each of them.

    Raises:
        SourceError: if the file can't be opened or lacks a track.
        MissingPackageError: if PyAV isn't installed.
    """
    done = 0
    for skip in (True, False):
        try:
            with open_video(path) as file:
                decoder = VideoDecoder(file.from_moment(start), n_clips, features, image, crop=crop, skip=skip)
                for clip in itertools.islice(decoder, done, None):
                    yield clip
                    done += 1
            return
        except InexactSkipError:
            continue


def decode_clips_at(
    path: pathlib.Path,
    positions: Sequence[int],
    features: FeatureConfig,
    image: ImageConfig,
    *,
    start: Fraction = Fraction(0),
    crop: Crop | None = None,
) -> Iterator[DecodedClip]:
    """Decodes some of the consecutive clips of a video; where the file has an index, what lies between is skipped.

    Args:
        path: the video.
        positions: ascending numbers of clips, from 0.
        features, image, start, crop: as for `decode_clips`.

    Yields:
        `DecodedClip` for each of them.

    Raises:
        SourceError, MissingPackageError: as `decode_clips`.
    """
    places = (list(group) for _, group in itertools.groupby(enumerate(positions), lambda place: place[1] - place[0]))
    runs = [(run[0][1], len(run)) for run in places]
    if len(runs) > 1 or any(first for first, _ in runs):
        with open_video(path) as file:
            if not file.has_index:
                wanted = set(positions)
                clips = enumerate(decode_clips(path, positions[-1] + 1, features, image, start=start, crop=crop))
                yield from (clip for k, clip in clips if k in wanted)
                return
    step = Fraction(features.duration).limit_denominator(1_000_000)
    for first, n_clips in runs:
        yield from decode_clips(path, n_clips, features, image, start=start + first * step, crop=crop)


class VideoDecoder:
    """Decodes the clips of a video in order; holds no more than a few frames and `MAX_SKEW` seconds of audio.

    Where the codec allows it, the decoder skips frames that no other frame refers to and that aren't chosen; where the
    file has an index, it skips what lies before the last keyframe before time 0. The packets' time stamps determine
    which frame will be chosen; if the decoder returns another one, or the index led to a place after time 0,
    `InexactSkipError` is raised and the video must be decoded without skipping.

    Args:
        file: an open video, of which nothing has been read.
        n_clips: number of clips, from time 0.
        features: duration and sample rate of a clip.
        image: size and channels of the images.
        crop: the part of the frames that images show; None for the largest centred square.
        skip: whether anything may be skipped.
    """

    def __init__(
        self,
        file: VideoFile,
        n_clips: int,
        features: FeatureConfig,
        image: ImageConfig,
        *,
        crop: Crop | None = None,
        skip: bool = True,
    ):
        self.troubles: list[str] = []
        self._file, self._n_clips, self._features = file, n_clips, features
        self._duration = Fraction(features.duration).limit_denominator(1_000_000)
        tick, video = file.video.time_base, file.video
        rate = video.average_rate or video.guessed_rate or Fraction(25)
        # With fewer than two frames a clip it is the frame that is being shown, unless another one is near.
        self.tolerance = max(self._duration / 4, 1 / rate if 2 / rate <= self._duration else Fraction(0))
        shaper = FrameShaper(image, video.sample_aspect_ratio, crop)
        self._picker = FramePicker(n_clips, file.origin / tick, self._duration / tick, self.tolerance / tick, shaper)
        self._ahead = skip and file.can_skip_ahead
        first_tick = (file.audio.start_time or 0) if file.start else None
        self._audio = AudioTrack(features.sample_rate, file.origin, file.audio.time_base, first_tick=first_tick)
        self._skip = (
            skip
            and video.codec_context.name in _SKIPPING
            and file.container.format.name in _FRAMED
            and self.tolerance < self._duration / 2
        )
        self._begun: set[int] = set()
        self._nearest: dict[int, tuple[int, int]] = {}
        self._queue: collections.deque[Any] = collections.deque()
        self._span: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[DecodedClip]:
        """Yields (waveform, image) of every clip, or the reason why it has none."""
        done = 0
        for packet in self._packets():
            if packet.stream_index == self._file.audio.index:
                self._decode_audio(packet)
            else:
                self._queue_frame(packet)
            while done < self._n_clips and self._complete(done):
                yield self._take(done, ended=False)
                done += 1
            if done == self._n_clips:
                return
        while self._queue:
            self._decode_frame(self._queue.popleft())
        self._decode_frame(None)
        self._decode_audio(None)
        self._picker.finish()
        self._audio.finish()
        for k in range(done, self._n_clips):
            yield self._take(k, ended=True)

    def _packets(self) -> Iterator[Any]:
        """The packets of both tracks; the first of each must not lie after time 0 if anything before was skipped."""
        if self._ahead:
            try:
                self._file.skip_ahead()
            except import_av().FFmpegError:
                raise InexactSkipError from None
        for packet in self._file.packets(self._file.video, self._file.audio, troubles=self.troubles):
            if self._ahead and packet.stream_index not in self._begun:
                self._begun.add(packet.stream_index)
                if packet.pts is None or packet.pts * packet.stream.time_base > self._file.origin:
                    raise InexactSkipError
            yield packet

    def _complete(self, k: int) -> bool:
        if self._picker.decided > k and self._audio.ready >= self._first_sample(k) + self._features.n_samples:
            return True
        duration = self._features.duration
        ahead = max(self._picker.decided * duration, self._audio.end) - (k + 1) * duration
        return ahead > max(MAX_SKEW, 2 * duration)

    def _first_sample(self, k: int) -> int:
        return round(k * self._features.duration * self._features.sample_rate)

    def _decode(self, stream: Any, packet: Any) -> list[Any]:
        """Decodes a packet, or what remains in the decoder for None; a damaged packet has no frames, as in FFmpeg."""
        av = import_av()
        try:
            return stream.decode(packet)
        except av.FFmpegError as error:
            if len(self.troubles) < 2 and not isinstance(error, EOFError):
                self.troubles.append(f"the file's {stream.type} is damaged: {error.strerror}")
            return []

    def _decode_audio(self, packet: Any) -> None:
        for frame in self._decode(self._file.audio, packet):
            if frame.samples and not frame.is_corrupt:
                self._audio.push(frame)

    def _queue_frame(self, packet: Any) -> None:
        self._queue.append(packet)
        if packet.pts is not None and not packet.is_discard:
            low, high = self._span or (packet.pts, packet.pts)
            self._span = min(low, packet.pts), max(high, packet.pts)
            self._picker.add_packet(packet.pts)
            if self._skip or self._ahead:
                k, rank = self._picker.rank(packet.pts)
                self._nearest[k] = min(self._nearest.get(k, rank), rank)
        if len(self._queue) > _LOOKAHEAD:
            self._decode_frame(self._queue.popleft())

    def _decode_frame(self, packet: Any) -> None:
        if self._skip and packet is not None:
            needless = False
            if packet.pts is not None and not packet.is_discard:
                k, rank = self._picker.rank(packet.pts)
                needless = self._nearest.get(k, rank) < rank and not self._may_stay(packet.pts)
            self._file.video.codec_context.skip_frame = "NONREF" if needless else "DEFAULT"
        for frame in self._decode(self._file.video, packet):
            if frame.pts is None:
                frame.pts = frame.dts
            if frame.pts is not None and not frame.is_corrupt:
                self._picker.push(frame)

    def _may_stay(self, pts: int) -> bool:
        """Whether a frame may be the one that is being shown at the middle of a clip that has none nearby."""
        middle = self._picker.next_middle(pts)
        return not any(p.pts is not None and pts < p.pts <= middle for p in self._queue)

    def _take(self, k: int, ended: bool) -> DecodedClip:
        if self._ahead and len(self._begun) < 2:
            # The other track may lie before the place to which the index led.
            raise InexactSkipError
        start, n_samples = self._first_sample(k), self._features.n_samples
        waveform, covered = self._audio.take(start, n_samples)
        image = self._picker.take(k)
        if self._skip or self._ahead:
            nearest = self._nearest.pop(k, None)
            near = nearest is not None and self._picker.is_near(nearest)
            expected = nearest[1] if nearest is not None and near else self._picker.shown_at(k)
            if expected != (image[0] if image else None):
                raise InexactSkipError
        if image is None:
            return self._because(self._no_frame(k, ended))
        if covered == 0 or covered < n_samples / 2:
            return self._because(self._no_audio(k, covered, ended))
        if not np.isfinite(waveform).all():
            return "its audio holds samples that aren't finite"
        return waveform, image[1]

    def _because(self, reason: str) -> str:
        return f"{reason} ({'; '.join(self.troubles)})" if self.troubles else reason

    def _no_frame(self, k: int, ended: bool) -> str:
        middle = self._second(float(self._duration) * (k + 0.5))
        reason = f"no frame within {float(self.tolerance):.2f} s of {middle:.2f} s: "
        if self._span is None:
            return reason + "no frame could be read" + self._so_far(ended)
        tick, origin = self._file.video.time_base, self._file.origin
        first, last = (self._second(float(pts * tick - origin)) for pts in self._span)
        if first > middle:
            return f"{reason}the video track starts at {first:.2f} s"
        if last < middle:
            return f"{reason}the video track ends at {last:.2f} s" + self._so_far(ended)
        return reason + "frames are missing or damaged there"

    def _no_audio(self, k: int, covered: int, ended: bool) -> str:
        start, end = (self._second(float(self._duration) * n) for n in (k, k + 1))
        seconds = covered / self._features.sample_rate
        reason = f"only {seconds:.2f} s of its {end - start:g} s have audio: " if covered else "it has no audio: "
        if self._audio.first is None and self._audio.end >= 0:
            return reason + "none could be read" + self._so_far(ended)
        last = self._second(self._audio.end)
        first = last if self._audio.first is None else self._second(self._audio.first)
        if first >= end or (first > start and last >= end):
            return f"{reason}the audio track starts at {first:.2f} s"
        if last < end:
            return f"{reason}the audio track ends at {last:.2f} s" + self._so_far(ended)
        return reason + "the audio track has a gap there"

    def _second(self, time: float) -> float:
        """Seconds from the start of the file, for messages."""
        return float(self._file.start) + time

    def _so_far(self, ended: bool) -> str:
        return "" if ended else f", and none follows in the next {MAX_SKEW} s of the file"
