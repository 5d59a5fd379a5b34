"""Audio files that libsndfile reads: wav, flac, ogg, mp3, aiff."""

import contextlib
import io
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_a2i.errors import MissingPackageError, SourceError
from keras_a2i.media.audio_content import Stream, believable_samples, find_streams, wav_samples
from keras_a2i.media.conversion import to_int16
from keras_a2i.media.durable import written_whole
from keras_a2i.media.resampling import Resampler, to_mono

# Float files may exceed full scale; beyond 24 dB their values have another unit, such as 16-bit counts.
MAX_PEAK = 16.0
_BLOCK = 65_536
# A stream is whole if no more than this is missing: encoders differ in whether they count their padding.
_MISSING_SECONDS = 0.1
# Formats of which another decoder has the same samples at the same places, so that it can continue behind a damage.
_CONTINUED = {"WAV", "WAVEX", "RF64", "FLAC", "AIFF", "W64", "MP3"}


def save_wav(path: pathlib.Path, waveform: np.ndarray, sample_rate: int) -> None:
    """Writes a mono waveform, float (n,) in [-1, 1], as a wav file with 16 bits, whole or not at all."""
    import soundfile

    # libsndfile doesn't tell why it can't write a file.
    content = io.BytesIO()
    soundfile.write(content, to_int16(waveform), sample_rate, subtype="PCM_16", format="WAV")
    with written_whole(path, durable=False) as temporary:
        temporary.write_bytes(content.getbuffer())


class SoundFileAudio:
    """An `AudioFile` that libsndfile reads; see `keras_a2i.media.audio`.

    Streams that were joined one after the other are read one after the other. Where a file is damaged, PyAV reads
    the rest if it is installed, except for ogg.

    Args:
        path: the file.

    Raises:
        SourceError: if libsndfile can't open it.
    """

    def __init__(self, path: pathlib.Path):
        import soundfile

        self._path, self._error, self.trouble = path, soundfile.LibsndfileError, ""
        try:
            self._streams = find_streams(path)
            self._file = self._open(self._streams[0] if self._streams else None)
        except OSError as error:
            raise SourceError(f"The audio file {path.name[:80]} can't be read: {error.strerror}") from None
        self.samplerate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = believable_samples(self._file.frames, path) * max(1, len(self._streams))

    def __enter__(self) -> "SoundFileAudio":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def blocks(self, sample_rate: int | None = None, channels: int | None = None) -> Iterator[np.ndarray]:
        """Yields float32 blocks (n, channels) in [-1, 1]; see `AudioFile.blocks`."""
        sample_rate, channels = sample_rate or self.samplerate, channels or self.channels
        if channels not in (1, self.channels):
            raise SourceError(f"channels must be 1 or {self.channels} for {self._path.name}. Received: {channels}")
        for number, stream in enumerate(self._streams or [None]):
            if number:
                self._file.close()
                self._file = self._open(stream)
            resampler = Resampler(self._file.samplerate, sample_rate, channels)
            for block in self._native_blocks(stream):
                yield np.clip(resampler(_mixed(block, channels)), -1, 1).reshape(-1, channels)
            empty = np.zeros((0, channels), np.float32)
            yield np.clip(resampler(_mixed(empty, channels), last=True), -1, 1).reshape(-1, channels)

    def _native_blocks(self, stream: Stream | None) -> Iterator[np.ndarray]:
        """Yields the samples (n, channels) of one stream as they are stored."""
        file, n, total = self._file, max(1, _BLOCK // self._file.channels), 0
        while True:
            # Not SoundFile.blocks: on a short read, as of a damaged mp3, it yields old memory beyond what was read.
            try:
                block = file.read(n, dtype="float32", always_2d=True)
            except self._error as error:
                if total == 0 and not self._can_continue():
                    raise self._not_audio(error) from error
                for block in self._rest(total):
                    total += len(block)
                    yield self._checked(block)
                break
            if len(block) == 0:
                break
            # A short read isn't the end: behind a damage of an mp3 file there may be more.
            total += len(block)
            yield self._checked(block)
        if self._file.format == "MP3" and len(self._streams) == 1 and self._lacks(total, stream):
            # libsndfile gives up where a damage is longer than a kilobyte.
            for block in self._rest(total):
                total += len(block)
                yield self._checked(block)
        self._note_missing(total, stream)

    def _rest(self, total: int) -> Iterator[np.ndarray]:
        """Yields what PyAV can read beyond the first `total` samples of a damaged file."""
        self.trouble = f"{self._path.name} is damaged after {total / self._file.samplerate:.1f} s"
        if not self._can_continue():
            return
        from keras_a2i.media.video_audio import VideoAudio

        with contextlib.suppress(SourceError), VideoAudio(self._path) as other:
            if other.channels != self._file.channels:
                return
            for block in other.blocks():
                yield block[total:]
                total = max(0, total - len(block))

    def _can_continue(self) -> bool:
        from keras_a2i.media.video_file import import_av

        with contextlib.suppress(MissingPackageError):
            import_av()
            return self._file.format in _CONTINUED
        return False

    def _stated(self, stream: Stream | None) -> int | None:
        if stream is not None and self._file.format != "OGG":
            return stream.n_samples
        return wav_samples(self._path) if self._file.format in ("WAV", "WAVEX") else self._file.frames

    def _lacks(self, total: int, stream: Stream | None) -> bool:
        stated = self._stated(stream)
        return stated is not None and total < stated - _MISSING_SECONDS * self._file.samplerate

    def _note_missing(self, total: int, stream: Stream | None) -> None:
        rate, stated = self._file.samplerate, self._stated(stream)
        if stated is None or not self._lacks(total, stream):
            return
        if stream is not None and not stream.is_cut:
            # Lost in between: what follows is earlier than it was.
            self.trouble = f"{self._path.name} is damaged: {total / rate:.1f} of its {stated / rate:.1f} s can be read"
        else:
            self.trouble = (
                f"{self._path.name} breaks off at {total / rate:.1f} s; its header states {stated / rate:.1f} s"
            )

    def _checked(self, block: np.ndarray) -> np.ndarray:
        name = self._path.name
        if not np.isfinite(block).all():
            raise SourceError(f"Samples must be finite. Received: {name} with NaN or infinite samples")
        peak = np.abs(block).max(initial=0)
        if peak > MAX_PEAK:
            raise SourceError(
                f"Samples must lie within [-1, 1], apart from short peaks. Received: {name} with a peak of "
                f"{peak:g}. Divide them by their full scale, 32768 for 16-bit values"
            )
        return block

    def _open(self, stream: Stream | None) -> Any:
        import soundfile

        try:
            if stream is None or len(self._streams) == 1:
                return soundfile.SoundFile(self._path)
            return soundfile.SoundFile(_Window(self._path, stream))
        except self._error as error:
            raise self._not_audio(error) from error

    def _not_audio(self, error: Any) -> SourceError:
        # What libsndfile says of a file that it took for mp3.
        reason = "Format not recognised." if "not a regular file" in error.error_string else error.error_string
        return SourceError(f"{self._path.name} can't be read as audio: {reason}")


class _Window(io.RawIOBase):
    """The bytes of one stream of a file, as a file of its own."""

    def __init__(self, path: pathlib.Path, stream: Stream):
        self._file, self._stream = path.open("rb"), stream
        self._file.seek(stream.start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = max(0, self._stream.stop - self._file.tell())
        return self._file.readinto(memoryview(buffer)[:left])  # type: ignore[attr-defined]

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (self._stream.start, self._file.tell(), self._stream.stop)[whence]
        return self._file.seek(max(self._stream.start, base + offset)) - self._stream.start

    def tell(self) -> int:
        return self._file.tell() - self._stream.start

    def close(self) -> None:
        self._file.close()
        super().close()


def _mixed(block: np.ndarray, channels: int) -> np.ndarray:
    return to_mono(block) if channels == 1 else block
