"""Search across audio and images, with a run that embeds both in one space."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from keras_a2i.errors import ModelError, SourceError, UsageError
from keras_a2i.media.conversion import from_uint8
from keras_a2i.media.folder_files import walk_files
from keras_a2i.media.image import read_image, save_png
from keras_a2i.media.output_file import check_output_file
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.media.suffixes import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from keras_a2i.models.prediction import predict_batch
from keras_a2i.models.stored_model import local_model
from keras_a2i.remote.address import local_path
from keras_a2i.serving.predictor import Predictor, load

if TYPE_CHECKING:
    import keras

ENCODER_FILE = "image_encoder.keras"
"""In a run folder: the encoder of images of a training that aligned audio and images."""
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Match:
    """A file that was found.

    Attributes:
        path: the file.
        similarity: cosine of the angle to the query, -1 to 1.
        time: seconds into an audio file at which its best clip begins; 0 for an image.
    """

    path: pathlib.Path
    similarity: float
    time: float = 0.0


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes:
        matches: the files found, the best first.
        skipped: sentences about files that can't be read.
    """

    matches: list[Match]
    skipped: list[str]


class Searcher:
    """Embeds audio and images with a run that aligned both, such as a run of the recipe words-aligned.

    Args:
        predictor: of the run.
        image_encoder: images (batch, size, size, channels) in [-1, 1] to vectors.
    """

    def __init__(self, predictor: Predictor, image_encoder: "keras.Model"):
        self.predictor, self.image_encoder = predictor, image_encoder
        # The style at the end of a latent vector says nothing about the audio.
        self._n_content = -predictor.metadata.style_units or None

    @property
    def length(self) -> int:
        """Length d of the vectors."""
        return int(self.image_encoder.output_shape[-1]) - self.predictor.metadata.style_units

    def embed_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """Returns unit vectors (n, d) for the model's inputs (n, n_inputs)."""
        return _unit(self.predictor.encode(inputs)[:, : self._n_content])

    def embed_images(self, images: np.ndarray) -> np.ndarray:
        """Returns unit vectors (n, d) for images (n, size, size, channels) in [-1, 1]."""
        parts = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
        vectors = [predict_batch(self.image_encoder, part) for part in parts]
        return _unit(np.concatenate(vectors)[:, : self._n_content])

    def find_images(self, audio: pathlib.Path, among: Iterable[pathlib.Path]) -> SearchResult:
        """Ranks images by their similarity to an audio file, the mean of its clips.

        Raises:
            SourceError: if the audio can't be read.
            UsageError: if no image can be read.
        """
        clips = self.predictor.stream_inputs(audio)
        query = _unit(np.concatenate([self.embed_inputs(batch) for batch in clips]).mean(axis=0))
        found, skipped = [], []
        for path in among:
            try:
                found.append(Match(path, float(self._embed_file(path) @ query)))
            except SourceError as error:
                skipped.append(str(error))
        return _ranked(found, skipped)

    def find_audio(self, image: pathlib.Path, among: Iterable[pathlib.Path]) -> SearchResult:
        """Ranks audio files by the similarity of their best clip to an image; it raises what `find_images` does."""
        query = self._embed_file(image)
        duration = self.predictor.metadata.features.duration
        found, skipped = [], []
        for path in among:
            try:
                clips = self.predictor.stream_inputs(path)
                similarities = np.concatenate([self.embed_inputs(batch) @ query for batch in clips])
            except SourceError as error:
                skipped.append(str(error))
                continue
            found.append(Match(path, float(similarities.max()), float(similarities.argmax()) * duration))
        return _ranked(found, skipped)

    def _embed_file(self, path: pathlib.Path) -> np.ndarray:
        image = read_image(path, self.predictor.metadata.image)
        return self.embed_images(from_uint8(image[None]))[0]


def search(
    run: str | pathlib.Path | Searcher,
    query: str | pathlib.Path,
    among: Iterable[str | pathlib.Path],
    *,
    top: int | None = None,
    sheet: str | pathlib.Path | None = None,
    overwrite: bool = False,
) -> SearchResult:
    """Finds the images that are nearest to an audio file, or the audio files nearest to an image.

    Args:
        run: the run folder of a training that aligned audio and images, such as a run of the recipe words-aligned; or a
            `Searcher`, so that the run isn't loaded for every search.
        query: an audio file, of which the mean of the clips is searched for; or a png or jpg file.
        among: files and folders to search: images if the query is audio, audio if the query is an image.
        top: number of matches to return, 1 or more; None returns all.
        sheet: a PNG file for a contact sheet of the images found, which ends in .png.
        overwrite: whether the sheet may replace a file.

    Returns:
        The matches, the best first, and the files that couldn't be read. An audio file is ranked by its best clip.

    Raises:
        UsageError: if `query` isn't such a file, there are no files to search or none of them can be read, a sheet is
            given although the query is an image, or the sheet has another suffix, is one of the files that are
            searched, or exists and `overwrite` is False; or if `top` is out of range.
        SourceError: if the query can't be read, or a file or folder to search through doesn't exist.
        ModelError: if `run` isn't a run that aligned audio and images.

    Example:
        >>> import keras_a2i as a2i
        >>> a2i.search("run", "bark.wav", ["photos"], top=3).matches  # doctest: +SKIP
    """
    if top is not None and top < 1:
        raise UsageError(f"top must be None (all matches), or 1 or more. Received: top={top}")
    query = pathlib.Path(query)
    suffix = query.suffix.lower()
    if suffix not in IMAGE_SUFFIXES + AUDIO_SUFFIXES or not query.is_file():
        error, missing = (UsageError, "") if query.exists() else (SourceError, ", which doesn't exist")
        raise error(f"query must be a {', '.join(AUDIO_SUFFIXES + IMAGE_SUFFIXES)} file. Received: {query}{missing}")
    is_audio = suffix in AUDIO_SUFFIXES
    if sheet is not None and not is_audio:
        raise UsageError(f"sheet must be left out where the query is an image, which finds audio. Received: {query}")
    files = candidates(map(pathlib.Path, among), IMAGE_SUFFIXES if is_audio else AUDIO_SUFFIXES)
    if sheet is not None:
        _check_sheet(local_path(sheet, "sheet"), files, overwrite)
    searcher = run if isinstance(run, Searcher) else load_searcher(run)
    result = (searcher.find_images if is_audio else searcher.find_audio)(query, files)
    result = dataclasses.replace(result, matches=result.matches[:top])
    if sheet is not None:
        images = np.stack([read_image(match.path, searcher.predictor.metadata.image) for match in result.matches])
        captions = [f"{match.similarity:.2f}" for match in result.matches]
        save_png(draw_sheet([images], captions=captions), local_path(sheet, "sheet"))
    return result


def _check_sheet(sheet: pathlib.Path, files: Iterable[pathlib.Path], overwrite: bool) -> None:
    if sheet.exists() and sheet.resolve() in {path.resolve() for path in files}:
        raise UsageError(
            f"sheet must not be one of the files that are searched. Received: {sheet}, which would be replaced. Choose "
            "another"
        )
    check_output_file(sheet, (".png",), overwrite=overwrite, argument="sheet")


def load_searcher(run: str | pathlib.Path, argument: str = "run") -> Searcher:
    """Loads the run folder of a training that aligned audio and images.

    Args:
        run: the folder.
        argument: what the message of an error calls it.

    Raises:
        ModelError: if it is something else.
    """
    run = local_model(run)
    encoder = run / ENCODER_FILE
    if not encoder.is_file():
        missing = "" if run.exists() else ", which doesn't exist"
        raise ModelError(
            f"{argument} must be a run folder whose training aligned audio and images, such as one of the recipe "
            f"words-aligned: it holds an {ENCODER_FILE}. Received: {run}{missing}"
        )
    predictor = load(run)
    import keras

    try:
        return Searcher(predictor, keras.saving.load_model(encoder, compile=False, safe_mode=True))
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise ModelError(f"{encoder} can't be loaded as a Keras model: {error}") from error


def candidates(places: Iterable[pathlib.Path], suffixes: tuple[str, ...]) -> list[pathlib.Path]:
    """Returns the files of a kind among the given files and below the given folders; see `walk_files` for the latter.

    Raises:
        SourceError: if a folder can't be read, or a file or folder doesn't exist.
        UsageError: if there is none.
    """
    found: list[pathlib.Path] = []
    for place in places:
        if place.is_dir():
            found += sorted(place / name for name in walk_files(place, suffixes))
        elif not place.exists():
            raise SourceError(f"among must hold existing files and folders. Received: {place}, which doesn't exist")
        elif place.suffix.lower() in suffixes:
            found.append(place)
    if not found:
        raise UsageError(f"among must hold at least one {', '.join(suffixes)} file to search through. Received: none")
    return found


def _ranked(found: list[Match], skipped: list[str]) -> SearchResult:
    if not found:
        raise UsageError(f"among must hold a file that can be read. Received: {len(skipped)} files. {skipped[0]}")
    return SearchResult(sorted(found, key=lambda match: -match.similarity), skipped)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-8)
