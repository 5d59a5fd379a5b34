"""`open_sources`: sources from files, folders or names of data sets."""

import difflib
import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras_a2i.datasets.faces.source
import keras_a2i.datasets.surf.source
import keras_a2i.sources.clip_sets
import keras_a2i.sources.embeddings_csv
import keras_a2i.sources.embeddings_npz
import keras_a2i.sources.kaggle_scenes
import keras_a2i.sources.pairs_csv
import keras_a2i.sources.video  # noqa: F401  (importing a module registers its source type)
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.suffixes import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from keras_a2i.remote.address import Address, Location
from keras_a2i.remote.store import list_objects
from keras_a2i.sources.pair import Source
from keras_a2i.sources.registry import SOURCE_TYPES, Option, SourceType, Spec, list_options

_LISTED = 2_000
_COLUMNS_SHOWN = 8


class UnusedOptionError(UsageError):
    """Options were given that no given source uses.

    Attributes:
        names: the options' names.
        usage: the rest of the sentence: what they can be used with.
    """

    def __init__(self, names: Sequence[str], types: Sequence[SourceType]):
        self.names = tuple(names)
        titles = " or ".join(dict.fromkeys(type_.title for type_ in types))
        self.usage = f"can only be used with {titles}. No given source is one"
        super().__init__(f"{' and '.join(names)} {self.usage}")


def open_sources(
    specs: Sequence[str | os.PathLike[str]],
    *,
    features: FeatureConfig | None = None,
    image: ImageConfig | None = None,
    **options: Any,
) -> list[Source]:
    """Opens sources; the type of a source is recognised from its spec.

    Args:
        specs: video files, folders of videos, a csv of AVSpeech, VGGSound or AudioSet, a csv of pairs (of audio or of
            embeddings) or its folder, a `.npz` file of embeddings and images, a folder of the Kaggle scenes,
            "kaggle:scenes", "synthetic:surf" or "synthetic:surf:N", "synthetic:faces" or "synthetic:faces:N". Videos, a
            csv of pairs and a `.npz` file may be in an object store, such as "s3://bucket/videos".
        features: sample rate, duration and MFCC of a clip.
        image: size, channels and encoding of an image.
        **options: options of the sources' types: `id_files` and, for AVSpeech, `crop_size` (see `ClipSource`), `short`,
            `long` (see `PairsCsvSource`), `classes`, `exclude` (see `KaggleScenesSource`), `embedding_name` (see
            `EmbeddingsCsvSource`) and `seed` (see `SurfSource` and `FacesSource`).

    Returns:
        The sources in the given order. All videos on the disk together are one source, at the position of the first
        video, and so are all videos of a bucket.

    Raises:
        SourceError: if a spec isn't a source; the message lists the possibilities.
        UsageError: if there is no such option, its value isn't allowed, or none of the sources uses it.
        RemoteError: if an object store can't be read.
    """
    if isinstance(specs, str | os.PathLike):
        raise UsageError(f"specs must be a list. Received: {os.fspath(specs)!r}. Pass [{os.fspath(specs)!r}]")
    features, image = features or FeatureConfig(), image or ImageConfig()
    found = [_recognise(os.fspath(spec)) for spec in specs]
    types = [source_type for source_type, _ in found]
    _check_options(types, features, options)
    opened: list[Source] = []
    for source_type, spec in found:
        parts = [spec]
        if source_type.merges:
            alike = [other for other_type, other in found if other_type is source_type and other.store == spec.store]
            if alike[0] is not spec:
                continue
            parts = alike
        own = {option.name for option in list_options(source_type.options)}
        values = source_type.options(**{name: value for name, value in options.items() if name in own})
        opened.append(source_type.open(parts, values, features=features, image=image))
    return opened


def all_options() -> dict[str, tuple[Option, list[SourceType]]]:
    """Returns the options of all source types by name, each with the types that have it."""
    found: dict[str, tuple[Option, list[SourceType]]] = {}
    for source_type in SOURCE_TYPES.values():
        for option in list_options(source_type.options):
            found.setdefault(option.name, (option, []))[1].append(source_type)
    return found


def _check_options(types: list[SourceType], features: FeatureConfig, options: dict[str, Any]) -> None:
    known = all_options()
    if unknown := [name for name in options if name not in known]:
        raise UsageError(f"The options of sources are {', '.join(known)}. Received: {', '.join(unknown)}")
    unused: dict[tuple[str, ...], list[str]] = {}
    for name, value in options.items():
        option, owners = known[name]
        if option.multiple:
            if isinstance(value, str):
                raise UsageError(f"{name} must be a list of texts. Received: {name}={value!r}")
            value = tuple(value)
        if value != option.default and not option.shared and not any(owner in types for owner in owners):
            unused.setdefault(tuple(owner.id for owner in owners), []).append(name)
    for ids, names in unused.items():
        raise UnusedOptionError(names, [SOURCE_TYPES[id_] for id_ in ids])
    usual = FeatureConfig()
    changed = [name for name in ("sample_rate", "n_mfcc") if getattr(features, name) != getattr(usual, name)]
    if changed and types and not any(source_type.uses_audio_settings for source_type in types):
        raise UnusedOptionError(changed, [type_ for type_ in SOURCE_TYPES.values() if type_.uses_audio_settings])


def _recognise(text: str) -> tuple[SourceType, Spec]:
    if not text:
        raise SourceError(f"A source must not be empty. {_usage()}")
    try:
        spec = Spec(text)
    except OSError as error:
        raise SourceError(f"'{text[:80]}' can't be read: {error.strerror}. {_usage()}") from None
    for source_type in SOURCE_TYPES.values():
        try:
            recognised = source_type.recognises(spec)
        except SourceError as error:
            raise SourceError(_with_hint(str(error), spec)) from None
        if recognised and spec.store and not source_type.reads_stores:
            raise SourceError(
                f"{source_type.title} must lie on the disk. Received: {spec.path}. Copy it to the disk with its files"
            )
        if recognised:
            return source_type, spec
    raise SourceError(_refusal(spec))


def _with_hint(reason: str, spec: Spec) -> str:
    """The reason why a table can't be used, and what a source type adds to it."""
    hint = next(filter(None, (source_type.hint(spec) for source_type in SOURCE_TYPES.values())), "")
    return f"{reason}. {hint}" if hint else reason


def _refusal(spec: Spec) -> str:
    """Says why a spec isn't a source, and what would be one."""
    if spec.table is not None:
        columns = ", or ".join(type_.columns for type_ in SOURCE_TYPES.values() if type_.columns)
        shown = ", ".join(repr(name[:40]) for name in spec.columns[:_COLUMNS_SHOWN])
        more = ", ..." if len(spec.columns) > _COLUMNS_SHOWN else ""
        reason = f"{spec.table.name} must have the columns {columns}, separated by commas. Received: {shown}{more}"
        return _with_hint(reason, spec)
    if spec.is_folder:
        return f"The folder '{spec.path}' isn't a source. {_folder_hint(spec.path)}. {_usage()}"
    if spec.is_file:
        hints = (source_type.hint(spec) for source_type in reversed(SOURCE_TYPES.values()))
        return f"The file '{spec.path}' isn't a source. {next(filter(None, hints), '')}. {_usage()}"
    names = [name for source_type in SOURCE_TYPES.values() for name in source_type.names]
    schemes, words = ({name.split(":")[i] for name in names} for i in (0, 1))
    scheme, colon, _ = spec.text.partition(":")
    if (colon and difflib.get_close_matches(scheme.lower(), schemes, n=1)) or spec.text.lower() in schemes | words:
        return f"There is no source {spec.text!r}.{_suggestion(spec.text, names)} {_usage()}"
    if isinstance(spec.path, Address):
        return f"Nothing is stored at {spec.path}. {_usage()}"
    if "://" in spec.text:
        return f"{spec.text!r} is an address. Download it first and give the file"
    if any(sign in spec.path.name for sign in "*?["):
        return f"No file matches '{spec.path}'"
    if not spec.path.parent.is_dir():
        return f"'{spec.path}' doesn't exist, nor does the folder '{spec.path.parent}'. {_usage()}"
    hint = _suggestion(spec.path.name, [file.name for file in _list_folder(spec.path.parent)])
    return f"'{spec.path}' doesn't exist.{hint} {_usage()}"


def _folder_hint(folder: Location) -> str:
    files: Sequence[Location]
    if isinstance(folder, Address):
        files = [folder / name for name in list_objects(folder) if "/" not in name]
    else:
        files = [file for file in _list_folder(folder) if file.is_file()]
    if folder / "records.json" in files:
        return "These are records already: give the folder to fit or inspect"
    if tables := [file for file in files if file.suffix.lower() == ".csv"]:
        return f"To use a csv in it, name the file: '{tables[0]}'"
    for suffixes, what, other in ((AUDIO_SUFFIXES, "audio", "image"), (IMAGE_SUFFIXES, "images", "audio")):
        if any(file.suffix.lower() in suffixes for file in files):
            return f"It holds {what}: list the {other} of each file in a pairs.csv with the columns audio,image"
    return "It holds no video, csv, audio or image" if files else "It holds no files"


def _usage() -> str:
    usages = dict.fromkeys(source_type.usage for source_type in SOURCE_TYPES.values())
    return f"A source can be {'; '.join(usages)}"


def _suggestion(name: str, known: list[str]) -> str:
    lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.6)
    if not close:
        close = [other for other in lower if name.lower() and name.lower() in other][:1]
    return f" Did you mean {lower[close[0]]!r}?" if close else ""


def _list_folder(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(itertools.islice(folder.iterdir(), _LISTED))
    except OSError as error:
        raise SourceError(f"The folder '{folder}' can't be read: {error.strerror}") from None
