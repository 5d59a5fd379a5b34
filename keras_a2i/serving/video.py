"""Audio into a video: an image for every frame, with the audio that it was generated from."""

import concurrent.futures
import dataclasses
import itertools
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.media.audio import stream_audio
from keras_a2i.media.conversion import to_uint8
from keras_a2i.serving.model_inputs import BATCH, clip_inputs
from keras_a2i.serving.muxing import VideoWriter, find_codec
from keras_a2i.serving.predictor import Predictor, as_predictor
from keras_a2i.serving.sliding import slide_clips, smooth_frames

MIN_FPS, MAX_FPS = 1.0, 60.0
MAX_SMOOTH = 10.0
# Enough for rates such as 30000/1001.
_LARGEST_DENOMINATOR = 1001


@dataclasses.dataclass(frozen=True)
class VideoSummary:
    """What a video holds.

    Attributes:
        frames: number of images.
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

    def add(self, images: np.ndarray) -> None:
        """Adds the next frames, uint8 (n, size, size, channels)."""
        for image in images:
            if self._last is not None:
                # In 8 bits, several times as fast as a difference in a wider type.
                change = np.maximum(image, self._last) - np.minimum(image, self._last)
                self._sum += float(change.mean()) / 255
                self._steps += 1
            self._last = image

    @property
    def value(self) -> float:
        """The mean so far, 0 to 1; 0 before the second frame."""
        return self._sum / self._steps if self._steps else 0.0


def generate_video(
    model: Any,
    audio: str | pathlib.Path,
    path: str | pathlib.Path,
    *,
    fps: float = 25.0,
    codec: str = "h264",
    smooth: float = 0.0,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> VideoSummary:
    """Generates a video of an audio file, with its audio; written whole or not at all, in constant memory.

    The image of a frame is generated from the clip of audio centred on the frame's middle.

    Args:
        model: anything that `as_predictor` accepts: a Predictor, a Keras model, or the path of a model.
        audio: an audio file of any rate, channels and length, or a video.
        path: the video to write; its folder is created if it doesn't exist.
        fps: frames per second, 1 to 60.
        codec: "h264" (mp4 with AAC) or "vp9" (webm with Opus).
        smooth: standard deviation in seconds, 0 to 10, of a Gaussian over the latent vectors of neighbouring frames; 0
            is none. It needs a model that gives latent vectors.
        overwrite: replace an earlier file at `path`.
        progress: called with the number of frames done, after every batch.

    Returns:
        What the video holds.

    Raises:
        SourceError: if the audio can't be read.
        UsageError: if an option is out of range, the encoder is missing, the model can't be smoothed, `path` is a
            folder or the audio file itself, or `path` exists and `overwrite` is False.
        ModelError: if a path isn't a model.
        MissingPackageError: if PyAV isn't installed.

    Example:
        >>> import keras_a2i as a2i
        >>> summary = a2i.generate_video("model.tflite", "song.wav", "song.mp4", fps=30)  # doctest: +SKIP
    """
    audio, path = pathlib.Path(audio), pathlib.Path(path)
    check_video_path(path, audio, overwrite)
    encoders, rate = find_codec(codec), check_fps(fps)
    check_smooth(smooth)
    predictor = as_predictor(model)
    predictor.metadata.require_audio(str(audio))
    batches = stream_frames(predictor, audio, rate, smooth)
    # The first batch is generated before the file is begun: an error of the audio or the model shows here.
    first = next(batches)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    flicker = Flicker()
    try:
        writer = VideoWriter(temporary, encoders, predictor.metadata.image.size, rate, audio)
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


def stream_frames(
    predictor: Predictor, audio: pathlib.Path, fps: Fraction, smooth: float = 0.0
) -> Iterator[np.ndarray]:
    """Generates the image of every frame from the clip of audio centred on the frame's middle, in constant memory.

    Args:
        predictor: the model; with `smooth` one that gives latent vectors.
        audio: a file that `stream_audio` reads.
        fps: frames per second.
        smooth: standard deviation in seconds of a Gaussian over the latent vectors of neighbouring frames; 0 is none.

    Yields:
        float32 (n, size, size, channels) in [-1, 1].

    Raises:
        SourceError: if the audio can't be read.
        UsageError: if the model doesn't give latent vectors to smooth.
    """
    features = predictor.metadata.features
    blocks = stream_audio(audio, features.sample_rate)
    clips = slide_clips(blocks, features.sample_rate, features.n_samples, fps, BATCH)
    inputs = (clip_inputs(batch, predictor.metadata) for batch in clips)
    if smooth == 0:
        yield from map(predictor.predict_inputs, inputs)
    else:
        latents = map(predictor.encode, inputs)
        yield from map(predictor.decode, smooth_frames(latents, smooth * float(fps)))


def check_video_path(path: pathlib.Path, audio: pathlib.Path, overwrite: bool) -> None:
    """Raises a UsageError if a video can't be written to a path."""
    if path.resolve() == audio.resolve() or path.is_dir():
        raise UsageError(f"path must not be a folder or the audio file itself. Received: {path}. Choose another")
    if path.exists() and not overwrite:
        raise UsageError(f"path must not exist. Received: {path}. Choose another, or pass overwrite=True")


def check_fps(fps: float) -> Fraction:
    """Returns the exact frame rate; raises a UsageError unless it is between 1 and 60."""
    if not MIN_FPS <= fps <= MAX_FPS:
        raise UsageError(f"fps must be between {MIN_FPS:g} and {MAX_FPS:g} frames per second. Received: fps={fps:g}")
    return Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR)


def check_smooth(smooth: float) -> None:
    """Raises a UsageError unless `smooth` is between 0 and 10 seconds."""
    if not (math.isfinite(smooth) and 0 <= smooth <= MAX_SMOOTH):
        raise UsageError(f"smooth must be between 0 and {MAX_SMOOTH:g} seconds. Received: smooth={smooth:g}")


def _encode(
    batches: Iterable[np.ndarray], writer: VideoWriter, flicker: Flicker, progress: Callable[[int], None] | None
) -> int:
    """Encodes each batch in a thread while the next one is generated; returns the number of frames."""

    def encode(images: np.ndarray) -> int:
        images = to_uint8(images)
        flicker.add(images)
        writer.write(np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images)
        return len(images)

    frames = 0
    pending: concurrent.futures.Future[int] | None = None
    # Left only when the thread has finished: the writer is closed after that.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        for images in itertools.chain(batches, [None]):
            if pending is not None:
                frames += pending.result()
                if progress is not None:
                    progress(frames)
            if images is not None:
                pending = thread.submit(encode, images)
    return frames
