"""`records.json`: what a records folder holds, how it was built and what was left out."""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.counts import counted
from keras_a2i.errors import AddressNotFoundError, MissingSplitError, RecordsError
from keras_a2i.media.json_file import write_json
from keras_a2i.media.value_types import check_types
from keras_a2i.remote.address import Address, Location, as_location
from keras_a2i.remote.store import list_objects, read_bytes
from keras_a2i.sources.pair import PairKey

FILE_NAME = "records.json"
STATED_PACKAGES = ("numpy", "pillow", "soundfile", "soxr", "av")
"""The packages whose versions a manifest states: those that decide the bytes of the shards."""
SCHEMA_VERSION = 2
_LONGEST_NAME = 200
BUILD_FOLDER = ".build"
# Of the fraction of held-out pairs that was asked for.
_FEW = 0.5
_LABELS_SHOWN = 10

PairCounts = dict[str, dict[str, dict[str, int]]]
"""Source id -> split -> label -> number of pairs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One TFRecord file: its name, split, number of records, bytes and sha256."""

    file: str
    split: str
    count: int
    size: int
    sha256: str

    def __post_init__(self) -> None:
        named = pathlib.PurePath(self.file).name == self.file and 0 < len(self.file) <= _LONGEST_NAME
        if not named or self.count < 0 or self.size < 0:
            raise ValueError(f"a shard must be a file of the folder. Received: {self.file!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of `records.json`.

    Attributes:
        features: the feature configuration of every pair.
        image: the image configuration of every pair.
        waveform: whether every pair holds its waveform.
        split: how the pairs were divided (`SplitSpec.to_dict`).
        sources: `Source.describe` of each source.
        shards: the files.
        pair_counts: source id -> split -> label -> number of pairs.
        left_out: number of pairs in a guard gap, missing from the split file, or without a split where others have one.
        dropped: inputs that yielded no pair, as [id, reason].
        command: the command that built the records, "" where they were built from Python.
        versions: library versions.
        fingerprint: of the input and the options: equal fingerprints mean equal shards.
        notes: pairs of which a file breaks off or is damaged, as [id, sentence].
        lost_splits: splits of which no pair could be read, as [split, sentence].
    """

    features: FeatureConfig
    image: ImageConfig
    waveform: bool
    split: dict[str, Any]
    sources: list[dict[str, Any]]
    shards: list[Shard]
    pair_counts: PairCounts
    left_out: int
    dropped: list[list[str]]
    command: str
    versions: dict[str, str]
    fingerprint: str
    notes: list[list[str]] = dataclasses.field(default_factory=list)
    lost_splits: list[list[str]] = dataclasses.field(default_factory=list)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {split}" for split, count in self.counts.items())
        return (
            f"Manifest({counts}; split {self.split['kind']!r}; {self.features.description}; images {self.image.shape})"
        )

    @property
    def counts(self) -> dict[str, int]:
        """The number of pairs per split."""
        counts: Counter[str] = Counter()
        for shard in self.shards:
            counts[shard.split] += shard.count
        return dict(counts)

    @property
    def source_counts(self) -> dict[str, dict[str, int]]:
        """Source id -> split -> number of pairs."""
        return {
            source: {split: sum(labels.values()) for split, labels in splits.items()}
            for source, splits in self.pair_counts.items()
        }

    @functools.cached_property
    def label_counts(self) -> dict[str, dict[str, int]]:
        """Label -> split -> number of pairs, sorted by label."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for splits in self.pair_counts.values():
            for split, labels in splits.items():
                for label, count in labels.items():
                    counts[label][split] += count
        return {label: dict(sorted(counts[label].items())) for label in sorted(counts)}

    @property
    def unseen_labels(self) -> list[str]:
        """The labels of which there are held-out pairs, but no training pair."""
        if "train" not in self.counts:
            return []
        return [label for label, counts in self.label_counts.items() if label and "train" not in counts]

    @property
    def split_warning(self) -> str:
        """A sentence about labels without a training pair, or about too few held-out pairs; "" where neither holds."""
        unseen = self.unseen_labels
        if unseen:
            names = ", ".join(unseen[:_LABELS_SHOWN]) + (" ..." if len(unseen) > _LABELS_SHOWN else "")
            return (
                f"Warning: {len(unseen)} of {len(self.label_counts)} labels have no training pair: {names}. Choose a "
                "split that has every label in both parts: source, random, or a column split"
            )
        n_val, total = self.counts.get("val", 0), sum(self.counts.values())
        if self.split["kind"] == "block" and 0 < n_val < _FEW * self.split["val_fraction"] * total:
            return (
                f"Warning: only {n_val:,} of {counted(total, 'pair')} are held out, since most sources are too short "
                "to be divided. --split source holds out whole sources; a smaller --guard divides shorter ones"
            )
        return ""

    @property
    def label_names(self) -> tuple[str, ...]:
        """All labels, sorted, "" included where there are pairs without a label; their positions number the labels."""
        return tuple(self.label_counts)

    @property
    def labels_per_source(self) -> dict[str, dict[str, int]]:
        """Source id -> label -> number of pairs, over all splits."""
        return {
            source: dict(sum((Counter(labels) for labels in splits.values()), Counter()))
            for source, splits in self.pair_counts.items()
        }

    def shards_of(self, split: str) -> list[Shard]:
        """The shards of a split.

        Raises:
            MissingSplitError: if the records have no such split.
        """
        shards = [shard for shard in self.shards if shard.split == split]
        if not shards:
            raise MissingSplitError(f"split must be one of {sorted(self.counts)} in these records. Received: {split!r}")
        return shards

    def require_waveform(self, folder: str | pathlib.Path) -> None:
        """Checks that every pair holds its waveform.

        Args:
            folder: the records folder, for the message.

        Raises:
            RecordsError: if not.
        """
        if self.features.embedding:
            raise RecordsError(f"These records hold {self.features.description}, no waveform: {folder}")
        if not self.waveform:
            raise RecordsError(
                f"These records hold no waveform: {folder}. Build them from audio, with waveform=True (the default)"
            )

    def write(self, folder: pathlib.Path) -> None:
        """Writes `records.json`, whole or not at all."""
        values = dataclasses.asdict(self) | {"features": self.features.to_dict()}
        values |= {"schema_version": SCHEMA_VERSION, "counts": self.counts}
        write_json(folder / FILE_NAME, values)

    @classmethod
    def read(cls, folder: str | pathlib.Path | Address) -> "Manifest":
        """Reads `records.json`, of a folder on the disk or in an object store.

        Raises:
            RecordsError: if the folder has none, or it isn't one that this version reads.
            RemoteError: if an object store can't be read.
        """
        location = as_location(folder)
        path = location / FILE_NAME
        try:
            text = _read_text(location)
        except (OSError, UnicodeDecodeError) as error:
            raise _not_of_this_version(path, error) from error
        try:
            values = json.loads(text)
            version = values.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise RecordsError(
                    f"{FILE_NAME} must have schema version {SCHEMA_VERSION}. Received: {version}. "
                    "Build the records again"
                )
            values.pop("counts")
            values["features"] = FeatureConfig.from_dict(values["features"])
            # Records of before the choice by size held PNG files.
            values["image"] = ImageConfig.from_dict({"raw": False} | values["image"])
            values["shards"] = [Shard(**shard) for shard in values["shards"]]
            manifest = cls(**values)
            for part in (manifest, *manifest.shards):
                check_types(part)
            return manifest
        except RecordsError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _not_of_this_version(path, error) from error

    def verify(
        self,
        folder: str | pathlib.Path | Callable[[Shard], pathlib.Path],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[str]:
        """Compares every shard with its sha256; returns a sentence for each one that is missing or differs.

        Args:
            folder: the folder, or a function that returns the folder of a shard.
            progress: called with the number of shards compared so far and of all.
        """
        problems = []
        for number, shard in enumerate(self.shards, start=1):
            path = (folder(shard) if callable(folder) else pathlib.Path(folder)) / shard.file
            if not path.is_file():
                problems.append(f"{shard.file} is missing")
            elif path.stat().st_size != shard.size:
                problems.append(f"{shard.file} has {path.stat().st_size:,} bytes, not {shard.size:,}")
            else:
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
                        problems.append(f"{shard.file} has a different sha256 than when it was built")
            progress(number, len(self.shards))
        return problems


def find_sizes(folder: Location) -> dict[str, int]:
    """Returns the bytes of every file in a folder by its name.

    Raises:
        RemoteError: if an object store can't be read.
    """
    if isinstance(folder, Address):
        return {name: stored.size for name, stored in list_objects(folder).items()}
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}


def compare_sizes(manifest: Manifest, sizes: Mapping[str, int]) -> list[str]:
    """Compares the size of every shard; returns a sentence for each one that is missing or differs.

    Args:
        manifest: the manifest.
        sizes: the files of the folder, as `find_sizes` returns them.
    """
    problems = []
    for shard in manifest.shards:
        if shard.file not in sizes:
            problems.append(f"{shard.file} is missing")
        elif sizes[shard.file] != shard.size:
            problems.append(f"{shard.file} has {sizes[shard.file]:,} bytes, not {shard.size:,}")
    return problems


def _read_text(folder: pathlib.Path | Address) -> str:
    if isinstance(folder, Address):
        try:
            return read_bytes(folder / FILE_NAME).decode("utf-8")
        except AddressNotFoundError:
            found = list_objects(folder)
            is_unfinished, is_absent = any(name.startswith(f"{BUILD_FOLDER}/") for name in found), not found
    elif (folder / FILE_NAME).is_file():
        return (folder / FILE_NAME).read_text(encoding="utf-8")
    else:
        is_unfinished, is_absent = (folder / BUILD_FOLDER).is_dir(), not folder.exists()
    if is_unfinished:
        raise RecordsError(f"The build in {folder} isn't finished. Run the same build again to resume it")
    absent = ", which doesn't exist" if is_absent else ""
    raise RecordsError(
        f"A records folder must hold a {FILE_NAME}. Received: {folder}{absent}. Build records with build_records, or "
        "with the command keras-a2i build-records"
    )


def count_pair(counts: PairCounts, key: PairKey, split: str) -> None:
    """Counts one more pair."""
    labels = counts.setdefault(key.source_id, {}).setdefault(split, {})
    labels[key.label] = labels.get(key.label, 0) + 1


def _not_of_this_version(path: pathlib.Path | Address, error: Exception) -> RecordsError:
    return RecordsError(f"{path} isn't a manifest of this version: {error!r}. Build the records again")
