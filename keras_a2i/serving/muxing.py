"""Writing a video file: frames and the audio that they were generated from, in step (PyAV)."""

import dataclasses
import pathlib
from collections.abc import Generator, Iterable
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from keras_a2i.errors import MissingPackageError, UsageError
from keras_a2i.media.audio import open_audio

_AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
# Opus plays at 48 kHz whatever went in, and FFmpeg writes its delay wrongly for other rates.
_OPUS_RATES = (48_000,)
# Number of BT.709 among colour matrices, primaries and transfer functions, and of the limited range.
_BT709 = _LIMITED = 1
# More gains nothing at these sizes, and x264's output depends on it.
_THREADS = "2"


@dataclasses.dataclass(frozen=True)
class Codec:
    """The encoders of a video and their settings.

    Attributes:
        name: the name by which the library knows the codec.
        container: FFmpeg's name of the container, which is the file's suffix too.
        video, audio: FFmpeg's names of the encoders.
        rates: sample rates in Hz that the audio may have, ascending.
        video_options, container_options: their settings.
    """

    has_sound: ClassVar[bool] = True

    name: str
    container: str
    video: str
    audio: str
    rates: tuple[int, ...]
    video_options: dict[str, str]
    container_options: dict[str, str]

    @property
    def suffix(self) -> str:
        """The suffix of the file's name, without its dot."""
        return self.container

    def check(self, fps: Fraction) -> None:
        """Checks that this machine has the encoders; any frame rate is accepted.

        Raises:
            UsageError: if this build of PyAV has no such encoder.
            MissingPackageError: if PyAV isn't installed.
        """
        for encoder in (self.video, self.audio):
            check_encoder(self.name, encoder)

    def check_length(self, seconds: float) -> None:
        """Does nothing: a video may have any length."""

    def open(self, path: pathlib.Path, size: tuple[int, int], fps: Fraction, audio: pathlib.Path) -> "VideoWriter":
        """Begins a file; the arguments are those of `VideoWriter`."""
        return VideoWriter(path, self, size, fps, audio)


CODECS = {
    # The index goes to the front, so that a browser plays the file while it loads.
    "h264": Codec(
        *("h264", "mp4", "libx264", "aac", _AAC_RATES),
        {"preset": "veryfast", "crf": "18"},
        {"movflags": "+faststart"},
    ),
    "vp9": Codec(
        *("vp9", "webm", "libvpx-vp9", "libopus", _OPUS_RATES),
        {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1"},
        {},
    ),
}


def import_av() -> Any:
    """Imports PyAV.

    Raises:
        MissingPackageError: if it isn't installed.
    """
    try:
        import av
    except ImportError:
        raise MissingPackageError("av", "video", "Writing video files") from None
    return av


def check_encoder(codec: str, encoder: str) -> None:
    """Checks that this machine has an encoder of FFmpeg that a codec of ours needs.

    Raises:
        UsageError: if this build of PyAV has no such encoder.
        MissingPackageError: if PyAV isn't installed.
    """
    av = import_av()
    try:
        av.codec.Codec(encoder, "w")
    except av.codec.codec.UnknownCodecError:
        other = next(each for each in CODECS if each != codec)
        raise UsageError(
            f"codec={codec!r} needs a build of PyAV with the encoder {encoder}. Received: PyAV {av.__version__} "
            f"without it. Try codec={other!r}"
        ) from None


class VideoWriter:
    """Writes a video file; the audio is read along with the images, so that memory stays bounded.

    The audio keeps its sample rate where the encoder accepts it and is resampled to the next higher one otherwise; mono
    and stereo stay as they are, more channels are mixed to mono.

    Args:
        path: the file; the suffix doesn't matter.
        codec: the encoders.
        size: width and height in pixels, both even.
        fps: frames per second.
        audio: a file that `open_audio` reads.
    """

    def __init__(self, path: pathlib.Path, codec: Codec, size: tuple[int, int], fps: Fraction, audio: pathlib.Path):
        self._av = av = import_av()
        self._fps, self._frames, self._samples = fps, 0, 0
        with open_audio(audio) as file:
            rate, channels = file.samplerate, 2 if file.channels == 2 else 1
        self._rate = next((each for each in codec.rates if each >= rate), codec.rates[-1])
        self._layout = "stereo" if channels == 2 else "mono"
        self._blocks = _stream_channels(audio, channels, self._rate)
        self._container = av.open(f"file:{path}", "w", format=codec.container, options=codec.container_options)
        self._video = self._add_video(codec, size)
        self._audio = self._container.add_stream(codec.audio, rate=self._rate, layout=self._layout)
        self._audio.bit_rate = channels * min(96_000, 4 * self._rate)
        self._reformatter = av.video.reformatter.VideoReformatter()

    def _add_video(self, codec: Codec, size: tuple[int, int]) -> Any:
        options = codec.video_options | {"threads": _THREADS}
        video = self._container.add_stream(codec.video, rate=self._fps, options=options)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.time_base = 1 / self._fps
        # Written into the file: what players assume about colours depends on the player.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        return video

    def write(self, images: Iterable[np.ndarray]) -> None:
        """Adds frames, each uint8 (height, width, 3), and the audio that plays with them."""
        for image in images:
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = self._reformatter.reformat(
                frame, format="yuv420p", dst_colorspace="ITU709", src_color_range="JPEG", dst_color_range="MPEG"
            )
            frame.pts, frame.time_base = self._frames, 1 / self._fps
            self._container.mux(self._video.encode(frame))
            self._frames += 1
        self._write_audio(self._frames * self._rate / self._fps)

    def close(self, complete: bool = True) -> None:
        """Writes the rest and closes the file; without `complete` the file is closed as it is."""
        try:
            if complete:
                self._write_audio(None)
                self._container.mux(self._video.encode(None))
                self._container.mux(self._audio.encode(None))
        finally:
            self._blocks.close()
            self._container.close()

    def _write_audio(self, until: Fraction | None) -> None:
        """Writes audio up to the sample `until` or a block beyond; None writes all."""
        while until is None or self._samples < until:
            block = next(self._blocks, None)
            if block is None:
                return
            frame = self._av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=self._layout)
            frame.sample_rate, frame.time_base, frame.pts = self._rate, Fraction(1, self._rate), self._samples
            self._container.mux(self._audio.encode(frame))
            self._samples += len(block)


def _stream_channels(path: pathlib.Path, channels: int, new_rate: int) -> Generator[np.ndarray, None, None]:
    """Yields a file's audio as float32 (n, channels) in [-1, 1], n >= 1; one channel is the mean of all."""
    with open_audio(path) as file:
        yield from (block for block in file.blocks(new_rate, channels) if len(block))
