"""One sequential pass over a video file: for every second the picture at its middle and the sound of it."""

import collections
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.media.audio_track import AudioTrack
from keras_a2i.media.video_clip import Clip, import_av, read_packets
from keras_a2i.media.video_frames import FramePicker, FrameShaper

# Seconds of one track that are kept while the other one, badly interleaved, is still to come.
MAX_SKEW = 30
# Packets looked ahead before one is decoded: no codec reorders over more than 16 frames.
_LOOKAHEAD = 16
# Where one packet holds one whole frame, and the decoder knows frames that no other frame refers to.
_SKIPPING = {"h264", "hevc"}
_FRAMED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}


class InexactSkipError(Exception):
    """The frame that should have been chosen didn't come out of the decoder."""


class ClipReader:
    """Reads the seconds of a clip in order, holding neither more than a few frames nor more than `MAX_SKEW` of sound.

    Where the codec allows it, frames that no other frame needs and that aren't chosen are skipped by the decoder.
    Which frame will be chosen is known from the packets' time stamps; should the decoder give another one,
    `InexactSkipError` is raised and the clip has to be read without skipping.

    Args:
        clip: an open clip.
        n_pairs: seconds wanted.
        features: duration of a "second" and sample rate.
        image: size and channels of the pictures.
        skip: whether frames may be skipped.
    """

    def __init__(self, clip: Clip, n_pairs: int, features: FeatureConfig, image: ImageConfig, skip: bool = True):
        self.troubles: list[str] = []
        self._clip, self._n_pairs, self._features = clip, n_pairs, features
        self._duration = Fraction(features.duration).limit_denominator(1_000_000)
        tick, video = clip.video.time_base, clip.video
        rate = video.average_rate or video.guessed_rate or Fraction(25)
        self.tolerance = max(self._duration / 4, min(1 / rate, self._duration))
        shaper = FrameShaper(image, video.sample_aspect_ratio)
        self._picker = FramePicker(n_pairs, clip.origin / tick, self._duration / tick, self.tolerance / tick, shaper)
        self._sound = AudioTrack(features.sample_rate, clip.origin, clip.audio.time_base)
        self._skip = (
            skip
            and video.codec_context.name in _SKIPPING
            and clip.container.format.name in _FRAMED
            and self.tolerance < self._duration / 2
        )
        self._nearest: dict[int, tuple[int, int]] = {}
        self._queue: collections.deque[Any] = collections.deque()
        self._span: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray] | str]:
        """Yields, for each second, (waveform, picture) or the reason why there is none."""
        done = 0
        for packet in read_packets(self._clip, self.troubles):
            if packet.stream_index == self._clip.audio.index:
                self._decode_sound(packet)
            else:
                self._queue_picture(packet)
            while done < self._n_pairs and self._complete(done):
                yield self._take(done, ended=False)
                done += 1
            if done == self._n_pairs:
                return
        while self._queue:
            self._decode_picture(self._queue.popleft())
        self._decode_picture(None)
        self._decode_sound(None)
        self._picker.finish()
        self._sound.finish()
        for k in range(done, self._n_pairs):
            yield self._take(k, ended=True)

    def _complete(self, k: int) -> bool:
        if self._picker.decided > k and self._sound.ready >= self._first_sample(k) + self._features.n_samples:
            return True
        duration = self._features.duration
        ahead = max(self._picker.decided * duration, self._sound.end) - (k + 1) * duration
        return ahead > max(MAX_SKEW, 2 * duration)

    def _first_sample(self, k: int) -> int:
        return round(k * self._features.duration * self._features.sample_rate)

    def _decode(self, stream: Any, packet: Any) -> list[Any]:
        """Decodes a packet (None: what the decoder holds). A damaged one gives nothing, as in FFmpeg's tools."""
        av = import_av()
        try:
            return stream.decode(packet)
        except av.FFmpegError as error:
            if len(self.troubles) < 2 and not isinstance(error, EOFError):
                self.troubles.append(f"the file's {stream.type} is damaged: {error.strerror}")
            return []

    def _decode_sound(self, packet: Any) -> None:
        for frame in self._decode(self._clip.audio, packet):
            if frame.samples and not frame.is_corrupt:
                self._sound.push(frame)

    def _queue_picture(self, packet: Any) -> None:
        self._queue.append(packet)
        if packet.pts is not None and not packet.is_discard:
            low, high = self._span or (packet.pts, packet.pts)
            self._span = min(low, packet.pts), max(high, packet.pts)
            if self._skip:
                k, rank = self._picker.rank(packet.pts)
                self._nearest[k] = min(self._nearest.get(k, rank), rank)
        if len(self._queue) > _LOOKAHEAD:
            self._decode_picture(self._queue.popleft())

    def _decode_picture(self, packet: Any) -> None:
        if self._skip and packet is not None:
            needless = False
            if packet.pts is not None and not packet.is_discard:
                k, rank = self._picker.rank(packet.pts)
                needless = self._nearest.get(k, rank) < rank
            self._clip.video.codec_context.skip_frame = "NONREF" if needless else "DEFAULT"
        for frame in self._decode(self._clip.video, packet):
            if frame.pts is None:
                frame.pts = frame.dts
            if frame.pts is not None and not frame.is_corrupt:
                self._picker.push(frame)

    def _take(self, k: int, ended: bool) -> tuple[np.ndarray, np.ndarray] | str:
        start, n_samples = self._first_sample(k), self._features.n_samples
        waveform, covered = self._sound.take(start, n_samples)
        picture = self._picker.take(k)
        if self._skip:
            nearest = self._nearest.pop(k, None)
            expected = nearest[1] if nearest is not None and self._picker.is_near(nearest) else None
            if expected != (picture[0] if picture else None):
                raise InexactSkipError
        if picture is None:
            return self._because(self._no_picture(k, ended))
        if covered == 0 or covered < n_samples / 2:
            return self._because(self._no_sound(k, covered, ended))
        if not np.isfinite(waveform).all():
            return "its sound holds samples that aren't finite"
        return waveform, picture[1]

    def _because(self, reason: str) -> str:
        return f"{reason} ({'; '.join(self.troubles)})" if self.troubles else reason

    def _no_picture(self, k: int, ended: bool) -> str:
        middle = float(self._duration) * (k + 0.5)
        reason = f"no frame within {float(self.tolerance):.2f} s of {middle:.2f} s: "
        if self._span is None:
            return reason + "no frame could be read" + self._so_far(ended)
        first, last = (float(pts * self._clip.video.time_base - self._clip.origin) for pts in self._span)
        if first > middle:
            return f"{reason}the picture starts at {first:.2f} s"
        if last < middle:
            return f"{reason}the picture ends at {last:.2f} s" + self._so_far(ended)
        return reason + "frames are missing or damaged there"

    def _no_sound(self, k: int, covered: int, ended: bool) -> str:
        start, end = float(self._duration) * k, float(self._duration) * (k + 1)
        first, last, seconds = self._sound.first, self._sound.end, covered / self._features.sample_rate
        reason = f"only {seconds:.2f} s of its {end - start:g} s has sound: " if covered else "it has no sound: "
        if first is None:
            return reason + "none could be read" + self._so_far(ended)
        if first >= end or (first > start and last >= end):
            return f"{reason}the sound starts at {first:.2f} s"
        if last < end:
            return f"{reason}the sound ends at {last:.2f} s" + self._so_far(ended)
        return reason + "the sound has a gap there"

    def _so_far(self, ended: bool) -> str:
        return "" if ended else f", and none follows in the next {MAX_SKEW} s of the file"
