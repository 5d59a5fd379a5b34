"""`records.json`: what a records folder holds, how it was made and what was left out."""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import RecordsError
from keras_a2i.media.json_file import write_json

FILE_NAME = "records.json"
SCHEMA_VERSION = 1
BUILD_FOLDER = ".build"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One TFRecord file: its name, split, number of records, bytes and sha256."""

    file: str
    split: str
    count: int
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of `records.json`.

    Attributes:
        features: the feature configuration of every pair.
        image: the picture configuration of every pair.
        waveform: whether every pair holds its sound.
        split: how the pairs were divided (`SplitSpec.to_dict`).
        sources: `Source.describe` of each source.
        shards: the files.
        source_counts: source id -> split -> pairs.
        label_counts: label -> split -> pairs.
        left_out: pairs in the guard gap or not named in the split file.
        dropped: inputs that gave no pair, as [id, reason].
        command: what was typed.
        versions: library versions.
        fingerprint: of the input and the options: equal fingerprints give equal shards.
    """

    features: FeatureConfig
    image: ImageConfig
    waveform: bool
    split: dict[str, Any]
    sources: list[dict[str, Any]]
    shards: list[Shard]
    source_counts: dict[str, dict[str, int]]
    label_counts: dict[str, dict[str, int]]
    left_out: int
    dropped: list[list[str]]
    command: str
    versions: dict[str, str]
    fingerprint: str

    @property
    def counts(self) -> dict[str, int]:
        """Pairs per split."""
        counts: dict[str, int] = {}
        for shard in self.shards:
            counts[shard.split] = counts.get(shard.split, 0) + shard.count
        return counts

    def shards_of(self, split: str) -> list[Shard]:
        """The shards of a split.

        Raises:
            RecordsError: if the records have no such split.
        """
        shards = [shard for shard in self.shards if shard.split == split]
        if not shards:
            raise RecordsError(f"The split must be one of {sorted(self.counts)}. Received: {split!r}")
        return shards

    def write(self, folder: pathlib.Path) -> None:
        """Writes `records.json`, whole or not at all."""
        values = dataclasses.asdict(self) | {"features": self.features.to_dict()}
        values |= {"schema_version": SCHEMA_VERSION, "counts": self.counts}
        write_json(folder / FILE_NAME, values)

    @classmethod
    def read(cls, folder: str | pathlib.Path) -> "Manifest":
        """Reads `records.json`.

        Raises:
            RecordsError: if the folder has none, or it isn't one this version reads.
        """
        path = pathlib.Path(folder) / FILE_NAME
        if not path.is_file():
            if (path.parent / BUILD_FOLDER).is_dir():
                raise RecordsError(f"The build in {folder} isn't finished: give the same build-records command again")
            raise RecordsError(
                f"A records folder holds a {FILE_NAME}, as made by keras-a2i build-records. Received: {folder}"
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            version = values.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise RecordsError(
                    f"{FILE_NAME} must have schema version {SCHEMA_VERSION}. Received: {version}. "
                    "Build the records again"
                )
            values.pop("counts")
            values["features"] = FeatureConfig.from_dict(values["features"])
            values["image"] = ImageConfig.from_dict(values["image"])
            values["shards"] = [Shard(**shard) for shard in values["shards"]]
            return cls(**values)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
            raise RecordsError(
                f"{path} isn't a manifest of this version: {error!r}. Build the records again"
            ) from error

    def verify(self, folder: str | pathlib.Path) -> list[str]:
        """Checks every shard against its sha256; returns one sentence for each that is missing or differs."""
        problems = []
        for shard in self.shards:
            path = pathlib.Path(folder) / shard.file
            if not path.is_file():
                problems.append(f"{shard.file} is missing")
            elif path.stat().st_size != shard.size:
                problems.append(f"{shard.file} has {path.stat().st_size:,} bytes, not {shard.size:,}")
            else:
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
                        problems.append(f"{shard.file} has another sha256 than when it was built")
        return problems
