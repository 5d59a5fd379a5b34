"""Reading audio files, and the audio of video files, of any sample rate and channel count."""

import contextlib
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from keras_a2i.errors import MissingPackageError, SourceError
from keras_a2i.media.audio_content import is_of_libsndfile
from keras_a2i.media.resampling import Resampler, resample, to_mono
from keras_a2i.media.sound_file import SoundFileAudio
from keras_a2i.media.suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

__all__ = [
    "AUDIO_SUFFIXES",
    "DamagedAudioWarning",
    "Resampler",
    "open_audio",
    "read_audio",
    "resample",
    "stream_audio",
    "to_mono",
]

MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 768_000


class DamagedAudioWarning(UserWarning):
    """A file breaks off or is damaged: what could be decoded was used."""


class AudioFile(Protocol):
    """An open audio file. It is also a context manager that closes the file.

    Attributes:
        samplerate: Hz.
        channels: number of channels.
        frames: samples per channel as the header states them, for progress only; 0 where it states none, or more than
            the file can hold.
        trouble: once the blocks were read to their end, what was wrong with the file ("a.mp3 breaks off at ..."); ""
            if nothing was.
    """

    samplerate: int
    channels: int
    frames: int
    trouble: str

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
    """Opens an audio file, or the audio of a video file. Its bytes decide how it is read, not its suffix.

    libsndfile reads wav, flac, ogg, mp3 and aiff; FFmpeg (PyAV) reads everything else, and what libsndfile can't.

    Raises:
        SourceError: if it can't be opened.
        MissingPackageError: if it takes PyAV, which isn't installed.
    """
    # For the suffix .raw libsndfile asks for the layout instead of reading the content.
    if path.suffix.lower() == ".raw":
        raise SourceError(
            f"{path.name} can't be read as audio: raw samples don't state their sample rate. Save it as wav"
        )
    if path.suffix.lower() in VIDEO_SUFFIXES or not _is_of_libsndfile(path):
        from keras_a2i.media.video_audio import VideoAudio

        return VideoAudio(path)
    try:
        file: AudioFile = SoundFileAudio(path)
    except SourceError:
        if (other := _open_with_av(path)) is None:
            raise
        return other
    if file.frames == 0 and (other := _open_with_av(path)) is not None:
        # No length is stated, as by a recorder that crashed.
        file.close()
        return other
    return file


def stream_audio(
    path: pathlib.Path, sample_rate: int, on_trouble: Callable[[str], None] | None = None
) -> Iterator[np.ndarray]:
    """Yields the audio of a file as mono float32 blocks (n,) in [-1, 1] at `sample_rate`, in constant memory.

    The audio of a video is the same, sample by sample, as in the records that are built from it. A file that breaks off
    yields what can be decoded, never more.

    Args:
        path: a wav, flac, ogg, mp3 or m4a file, or a video.
        sample_rate: rate of the blocks, Hz.
        on_trouble: called after the last block with a sentence if the file breaks off or is damaged; by default a
            `DamagedAudioWarning` says it.

    Raises:
        SourceError: if the file is missing, can't be decoded, holds no samples, or holds samples that aren't finite or
            exceed 16 times full scale.
        MissingPackageError: if it takes PyAV, which isn't installed.
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
        trouble = file.trouble
    if total == 0:
        raise SourceError(f"{path.name} holds no samples" + (f": {trouble}" if trouble else ""))
    if trouble:
        (on_trouble or _warn)(trouble)


def read_audio(
    path: pathlib.Path, sample_rate: int, n_samples: int, on_trouble: Callable[[str], None] | None = None
) -> tuple[np.ndarray, int]:
    """Reads at most the first `n_samples` of an audio file.

    Args:
        path: as for `stream_audio`.
        sample_rate: rate of the waveform, Hz.
        n_samples: the largest number of samples at that rate.
        on_trouble: as for `stream_audio`; not called for what lies beyond the samples that were read.

    Returns:
        The mono float32 waveform (n,) with n <= n_samples, and the number of samples read so far, which exceeds
        `n_samples` if the file is longer.

    Raises:
        SourceError: as `stream_audio`.
    """
    blocks, n_read = [], 0
    for block in stream_audio(path, sample_rate, on_trouble):
        blocks.append(block)
        n_read += len(block)
        if n_read > n_samples:
            break
    return np.concatenate(blocks)[:n_samples], n_read


def _warn(trouble: str) -> None:
    warnings.warn(trouble, DamagedAudioWarning, stacklevel=3)


def _is_of_libsndfile(path: pathlib.Path) -> bool:
    try:
        return is_of_libsndfile(path)
    except OSError as error:
        raise SourceError(f"The audio file {path.name[:80]} can't be read: {error.strerror}") from None


def _open_with_av(path: pathlib.Path) -> AudioFile | None:
    """Opens a file with PyAV, or returns None where PyAV isn't installed or can't open it either."""
    with contextlib.suppress(SourceError, MissingPackageError):
        from keras_a2i.media.video_audio import VideoAudio

        return VideoAudio(path)
    return None
