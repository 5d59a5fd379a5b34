"""From what a user names on the command line to a source: by what it is, not by an option."""

import difflib
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.audio import SUFFIXES
from keras_a2i.sources.csv_table import read_header
from keras_a2i.sources.embeddings_csv import EmbeddingsCsvSource, holds_embeddings
from keras_a2i.sources.embeddings_npz import EmbeddingsNpzSource
from keras_a2i.sources.kaggle_scenes import CSV_NAME, KaggleScenesSource, fetch_kaggle_scenes
from keras_a2i.sources.pair import Source
from keras_a2i.sources.pairs_csv import COLUMNS, PairsCsvSource

PAIRS_NAME = "pairs.csv"
DEFAULT_PAIRS = 480
_SURF, _KAGGLE = "synthetic:surf", "kaggle:scenes"
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_SOURCES = (
    "A SOURCE can be a video file, a folder of videos, a csv with the columns audio,image or embedding,image, "
    "a .npz file with the arrays embeddings and images, "
    f"a folder with {PAIRS_NAME} or {CSV_NAME}, {_KAGGLE}, {_SURF} or {_SURF}:N"
)
_KINDS = {
    "video": "videos",
    "pairs": "a csv of pairs (audio,image)",
    "scenes": "a scenes csv (IMAGE, mfcc_1, ..., CLASS1, CLASS2)",
    "surf": _SURF,
    "embeddings": "embeddings (a csv with embedding,image or a .npz file)",
}
_LISTED = 2_000


def open_source(
    spec: str | os.PathLike[str],
    *,
    features: FeatureConfig,
    image: ImageConfig,
    classes: Sequence[str] = (),
    exclude: Sequence[str] = (),
    pad: bool = True,
    long: str = "start",
    seed: int = 0,
    embedding_name: str = "",
) -> Source:
    """Opens one source; arguments and errors as for `open_sources`."""
    (source,) = open_sources(
        [spec],
        features=features,
        image=image,
        classes=classes,
        exclude=exclude,
        pad=pad,
        long=long,
        seed=seed,
        embedding_name=embedding_name,
    )
    return source


def open_sources(
    specs: Sequence[str | os.PathLike[str]],
    *,
    features: FeatureConfig,
    image: ImageConfig,
    classes: Sequence[str] = (),
    exclude: Sequence[str] = (),
    pad: bool = True,
    long: str = "start",
    seed: int = 0,
    embedding_name: str = "",
) -> list[Source]:
    """Opens sources by what they are.

    Args:
        specs: video files, folders of videos, a csv of pairs (of sound or of embeddings) or its folder, a `.npz` file
            of embeddings and images, a scenes csv or its folder, "kaggle:scenes", "synthetic:surf" or
            "synthetic:surf:N".
        features: the sound of a pair.
        image: the picture of a pair.
        classes: for scenes, see `KaggleScenesSource`.
        exclude: for scenes, see `KaggleScenesSource`.
        pad: for a csv of pairs, see `PairsCsvSource`.
        long: for a csv of pairs, see `PairsCsvSource`.
        seed: of synthetic sources; others take no notice.
        embedding_name: for embeddings, what made them, such as "CLAP".

    Returns:
        The sources in the order given; all videos together are one, where the first of them stood.

    Raises:
        SourceError: if something named isn't a source; the message says what it could be.
        UsageError: if an option fits none of the sources.
    """
    if isinstance(specs, str | os.PathLike):
        raise UsageError(f"specs must be a list of sources. Received: {os.fspath(specs)!r}. Use open_source for one")
    found = [_recognise(os.fspath(spec)) for spec in specs]
    kinds = {kind for kind, _ in found}
    usual = FeatureConfig()
    sound = {"sample-rate": features.sample_rate != usual.sample_rate, "n-mfcc": features.n_mfcc != usual.n_mfcc}
    _check_options(kinds, {"scenes"}, {"class": classes, "exclude": exclude})
    _check_options(kinds, {"pairs"}, {"short": not pad, "long": long != "start"})
    _check_options(kinds, {"embeddings"}, {"embedding-name": embedding_name})
    _check_options(kinds, set(_KINDS) - {"embeddings"}, sound)
    videos = [path for kind, path in found if kind == "video"]
    sources: list[Source] = []
    for kind, value in found:
        if kind == "surf":
            from keras_a2i.datasets.surf import SurfSource

            sources.append(SurfSource(value, seed, features=features, image=image))
        elif kind == "scenes":
            folder = fetch_kaggle_scenes() if value is None else value
            sources.append(KaggleScenesSource(folder, features=features, image=image, classes=classes, exclude=exclude))
        elif kind == "pairs":
            sources.append(PairsCsvSource(value, features=features, image=image, pad=pad, long=long))
        elif kind == "embeddings":
            opened = EmbeddingsNpzSource if value.suffix.lower() == ".npz" else EmbeddingsCsvSource
            sources.append(opened(value, features=features, image=image, name=embedding_name))
        elif value is videos[0]:
            sources.append(_videos(videos, features, image))
    return sources


def _check_options(kinds: set[str], fitting: set[str], options: dict[str, object]) -> None:
    """Raises a UsageError where an option is set and none of the kinds given is one of those that it fits."""
    given = [f"--{name}" for name, value in options.items() if value]
    if given and kinds.isdisjoint(fitting):
        names = " or ".join(name for kind, name in _KINDS.items() if kind in fitting)
        raise UsageError(f"{' and '.join(given)} can only be used with {names}. No source given is one")


def _recognise(spec: str) -> tuple[str, object]:
    """The kind of a source and what it is opened with: a number of pairs, a path, or None for a download."""
    if not spec:
        raise SourceError(f"A SOURCE must not be empty. {_SOURCES}")
    path = pathlib.Path(spec)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise SourceError(f"'{spec[:80]}' can't be read: {error.strerror}. {_SOURCES}") from None
    if is_folder:
        return _folder(path)
    if is_file:
        return _file(path)
    if spec.startswith(("synthetic:", "kaggle:")):
        return _named(spec)
    raise SourceError(_missing(spec, path))


def _named(spec: str) -> tuple[str, object]:
    if spec == _KAGGLE:
        return "scenes", None
    name, _, number = spec.removeprefix("synthetic:").partition(":")
    if spec.startswith("synthetic:") and name == "surf":
        if spec == _SURF:
            return "surf", DEFAULT_PAIRS
        if number.isascii() and number.isdigit() and len(number) < 10:
            return "surf", int(number)
        raise SourceError(f"{_SURF}:N takes a whole number of pairs N. Received: {spec!r}")
    raise SourceError(f"There is no source {spec!r}.{_suggest(spec, [_SURF, _KAGGLE])} {_SOURCES}")


def _folder(path: pathlib.Path) -> tuple[str, object]:
    if (path / CSV_NAME).is_file():
        return _file(path / CSV_NAME)
    if (path / PAIRS_NAME).is_file():
        return _file(path / PAIRS_NAME)
    from keras_a2i.sources.video import find_videos

    if find_videos(path):
        return "video", path
    files = [file for file in _listed(path) if file.is_file()]
    tables = [file.name for file in files if file.suffix.lower() == ".csv"]
    if (path / "records.json").is_file():
        hint = "These are records already: give the folder to fit or inspect"
    elif tables:
        hint = f"To use a csv in it, name the file: {_quoted(path / tables[0])}"
    elif any(file.suffix.lower() in SUFFIXES for file in files):
        hint = f"It holds sounds: say which picture goes with each in a {PAIRS_NAME} with the columns audio,image"
    elif any(file.suffix.lower() in _IMAGE_SUFFIXES for file in files):
        hint = f"It holds images: say which sound goes with each in a {PAIRS_NAME} with the columns audio,image"
    else:
        hint = "It holds no video, csv, sound or image" if files else "It holds no files"
    raise SourceError(f"The folder {_quoted(path)} isn't a source. {hint}. {_SOURCES}")


def _file(path: pathlib.Path) -> tuple[str, object]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv(path)
    if suffix == ".npz":
        return "embeddings", path
    from keras_a2i.media.video_clip import VIDEO_SUFFIXES

    if suffix in VIDEO_SUFFIXES:
        return "video", path
    if suffix in SUFFIXES:
        hint = f"A sound needs its picture: list both in a {PAIRS_NAME} with the columns audio,image"
    elif suffix in _IMAGE_SUFFIXES:
        hint = f"An image needs its sound: list both in a {PAIRS_NAME} with the columns audio,image"
    elif suffix == ".npy":
        hint = f"Vectors need their pictures: list both in a {PAIRS_NAME} with the columns embedding,image"
    else:
        hint = f"Videos end in one of {', '.join(sorted(VIDEO_SUFFIXES))}"
    raise SourceError(f"The file {_quoted(path)} isn't a source. {hint}. {_SOURCES}")


def _csv(path: pathlib.Path) -> tuple[str, object]:
    header = read_header(path)
    if holds_embeddings(header):
        return "embeddings", path
    if set(COLUMNS) <= set(header):
        return "pairs", path
    if {"image", "mfcc_1"} <= set(header):
        return "scenes", path
    shown = ", ".join(repr(name[:40]) for name in header[:8]) + (", ..." if len(header) > 8 else "")
    raise SourceError(
        f"{path.name} must have the columns audio,image, or IMAGE, mfcc_1, mfcc_2, ..., CLASS1, CLASS2, "
        f"or embedding,image, separated by commas. Received: {shown}"
    )


def _missing(spec: str, path: pathlib.Path) -> str:
    scheme, colon, _ = spec.partition(":")
    named = [_SURF, _KAGGLE]
    close_scheme = difflib.get_close_matches(scheme.lower(), ["synthetic", "kaggle"], n=1)
    if (colon and close_scheme) or spec.lower() in ("surf", "scenes", "synthetic", "kaggle"):
        return f"There is no source {spec!r}.{_suggest(spec, named)} {_SOURCES}"
    if "://" in spec:
        return f"{spec!r} is an address. Download it first and give the file"
    if any(sign in path.name for sign in "*?["):
        return f"No file matches {_quoted(path)}"
    if not path.parent.is_dir():
        return f"{_quoted(path)} doesn't exist, nor does the folder {_quoted(path.parent)}. {_SOURCES}"
    hint = _suggest(path.name, [file.name for file in _listed(path.parent)])
    return f"{_quoted(path)} doesn't exist.{hint} {_SOURCES}"


def _suggest(name: str, known: list[str]) -> str:
    lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.6)
    if not close:
        close = [other for other in lower if name.lower() and name.lower() in other][:1]
    return f" Did you mean {lower[close[0]]!r}?" if close else ""


def _listed(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(itertools.islice(_entries(folder), _LISTED))


def _entries(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    try:
        yield from folder.iterdir()
    except OSError as error:
        raise SourceError(f"The folder {_quoted(folder)} can't be read: {error.strerror}") from None


def _quoted(path: pathlib.Path) -> str:
    return f"'{path}'"


def _videos(paths: list[pathlib.Path], features: FeatureConfig, image: ImageConfig) -> Source:
    from keras_a2i.sources.video import VideoSource, find_videos

    folders = [path.absolute() if path.is_dir() else path.absolute().parent for path in paths]
    root = pathlib.Path(os.path.commonpath(folders))
    files = [file.absolute() for path in paths for file in (find_videos(path) if path.is_dir() else [path])]
    return VideoSource(list(dict.fromkeys(files)), root, features=features, image=image)
