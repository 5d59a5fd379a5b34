"""The Kaggle set "Scene classification: images and audio": images with ready-made MFCC, one row per second of video."""

import collections
import dataclasses
import fnmatch
import functools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ConfigError, MissingPackageError, SourceError, UsageError
from keras_a2i.remote.address import local_path
from keras_a2i.sources.csv_table import numbered_columns, read_numbers, read_rows
from keras_a2i.sources.files import file_within, read_pair_image, relative_path, stamp
from keras_a2i.sources.pair import Dropped, Pair, PairKey, Plan, Source, Unit
from keras_a2i.sources.pair_keys import PairKeys
from keras_a2i.sources.pair_rows import UNIT_ROWS
from keras_a2i.sources.registry import SourceOptions, SourceType, Spec, option, register_source

CSV_NAME = "dataset.csv"
HANDLE = "birdy654/scene-classification-images-and-audio"
_NAME = "kaggle:scenes"
_IMAGES = "images/"
_SHOWN = 40


class _Row(NamedTuple):
    image: str
    class1: str
    class2: str
    features: np.ndarray

    @property
    def short(self) -> str:
        return self.image.removeprefix(_IMAGES)


@dataclasses.dataclass(frozen=True)
class KaggleScenesOptions(SourceOptions):
    """Options of `KaggleScenesSource`."""

    classes: tuple[str, ...] = option(
        (), "Keep this class of the Kaggle scenes; repeatable.", flag="class", metavar="NAME"
    )
    exclude: tuple[str, ...] = option((), "Omit these images of the Kaggle scenes; repeatable.", metavar="GLOB")


class KaggleScenesSource:
    """A folder with a dataset.csv (IMAGE, mfcc_1 to mfcc_N, CLASS1, CLASS2) and the images that it names.

    The number at the end of an image's name is its second: "images/beach2/beach7.png" is 7 x duration into the source
    "beach2/beach". The label is CLASS2. A pair has features and no waveform. Images are found with and without a
    leading "images/".

    Args:
        folder: the folder, or the csv file itself.
        features: configuration whose `n_features` is the number of mfcc columns.
        image: size and channels of an image.
        classes: keeps the rows whose CLASS1 or CLASS2 is one of these, in any case; empty keeps all.
        exclude: omits the rows whose IMAGE matches one of these globs, read with and without the leading "images/"
            ("beach3*" is every image of the folder beach3). A glob with a dot, such as "beach7.png", is also compared
            with the bare file name.
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        *,
        features: FeatureConfig,
        image: ImageConfig,
        classes: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ):
        path = local_path(folder, "folder").absolute()
        self.csv_path = path if path.is_file() else path / CSV_NAME
        self.paths = [self.csv_path]
        self.features, self.image = features, image
        self.classes, self.exclude = tuple(classes), tuple(exclude)

    def plan(self) -> Plan:
        """Lists the rows that are kept, in units of 64.

        Raises:
            SourceError: if the csv is missing, malformed or without rows, or lacks a column.
            ConfigError: if it doesn't hold as many coefficients per row as the feature configuration.
            UsageError: if a class or glob matches no row, or no row is left.
        """
        names = _mfcc_columns(self.csv_path)
        if len(names) != self.features.n_features:
            raise ConfigError(
                f"features must have as many values as {self.csv_path.name} has mfcc columns. "
                f"Received: n_features={self.features.n_features} for {len(names)} columns. "
                "The paper's set fits the default configuration"
            )
        rows, dropped = self._rows()
        kept = self._select(list(rows.values()))
        keys = PairKeys.of(self._keys(kept))
        folder = self.csv_path.parent
        units = []
        for start in range(0, len(kept), UNIT_ROWS):
            part = slice(start, start + UNIT_ROWS)
            files = [folder / name for row in kept[part] for name in _candidates(row.image)]
            name = f"{self.csv_path.name} {kept[start].short} to {kept[part][-1].short}"
            units.append(Unit(name, keys[part], float(len(keys[part])), stamp([self.csv_path, *files])))
        return Plan(tuple(units), dropped)

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Reads the images of a unit one by one; one that can't be used drops its own pair only.

        Raises:
            SourceError: if the csv was changed since the unit was planned.
        """
        rows, _ = self._rows()
        folder = self.csv_path.parent.resolve()
        for key in unit.keys:
            if key.id not in rows:
                raise SourceError(f"{self.csv_path.name} changed while it was being read. Start again")
            row = rows[key.id]
            try:
                image = read_pair_image(_find_image(folder, row.image), self.image)
            except SourceError as error:
                yield Dropped(key.id, str(error))
            else:
                yield Pair(key=key, image=image, features=row.features.copy(), origin=row.image)

    def describe(self) -> dict[str, Any]:
        """Describes the source for the manifest."""
        return {
            "kind": "kaggle-scenes",
            "name": self.csv_path.name,
            "has_audio": False,
            "classes": list(self.classes),
            "exclude": list(self.exclude),
        }

    def _rows(self) -> tuple[dict[str, _Row], tuple[Dropped, ...]]:
        return _load(self.csv_path, stamp([self.csv_path]))

    def _select(self, rows: list[_Row]) -> list[_Row]:
        wanted = {name.lower() for name in self.classes}
        known = sorted({name for row in rows for name in (row.class1, row.class2) if name})
        for name in self.classes:
            if name.lower() not in {other.lower() for other in known}:
                raise UsageError(f"No row of {self.csv_path.name} has the class {name!r}. Classes: {_list(known)}")
        for glob in self.exclude:
            if not any(_matches(row, glob) for row in rows):
                folders = sorted({row.short.rpartition("/")[0] + "/" for row in rows})
                raise UsageError(f"No image of {self.csv_path.name} matches {glob!r}. Folders: {_list(folders)}")
        kept = [row for row in rows if not wanted or wanted & {row.class1.lower(), row.class2.lower()}]
        kept = [row for row in kept if not any(_matches(row, glob) for glob in self.exclude)]
        if not kept and rows:
            raise UsageError(
                f"classes and exclude must leave a row of {self.csv_path.name}. "
                f"Received: classes={list(self.classes)}, exclude={list(self.exclude)}"
            )
        return kept

    def _keys(self, rows: list[_Row]) -> Iterator[PairKey]:
        unnumbered: collections.Counter[str] = collections.Counter()
        for row in rows:
            source, number = _source_and_number(row.short)
            if number is None:
                number = unnumbered[source]
                unnumbered[source] += 1
            yield PairKey(row.image, source, number * self.features.duration, row.class2)


def fetch_kaggle_scenes() -> pathlib.Path:
    """Downloads the set from Kaggle, unless an earlier download is found.

    Returns:
        The folder that holds dataset.csv.

    Raises:
        MissingPackageError: if kagglehub isn't installed.
        SourceError: if it can't be downloaded or holds no dataset.csv.
    """
    try:
        import kagglehub
        from kagglehub import exceptions
    except ImportError:
        raise MissingPackageError("kagglehub", "data", "Fetching the scenes from Kaggle") from None
    by_hand = f"Download it manually from https://www.kaggle.com/datasets/{HANDLE}, unpack it and give its folder"
    refused = (
        exceptions.BackendError,
        exceptions.CredentialError,
        exceptions.DataCorruptionError,
        exceptions.UnauthenticatedError,
    )
    try:
        folder = pathlib.Path(kagglehub.dataset_download(HANDLE))
    except (OSError, *refused) as error:
        raise SourceError(f"Kaggle's {HANDLE} couldn't be downloaded ({type(error).__name__}). {by_hand}") from error
    for path in sorted(folder.rglob(CSV_NAME)):
        return path.parent
    raise SourceError(f"Kaggle's {HANDLE} came without {CSV_NAME}. {by_hand}")


@functools.lru_cache(maxsize=2)
def _load(path: pathlib.Path, version: str) -> tuple[dict[str, _Row], tuple[Dropped, ...]]:
    """Rows by id, and rows that can't be used; cached, so that a process parses the csv once for all of its units."""
    names = _mfcc_columns(path)
    rows: dict[str, _Row] = {}
    dropped: list[Dropped] = []
    lines: dict[str, int] = {}
    for line, cells in read_rows(path, ("image", *names, "class1", "class2")):
        try:
            image = relative_path(cells["image"], "IMAGE")
            first = lines.setdefault(image.removeprefix(_IMAGES), line)
            if first != line:
                raise SourceError(f"the same IMAGE as line {first}")
            rows[image] = _Row(image, cells["class1"], cells["class2"], read_numbers(cells, names, "an mfcc value"))
        except SourceError as error:
            dropped.append(Dropped(f"{path.name} line {line}", str(error)))
    return rows, tuple(dropped)


def _mfcc_columns(path: pathlib.Path) -> list[str]:
    names = numbered_columns(path, "mfcc")
    if not names:
        raise SourceError(f"{path.name} must have the columns mfcc_1, mfcc_2 and so on without a gap")
    return names


def _candidates(image: str) -> tuple[str, str]:
    return image, image.removeprefix(_IMAGES) if image.startswith(_IMAGES) else _IMAGES + image


def _find_image(folder: pathlib.Path, image: str) -> pathlib.Path:
    as_named, other = _candidates(image)
    try:
        return file_within(folder, as_named)
    except SourceError as error:
        try:
            return file_within(folder, other)
        except SourceError:
            raise error from None


def _matches(row: _Row, glob: str) -> bool:
    names = [row.image, row.short]
    if "." in glob:
        names.append(row.short.rpartition("/")[2])
    return any(fnmatch.fnmatchcase(name, glob) for name in names)


def _source_and_number(image: str) -> tuple[str, int | None]:
    """Splits "beach2/beach7.png" into the video's name "beach2/beach" and the second 7."""
    path = pathlib.PurePosixPath(image)
    found = re.fullmatch(r"(.*?)(\d{0,9})", path.stem, re.DOTALL)
    assert found is not None, "the pattern matches every text"
    prefix, digits = found.groups()
    source = path.parent / prefix.rstrip("-_ .")
    return source.as_posix() if source.name else "images", int(digits) if digits else None


def _list(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


@register_source
class KaggleScenes(SourceType):
    """A folder or csv of the Kaggle scenes, or the name under which they are downloaded."""

    id = "kaggle-scenes"
    title = "the Kaggle scenes (IMAGE, mfcc_1, ..., CLASS1, CLASS2)"
    usage = f"a folder of the Kaggle scenes with a {CSV_NAME} or {_NAME}"
    details = f'a folder of the Kaggle set "Scene classification: images and audio", or {_NAME} to download it'
    columns = "IMAGE, mfcc_1, mfcc_2, ..., CLASS1, CLASS2"
    table_name = CSV_NAME
    names = (_NAME,)
    options = KaggleScenesOptions
    position = 50

    def recognises(self, spec: Spec) -> bool:
        """Returns whether the table has the columns IMAGE and mfcc_1, or the spec is "kaggle:scenes"."""
        return {"image", "mfcc_1"} <= set(spec.columns) or (spec.text == _NAME and not spec.is_file)

    def open(
        self, specs: Sequence[Spec], options: KaggleScenesOptions, *, features: FeatureConfig, image: ImageConfig
    ) -> Source:
        """Opens the table, after a download if the name was given."""
        table = specs[0].table or fetch_kaggle_scenes()
        return KaggleScenesSource(table, features=features, image=image, **dataclasses.asdict(options))
