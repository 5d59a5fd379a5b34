"""Sound of files of any rate and channel count to mono float32 at the feature rate (soundfile and soxr)."""

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import SourceError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 768_000
# Float files may go over full scale; beyond 24 dB they hold another unit, such as 16-bit counts.
MAX_PEAK = 16.0
_BLOCK = 65_536


def to_mono(samples: np.ndarray) -> np.ndarray:
    """Mean over the channels of float samples (n, channels) or (n,); returns float32 (n,)."""
    samples = np.asarray(samples, dtype=np.float32)
    return samples if samples.ndim == 1 else samples.mean(axis=1)


def resample(waveform: np.ndarray, sample_rate: int, new_rate: int) -> np.ndarray:
    """Resamples a mono waveform (n,) in one go (soxr, high quality); returns float32."""
    if sample_rate == new_rate:
        return waveform.astype(np.float32, copy=False)
    import soxr

    return soxr.resample(waveform.astype(np.float32, copy=False), sample_rate, new_rate).astype(np.float32)


class Resampler:
    """Resamples a stream of mono blocks at constant memory.

    Args:
        sample_rate: Hz of what goes in.
        new_rate: Hz of what comes out.
    """

    def __init__(self, sample_rate: int, new_rate: int):
        self._stream = None
        if sample_rate != new_rate:
            import soxr

            self._stream = soxr.ResampleStream(sample_rate, new_rate, 1, dtype="float32")

    def __call__(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Takes the next samples (n,) float32 and returns those that are ready; `last` empties the filter."""
        if self._stream is None:
            return block
        return self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32), last=last)


def open_audio(path: pathlib.Path) -> Any:
    """Opens a sound file, or the sound of a video: a soundfile.SoundFile, or what does the same for videos.

    Raises:
        SourceError: if it can't be opened as what its name says.
        MissingPackageError: if it is a video and PyAV isn't installed.
    """
    import soundfile

    from keras_a2i.media.video_audio_file import VideoAudioFile
    from keras_a2i.media.video_clip import VIDEO_SUFFIXES

    # For a name in .raw libsndfile asks for the layout instead of looking at the content.
    if path.suffix.lower() == ".raw":
        raise SourceError(f"{path.name} can't be read as sound: raw samples don't say their rate. Save it as wav")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoAudioFile(path)
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise _not_audio(path, error) from error


def _not_audio(path: pathlib.Path, error: Any) -> SourceError:
    formats = ", ".join(suffix[1:] for suffix in SUFFIXES)
    return SourceError(f"{path.name} can't be read as sound ({formats}): {error.error_string}")


def stream_audio(path: pathlib.Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Yields a file's sound as mono float32 blocks in [-1, 1] at `sample_rate`, never holding the whole file.

    Args:
        path: wav, flac, ogg or mp3, or a video.
        sample_rate: Hz wanted.

    Raises:
        SourceError: if the file is missing, can't be decoded, holds no samples, or holds values that aren't finite or
            lie beyond 16 times full scale.
        MissingPackageError: if it is a video and PyAV isn't installed.
    """
    import soundfile

    try:
        exists = path.is_file()
    except OSError as error:
        raise SourceError(f"The sound file {path.name[:80]} can't be read: {error.strerror}") from None
    if not exists:
        what = "is a folder" if path.is_dir() else "doesn't exist"
        raise SourceError(f"The sound file {path.name} {what}")
    total = 0
    try:
        with open_audio(path) as file:
            if not MIN_SAMPLE_RATE <= file.samplerate <= MAX_SAMPLE_RATE:
                raise SourceError(
                    f"The sample rate must lie between {MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE} Hz. "
                    f"Received: {path.name} with {file.samplerate} Hz"
                )
            resampler = Resampler(file.samplerate, sample_rate)
            for block in file.blocks(max(1, _BLOCK // file.channels), dtype="float32", always_2d=True):
                _check_samples(block, path.name)
                total += len(block)
                yield np.clip(resampler(to_mono(block)), -1, 1)
            yield np.clip(resampler(np.zeros(0, np.float32), last=True), -1, 1)
    except soundfile.LibsndfileError as error:
        raise _not_audio(path, error) from error
    if total == 0:
        raise SourceError(f"{path.name} holds no samples")


def _check_samples(block: np.ndarray, name: str) -> None:
    if not np.isfinite(block).all():
        raise SourceError(f"Samples must be finite. Received: {name} with NaN or infinite samples")
    peak = np.abs(block).max(initial=0)
    if peak > MAX_PEAK:
        raise SourceError(
            f"Samples must lie about within [-1, 1]. Received: {name} with a peak of {peak:g}. "
            "Divide them by their full scale, 32768 for 16-bit values"
        )


def read_audio(path: pathlib.Path, sample_rate: int, n_samples: int) -> tuple[np.ndarray, int]:
    """Reads at most the first `n_samples` of a sound file.

    Args:
        path: as for `stream_audio`.
        sample_rate: Hz wanted.
        n_samples: samples wanted at that rate.

    Returns:
        The mono float32 waveform (n,) with n <= n_samples, and the number of samples seen so far (more than
        `n_samples` where the file goes on).

    Raises:
        SourceError: as `stream_audio`.
    """
    blocks, seen = [], 0
    for block in stream_audio(path, sample_rate):
        blocks.append(block)
        seen += len(block)
        if seen > n_samples:
            break
    return np.concatenate(blocks)[:n_samples], seen


def stream_clips(path: pathlib.Path, config: FeatureConfig) -> Iterator[np.ndarray]:
    """Yields consecutive windows (n_samples,) of the configured duration, the last padded with silence."""
    pending = np.zeros(0, np.float32)
    for block in stream_audio(path, config.sample_rate):
        pending = np.concatenate([pending, block])
        while len(pending) >= config.n_samples:
            yield pending[: config.n_samples]
            pending = pending[config.n_samples :]
    if len(pending):
        yield np.pad(pending, (0, config.n_samples - len(pending)))
