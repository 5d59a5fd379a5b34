"""Sounds and pictures in one space: which picture goes with a sound, which sound with a picture."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from keras_a2i.errors import ModelError, SourceError, UsageError
from keras_a2i.media.conversion import from_uint8
from keras_a2i.media.image import read_image
from keras_a2i.serving.predictor import Predictor, load

if TYPE_CHECKING:
    import keras

PICTURES = (".png", ".jpg", ".jpeg")
SOUNDS = (".wav", ".flac", ".ogg", ".mp3")
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Match:
    """Something that was found.

    Attributes:
        path: the file.
        similarity: cosine of the angle to the query, -1 to 1.
        time: seconds into a sound file where its best window begins; 0 for a picture.
    """

    path: pathlib.Path
    similarity: float
    time: float = 0.0


class Searcher:
    """Embeds sounds and pictures by a run that aligned them (a recipe with the objective alignment).

    Args:
        predictor: of the run.
        image_encoder: pictures (batch, size, size, channels) in [-1, 1] to vectors.
    """

    def __init__(self, predictor: Predictor, image_encoder: "keras.Model"):
        self.predictor = predictor
        self._picture_encoder = image_encoder
        self._units = predictor.metadata.style_units

    def embed_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """Unit vectors (n, d) for what the model takes (n, n_inputs)."""
        return self._of_latents(self.predictor.encode_inputs(inputs))

    def embed_clips(self, windows: np.ndarray) -> np.ndarray:
        """Unit vectors (n, d) for windows of sound (n, n_samples)."""
        return self._of_latents(self.predictor.encode_clips(windows))

    def embed_images(self, pictures: np.ndarray) -> np.ndarray:
        """Unit vectors (n, d) for pictures (n, size, size, channels) in [-1, 1]."""
        parts = [pictures[i : i + _BATCH] for i in range(0, len(pictures), _BATCH)]
        vectors = [np.asarray(self._picture_encoder.predict_on_batch(part), np.float32) for part in parts]
        return _unit(np.concatenate(vectors)[:, : self._n_content()])

    def find_images(self, sound: pathlib.Path, among: Iterable[pathlib.Path]) -> tuple[list[Match], list[str]]:
        """Ranks pictures by their similarity to a sound, its windows averaged.

        Returns:
            The matches, the best first, and sentences about pictures that can't be read.

        Raises:
            SourceError: if the sound can't be read.
            UsageError: if no picture can be read.
        """
        query = _unit(np.concatenate([self.embed_clips(w) for w in self.predictor.stream_clips(sound)]).mean(axis=0))
        found, failed = [], []
        for path in among:
            try:
                vector = self.embed_images(_load_picture(path, self.predictor.metadata.image)[None])[0]
            except SourceError as error:
                failed.append(str(error))
                continue
            found.append(Match(path, float(vector @ query)))
        return _ranked(found, failed)

    def find_audio(self, picture: pathlib.Path, among: Iterable[pathlib.Path]) -> tuple[list[Match], list[str]]:
        """Ranks sound files by the similarity of their best window to a picture; as `find_images`."""
        query = self.embed_images(_load_picture(picture, self.predictor.metadata.image)[None])[0]
        duration = self.predictor.metadata.features.duration
        found, failed = [], []
        for path in among:
            try:
                windows = self.predictor.stream_clips(path)
                near = np.concatenate([self.embed_clips(part) @ query for part in windows])
            except SourceError as error:
                failed.append(str(error))
                continue
            found.append(Match(path, float(near.max()), float(near.argmax()) * duration))
        return _ranked(found, failed)

    def _n_content(self) -> int | None:
        return -self._units if self._units else None

    def _of_latents(self, latents: np.ndarray) -> np.ndarray:
        return _unit(latents[:, : self._n_content()])


def load_searcher(run: str | pathlib.Path) -> Searcher:
    """Loads the run folder of a training with the objective alignment.

    Raises:
        ModelError: if it is something else.
    """
    import keras

    run = pathlib.Path(run)
    encoder = run / "image_encoder.keras"
    if not encoder.is_file():
        missing = "" if run.exists() else ", which doesn't exist"
        raise ModelError(
            "A search needs a run folder whose training aligned sounds and pictures, such as one of the recipe "
            f"words-aligned: it holds a image_encoder.keras. Received: {run}{missing}"
        )
    try:
        return Searcher(load(run), keras.saving.load_model(encoder, compile=False, safe_mode=True))
    except (ValueError, OSError, TypeError, KeyError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{encoder} can't be loaded as a Keras model: {error}") from error


def candidates(places: Iterable[pathlib.Path], suffixes: tuple[str, ...]) -> list[pathlib.Path]:
    """Files of a kind: those named, and all below the folders named.

    Raises:
        UsageError: if there is none.
    """
    found = []
    for place in places:
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        found += [path for path in files if path.suffix.lower() in suffixes]
    if not found:
        raise UsageError(f"There must be a {', '.join(suffixes)} file to search among. Received: none")
    return found


def _ranked(found: list[Match], failed: list[str]) -> tuple[list[Match], list[str]]:
    if not found:
        raise UsageError(f"None of the {len(failed)} files could be read: {failed[0]}")
    return sorted(found, key=lambda match: -match.similarity), failed


def _load_picture(path: pathlib.Path, config) -> np.ndarray:
    return from_uint8(read_image(path, config))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-8)
