"""`generate_video`: from audio to a film with an image for every frame, and with the audio."""

import concurrent.futures
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.media.audio import stream_audio
from keras_a2i.media.conversion import to_uint8
from keras_a2i.models.shipped import prefer_keras
from keras_a2i.models.styles import MAX_TEMPERATURE
from keras_a2i.remote.address import local_path
from keras_a2i.serving.film_codecs import FilmWriter
from keras_a2i.serving.film_frames import FilmFrames
from keras_a2i.serving.film_settings import FilmSettings
from keras_a2i.serving.model_inputs import BATCH, clip_inputs, count_inputs
from keras_a2i.serving.predictor import Predictor, as_predictor
from keras_a2i.serving.reaction import Drive, measure_drive
from keras_a2i.serving.sliding import slide_clips, smooth_frames
from keras_a2i.serving.staged_film import StagedFilm
from keras_a2i.serving.style_walk import walk_styles


@dataclasses.dataclass(frozen=True)
class VideoSummary:
    """The properties of a generated video.

    Attributes:
        frames: number of frames.
        seconds: frames / fps.
        flicker: mean absolute change from one generated image to the next, before they are scaled, as a share of full
            scale; 0 for a single frame.
    """

    frames: int
    seconds: float
    flicker: float


class Flicker:
    """Mean absolute change from each image to the next, over all pixels and channels, as a share of full scale."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._sum, self._steps = 0.0, 0

    def add(self, images: np.ndarray) -> None:
        """Adds the next images, uint8 (n, size, size, channels)."""
        for image in images:
            if self._last is not None:
                # In 8 bits, several times as fast as a difference in a wider type.
                change = np.maximum(image, self._last) - np.minimum(image, self._last)
                self._sum += float(change.mean()) / 255
                self._steps += 1
            self._last = image

    @property
    def value(self) -> float:
        """The mean so far, 0 to 1; 0 before the second image."""
        return self._sum / self._steps if self._steps else 0.0


def generate_video(
    model: Any,
    audio: str | pathlib.Path,
    path: str | pathlib.Path,
    *,
    fps: float = 25.0,
    codec: str = "h264",
    smooth: float = 0.0,
    size: tuple[int, int] | None = None,
    fill: str = "blur",
    side_by_side: bool = False,
    style_walk: float | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    react: Sequence[str] = (),
    reference: np.ndarray | str | pathlib.Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> VideoSummary:
    """Generates a video for an audio file, with its audio, in constant memory; writes a complete video or none.

    The image of a frame is generated from the clip of audio around the middle of the frame. For a WebP file, all
    compressed frames are kept in memory.

    Args:
        model: anything that `as_predictor` accepts: a Predictor, a Keras model, or the path of a model.
        audio: an audio file of any rate, channels and length, or a video.
        path: the video to write; its folder is created if it doesn't exist.
        fps: frames per second, 1 to 60; for "gif" at most 50.
        codec: "h264" (mp4 with AAC) or "vp9" (webm with Opus); or "gif" or "webp", animated images without sound, for
            audio of a minute at most.
        smooth: standard deviation in seconds, 0 to 10, of a Gaussian over the latent vectors of neighbouring frames; 0
            is off. It needs a model with latent vectors: a run folder, a `.keras` file or a Keras model.
        size: width and height of the video in pixels, even, 32 to 4,096; None is the size of the model's images, twice
            as wide with `side_by_side`. Images are scaled by Lanczos to the largest square that fits.
        fill: content of the rest of a frame that isn't square: "blur", "mirror", "tile" or "black", as for
            `composition.Panel`.
        side_by_side: if `audio` is a video, show its frames in the left half and the images in the right.
        style_walk: number of new styles per second, above 0 to 10, with which the style varies over time, for a model
            with a style: see `style_walk.walk_styles`. None keeps the usual style.
        temperature: with `style_walk`, the standard deviation of the style, 0 to 4.
        seed: with `style_walk`, the random seed of the styles.
        react: properties of the audio that zoom into the image: "loudness", "onsets" or both. With `style_walk`, they
            also raise the temperature, up to twofold (at most to 4): see `reaction.Drive`.
        reference: for a model with a reference image, such as one of the recipe talking: the image to animate, see
            `Predictor.with_reference`.
        overwrite: replace a video that an earlier call wrote to `path`; a file in its folder lists them.
        progress: called with the number of frames done, after every batch.

    Returns:
        The properties of the video.

    Raises:
        SourceError: if the audio can't be read.
        UsageError: if an option is out of range, the model or the file doesn't support an option, the video encoder is
            missing, `path` is a folder or the audio file itself, or `path` exists and `overwrite` is False or no
            earlier call wrote it.
        ModelError: if a path isn't a model.
        MissingPackageError: if PyAV isn't installed.

    Example:
        >>> import keras_a2i as a2i
        >>> summary = a2i.generate_video("model.tflite", "song.wav", "song.mp4", size=(1280, 720))  # doctest: +SKIP
    """
    settings = FilmSettings(
        fps=fps,
        codec=codec,
        smooth=smooth,
        size=size,
        fill=fill,
        side_by_side=side_by_side,
        style_walk=style_walk,
        temperature=temperature,
        seed=seed,
        react=react,
    )
    audio, path = local_path(audio, "audio"), local_path(path, "path")
    film = check_film(path, {audio.resolve()}, overwrite)
    settings.check_source(audio)
    if settings.smooth and isinstance(model, str | pathlib.Path):
        model = prefer_keras(model)
    predictor = as_predictor(model).with_reference(reference)
    check_model(predictor, audio, settings)
    with film:
        return _write_film(predictor, audio, film, settings, progress)


def check_film(path: pathlib.Path, audio: Collection[pathlib.Path], overwrite: bool) -> StagedFilm:
    """Checks whether a film may be written to a path; returns the film to write.

    Args:
        path: of the film.
        audio: the audio files that films are made of, as absolute paths without links.
        overwrite: whether an earlier film is replaced.

    Raises:
        UsageError: as `generate_video`.
    """
    if path.resolve() in audio:
        raise UsageError(f"path must not be an audio file of this call. Received: {path}. Choose another")
    return StagedFilm(path, overwrite)


def check_model(predictor: Predictor, audio: pathlib.Path, settings: FilmSettings) -> None:
    """Checks whether a model accepts audio and has what the settings need.

    Raises:
        UsageError: if it doesn't, or an animation would be too long.
    """
    predictor.metadata.require_audio(str(audio))
    settings.find_codec().check_length(count_inputs(audio, predictor.metadata, 1.0) - 1)
    if settings.style_walk is not None and not (predictor.metadata.style_units and predictor.can_sample):
        received, remedy = (
            "a model without one",
            "Train one with the recipe exemplars, words-exemplars or words-adversarial",
        )
        if predictor.metadata.style_units:
            received, remedy = "a file that doesn't accept its model's styles", "Export it again"
        raise UsageError(f"style_walk must be left out for a model without a style. Received: {received}. {remedy}")
    if settings.smooth and not predictor.can_encode:
        raise UsageError(
            "smooth must be 0 for a model without latent vectors. Received: "
            f"smooth={settings.smooth:g} with such a model, or a .tflite file exported without latents. Use the "
            "run folder or the .keras file of a model with an encoder and a generator, or export it with latents"
        )


def stream_frames(
    predictor: Predictor, audio: pathlib.Path, settings: FilmSettings, drive: Drive | None = None
) -> Iterator[np.ndarray]:
    """Generates the image of every frame from the clip of audio centred on the frame's middle, in constant memory.

    Args:
        predictor: the model; with `smooth` one that gives latent vectors, with `style_walk` one with a style.
        audio: a file that `stream_audio` reads.
        settings: of the film.
        drive: what raises the style's temperature; None is nothing.

    Yields:
        float32 (n, size, size, channels) in [-1, 1].

    Raises:
        SourceError: if the audio can't be read.
        UsageError: if the model doesn't give latent vectors or styles.
    """
    features = predictor.metadata.features
    blocks = stream_audio(audio, features.sample_rate)
    clips = slide_clips(blocks, features.sample_rate, features.n_samples, settings.rate, BATCH)
    batches: Iterator[np.ndarray] = (clip_inputs(batch, predictor.metadata) for batch in clips)
    generate: Callable[..., np.ndarray] = predictor.predict_inputs
    if settings.smooth:
        sigma = settings.smooth * float(settings.rate)
        batches, generate = smooth_frames(map(predictor.encode, batches), sigma), predictor.decode
    start = 0
    for batch in batches:
        if settings.style_walk is None:
            yield generate(batch)
        else:
            yield generate(batch, _styles(predictor.metadata.style_units, settings, drive, start, len(batch)))
        start += len(batch)


def _styles(units: int, settings: FilmSettings, drive: Drive | None, start: int, n: int) -> np.ndarray:
    """Returns the styles of `n` frames from the frame `start`, float32 (n, units)."""
    assert settings.style_walk is not None
    times = (np.arange(start, start + n) + 0.5) / float(settings.rate)
    heat = np.ones(n) if drive is None else drive.heat(start, n)
    temperature = np.minimum(settings.temperature * heat, MAX_TEMPERATURE)
    return (temperature[:, None] * walk_styles(units, settings.style_walk, settings.seed, times)).astype(np.float32)


def _write_film(
    predictor: Predictor,
    audio: pathlib.Path,
    film: StagedFilm,
    settings: FilmSettings,
    progress: Callable[[int], None] | None,
) -> VideoSummary:
    metadata, codec, rate = predictor.metadata, settings.find_codec(), settings.rate
    drive = measure_drive(audio, metadata.features.sample_rate, rate, settings.react) if settings.react else None
    batches = stream_frames(predictor, audio, settings, drive)
    # The first batch is generated before the file is begun: an error of the audio or the model shows here.
    first = next(batches)
    flicker, size = Flicker(), settings.frame_size(metadata.image.size)
    with FilmFrames(size, settings, drive, audio) as frames:
        writer = codec.open(film.stage(), size, rate, audio)
        complete = False
        try:
            count = _encode(itertools.chain([first], batches), frames, writer, flicker, progress)
            complete = True
        finally:
            writer.close(complete)
    film.commit()
    return VideoSummary(count, float(count / rate), flicker.value)


def _encode(
    batches: Iterable[np.ndarray],
    frames: FilmFrames,
    writer: FilmWriter,
    flicker: Flicker,
    progress: Callable[[int], None] | None,
) -> int:
    """Composes and encodes each batch in a thread while the next one is generated; returns the number of frames."""

    def encode(images: np.ndarray) -> int:
        images = to_uint8(images)
        flicker.add(images)
        writer.write(frames.compose(images))
        return len(images)

    count = 0
    pending: concurrent.futures.Future[int] | None = None
    # Left only when the thread has finished: the writer is closed after that.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        for images in itertools.chain(batches, [None]):
            if pending is not None:
                count += pending.result()
                if progress is not None:
                    progress(count)
            if images is not None:
                pending = thread.submit(encode, images)
    return count
