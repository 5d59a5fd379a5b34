"""Reading audio files, and the audio of video files, of any sample rate and channel count."""

import pathlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from keras_a2i.errors import SourceError
from keras_a2i.media.resampling import Resampler, resample, to_mono
from keras_a2i.media.suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

__all__ = ["AUDIO_SUFFIXES", "Resampler", "open_audio", "read_audio", "resample", "stream_audio", "to_mono"]

MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 768_000
# Float files may exceed full scale; beyond 24 dB their values have another unit, such as 16-bit counts.
MAX_PEAK = 16.0
_BLOCK = 65_536


class AudioFile(Protocol):
    """An open audio file. It is also a context manager that closes the file.

    Attributes:
        samplerate: Hz.
        channels: number of channels.
        frames: samples per channel as the header states them, for progress only; 0 where it states none.
    """

    samplerate: int
    channels: int
    frames: int

    def __enter__(self) -> "AudioFile": ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Closes the file."""

    def blocks(self, sample_rate: int | None = None, channels: int | None = None) -> Iterator[np.ndarray]:
        """Yields the audio in blocks, in constant memory.

        Args:
            sample_rate: rate of the blocks in Hz; the file's own by default.
            channels: 1 for the mean of all channels; the file's own number by default.

        Yields:
            float32 (n, channels) in [-1, 1].

        Raises:
            SourceError: if the file can't be decoded, or holds samples that aren't finite or, in an audio file, exceed
                16 times full scale.
        """
        ...


def open_audio(path: pathlib.Path) -> AudioFile:
    """Opens an audio file, or the audio of a video file.

    Raises:
        SourceError: if it can't be opened as what its suffix says.
        MissingPackageError: if it is a video and PyAV isn't installed.
    """
    # For the suffix .raw libsndfile asks for the layout instead of reading the content.
    if path.suffix.lower() == ".raw":
        raise SourceError(
            f"{path.name} can't be read as audio: raw samples don't state their sample rate. Save it as wav"
        )
    if path.suffix.lower() in VIDEO_SUFFIXES:
        from keras_a2i.media.video_audio import VideoAudio

        return VideoAudio(path)
    return _SoundFile(path)


def stream_audio(path: pathlib.Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Yields the audio of a file as mono float32 blocks (n,) in [-1, 1] at `sample_rate`, in constant memory.

    The audio of a video is the same, sample by sample, as in the records that are built from it.

    Args:
        path: a wav, flac, ogg or mp3 file, or a video.
        sample_rate: rate of the blocks, Hz.

    Raises:
        SourceError: if the file is missing, can't be decoded, holds no samples, or holds samples that aren't finite or
            exceed 16 times full scale.
        MissingPackageError: if it is a video and PyAV isn't installed.
    """
    try:
        exists = path.is_file()
    except OSError as error:
        raise SourceError(f"The audio file {path.name[:80]} can't be read: {error.strerror}") from None
    if not exists:
        what = "is a folder" if path.is_dir() else "doesn't exist"
        raise SourceError(f"The audio file {path.name} {what}")
    total = 0
    with open_audio(path) as file:
        if not MIN_SAMPLE_RATE <= file.samplerate <= MAX_SAMPLE_RATE:
            raise SourceError(
                f"The sample rate must lie between {MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE} Hz. "
                f"Received: {path.name} with {file.samplerate} Hz"
            )
        for block in file.blocks(sample_rate, channels=1):
            total += len(block)
            yield block[:, 0]
    if total == 0:
        raise SourceError(f"{path.name} holds no samples")


def read_audio(path: pathlib.Path, sample_rate: int, n_samples: int) -> tuple[np.ndarray, int]:
    """Reads at most the first `n_samples` of an audio file.

    Args:
        path: as for `stream_audio`.
        sample_rate: rate of the waveform, Hz.
        n_samples: the largest number of samples at that rate.

    Returns:
        The mono float32 waveform (n,) with n <= n_samples, and the number of samples read so far, which exceeds
        `n_samples` if the file is longer.

    Raises:
        SourceError: as `stream_audio`.
    """
    blocks, n_read = [], 0
    for block in stream_audio(path, sample_rate):
        blocks.append(block)
        n_read += len(block)
        if n_read > n_samples:
            break
    return np.concatenate(blocks)[:n_samples], n_read


class _SoundFile:
    """An `AudioFile` that libsndfile reads."""

    def __init__(self, path: pathlib.Path):
        import soundfile

        self._name, self._error = path.name, soundfile.LibsndfileError
        try:
            self._file = soundfile.SoundFile(path)
        except self._error as error:
            raise self._not_audio(error) from error
        self.samplerate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = self._file.frames

    def __enter__(self) -> "_SoundFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def blocks(self, sample_rate: int | None = None, channels: int | None = None) -> Iterator[np.ndarray]:
        sample_rate, channels = sample_rate or self.samplerate, channels or self.channels
        if channels not in (1, self.channels):
            raise SourceError(f"channels must be 1 or {self.channels} for {self._name}. Received: {channels}")
        resampler = Resampler(self.samplerate, sample_rate, channels)
        n, n_read = max(1, _BLOCK // self.channels), None
        # Not SoundFile.blocks: on a short read, as of a damaged mp3, it yields old memory beyond what was read.
        while n_read in (None, n):
            block = self._read(n)
            n_read = len(block)
            mixed = to_mono(block) if channels == 1 else block
            yield np.clip(resampler(mixed), -1, 1).reshape(-1, channels)
        yield np.clip(resampler(mixed[:0], last=True), -1, 1).reshape(-1, channels)

    def _read(self, n: int) -> np.ndarray:
        try:
            block = self._file.read(n, dtype="float32", always_2d=True)
        except self._error as error:
            raise self._not_audio(error) from error
        if not np.isfinite(block).all():
            raise SourceError(f"Samples must be finite. Received: {self._name} with NaN or infinite samples")
        peak = np.abs(block).max(initial=0)
        if peak > MAX_PEAK:
            raise SourceError(
                f"Samples must lie within [-1, 1], apart from short peaks. Received: {self._name} with a peak of "
                f"{peak:g}. Divide them by their full scale, 32768 for 16-bit values"
            )
        return block

    def _not_audio(self, error: Any) -> SourceError:
        formats = ", ".join(suffix[1:] for suffix in AUDIO_SUFFIXES)
        return SourceError(f"{self._name} can't be read as audio ({formats}): {error.error_string}")
