"""Sound files into videos: a picture for every frame, with the sound it was drawn from."""

import concurrent.futures
import dataclasses
import itertools
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.media.audio import stream_audio
from keras_a2i.media.conversion import to_uint8
from keras_a2i.serving.muxing import VideoWriter, find_codec
from keras_a2i.serving.predictor import Predictor
from keras_a2i.serving.sliding import slide_clips, smooth_frames

_BATCH = 32
MIN_FPS, MAX_FPS = 1.0, 60.0
MAX_SMOOTH = 10.0
# Enough for rates such as 30000/1001.
_LARGEST_DENOMINATOR = 1001


@dataclasses.dataclass(frozen=True)
class VideoSummary:
    """What a video holds.

    Attributes:
        frames: pictures.
        seconds: frames / fps.
        flicker: mean absolute change from a frame to the next, as a share of full scale; 0 for a single frame.
    """

    frames: int
    seconds: float
    flicker: float


class Flicker:
    """Mean absolute change from each frame to the next, over all pixels and channels, as a share of full scale."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._sum, self._steps = 0.0, 0

    def add(self, pictures: np.ndarray) -> None:
        """Takes the next frames, uint8 (n, size, size, channels)."""
        for picture in pictures:
            if self._last is not None:
                # In 8 bits, several times as fast as a difference in a wider type.
                change = np.maximum(picture, self._last) - np.minimum(picture, self._last)
                self._sum += float(change.mean()) / 255
                self._steps += 1
            self._last = picture

    @property
    def value(self) -> float:
        """The mean so far, 0 to 1; 0 before the second frame."""
        return self._sum / self._steps if self._steps else 0.0


def stream_frames(
    predictor: Predictor, sound: pathlib.Path, fps: Fraction, smooth: float = 0.0
) -> Iterator[np.ndarray]:
    """Draws the picture of every frame from the window of sound centred on the frame's middle, in constant memory.

    Args:
        predictor: the model; with `smooth` one of a run folder or a `.keras` file.
        sound: a file that `stream_audio` reads.
        fps: frames a second.
        smooth: standard deviation in seconds of a Gaussian over neighbouring frames' latent vectors; 0 for none.

    Yields:
        float32 (n, size, size, channels) in [-1, 1].

    Raises:
        SourceError: if the sound can't be read.
        UsageError: if the model gives no latent vectors to smooth.
    """
    features = predictor.metadata.features
    blocks = stream_audio(sound, features.sample_rate)
    windows = slide_clips(blocks, features.sample_rate, features.n_samples, fps, _BATCH)
    if smooth == 0:
        yield from map(predictor.predict_clips, windows)
    else:
        latents = map(predictor.encode_clips, windows)
        yield from map(predictor.generate_latents, smooth_frames(latents, smooth * float(fps)))


def write_video(
    predictor: Predictor,
    sound: pathlib.Path,
    path: pathlib.Path,
    *,
    fps: float = 25.0,
    codec: str = "h264",
    smooth: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> VideoSummary:
    """Writes a video of a sound file, whole or not at all, replacing an earlier file of that name.

    Args:
        predictor: the model.
        sound: wav, flac, ogg or mp3 of any rate, channels and length, or a video; its sound becomes the new video's.
        path: the video; its folder is made where it doesn't exist.
        fps: frames a second, 1 to 60.
        codec: "h264" (mp4 with AAC) or "vp9" (webm with Opus).
        smooth: as in `stream_frames`, 0 to 10 seconds.
        progress: told the number of frames done, now and then.

    Returns:
        What the video holds.

    Raises:
        SourceError: if the sound can't be read.
        UsageError: if an option is out of range, the encoder is missing, or the model can't be smoothed.
        MissingPackageError: if PyAV isn't installed.
    """
    encoders, rate = find_codec(codec), check_fps(fps)
    check_smooth(smooth)
    batches = stream_frames(predictor, sound, rate, smooth)
    # The first batch is drawn before the file is begun: what is wrong with sound or model shows here.
    first = next(batches)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    flicker = Flicker()
    try:
        writer = VideoWriter(temporary, encoders, predictor.metadata.image.size, rate, sound)
        complete = False
        try:
            frames = _encode(itertools.chain([first], batches), writer, flicker, progress)
            complete = True
        finally:
            writer.close(complete)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return VideoSummary(frames, float(frames / rate), flicker.value)


def check_fps(fps: float) -> Fraction:
    """The exact frame rate; raises a UsageError unless it lies between 1 and 60."""
    if not MIN_FPS <= fps <= MAX_FPS:
        raise UsageError(f"fps must lie between {MIN_FPS:g} and {MAX_FPS:g} frames a second. Received: {fps:g}")
    return Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR)


def check_smooth(smooth: float) -> None:
    """Raises a UsageError unless `smooth` lies between 0 and 10 seconds."""
    if not (math.isfinite(smooth) and 0 <= smooth <= MAX_SMOOTH):
        raise UsageError(f"smooth must lie between 0 and {MAX_SMOOTH:g} seconds. Received: {smooth:g}")


def _encode(
    batches: Iterable[np.ndarray], writer: VideoWriter, flicker: Flicker, progress: Callable[[int], None] | None
) -> int:
    """Encodes each batch in a thread while the next one is drawn; returns the number of frames."""

    def encode(pictures: np.ndarray) -> int:
        pictures = to_uint8(pictures)
        flicker.add(pictures)
        writer.write(np.repeat(pictures, 3, axis=-1) if pictures.shape[-1] == 1 else pictures)
        return len(pictures)

    frames, pending = 0, None
    # Left only when the thread has finished: the writer is closed after that.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        for pictures in itertools.chain(batches, [None]):
            if pending is not None:
                frames += pending.result()
                if progress is not None:
                    progress(frames)
            if pictures is not None:
                pending = thread.submit(encode, pictures)
    return frames
