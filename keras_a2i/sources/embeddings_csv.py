"""Pairs listed in a csv: one precomputed vector and one image per row."""

import array
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_a2i.config import MAX_EMBEDDING, FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError
from keras_a2i.remote.address import Address
from keras_a2i.sources.csv_table import numbered_columns, read_header, read_numbers
from keras_a2i.sources.files import open_table, read_pair_image, relative_path, stamp
from keras_a2i.sources.pair import Dropped, Pair, Plan, Source, Unit
from keras_a2i.sources.pair_rows import PairRow, PairRun, PairTable, read_pair_rows
from keras_a2i.sources.registry import SourceType, Spec, register_source
from keras_a2i.sources.vectors import (
    REFERENCE_COLUMN,
    EmbeddingOptions,
    holds_embeddings,
    read_vector,
    split_reference,
)


class _Table(NamedTuple):
    """The rows of a csv, and their vectors if the csv itself holds them: float32 (rows, n) by the number of a row."""

    rows: PairTable
    vectors: np.ndarray | None


class EmbeddingsCsvSource:
    """A csv with the columns embedding,image and optionally label,source,time,split; other columns are ignored.

    `embedding` names a vector: `one.npy`, `many.npy:ROW` (rows from 0), `some.npz:KEY` or `some.npz:KEY:ROW`, relative
    to the csv's folder, which it must not leave. Or the csv contains the numbers, in the columns embedding_1 to
    embedding_N. A column audio is not read.

    A row's id is the cell of its column embedding, followed by "|" and the image path if several rows have the same
    vector; with numbers in the csv, it is the image path, followed by "|" and a digest of the vector if several rows
    have the same image. `source`, `time` and `split` are as in `PairsCsvSource`; without `source` every vector is its
    own source.

    All vectors have the length of the first one that can be read; rows with another length are dropped.

    Args:
        csv_path: the csv file, or its address in an object store.
        features: duration of a clip; if it has an `embedding`, the length that vectors must have.
        image: size and channels of an image.
        embedding_name: the model that computed the vectors, such as "CLAP"; "" if unknown.
    """

    def __init__(
        self,
        csv_path: str | pathlib.Path | Address,
        *,
        features: FeatureConfig,
        image: ImageConfig,
        embedding_name: str = "",
    ):
        self._files = open_table(csv_path)
        self.csv_path = self._files.path
        self.paths = [self.csv_path]
        self.features, self.image, self.embedding_name = features, image, embedding_name
        self._length = features.embedding

    def plan(self) -> Plan:
        """Lists the rows in units of 64, and reads the first vector that can be read to determine the length of all.

        Raises:
            SourceError: if the csv is missing, malformed or without rows, lacks a column, or a row's time or split
                isn't valid.
            ConfigError: if `embedding_name` isn't valid.
        """
        table = self._table()
        self._length = self.features.embedding or (0 if table.vectors is None else table.vectors.shape[1])
        if not self._length:
            self._length, failed = self._find_length(table)
            if not self._length:
                return Plan((), (*table.rows.dropped, *failed))
        name = self.embedding_name or self.features.embedding_name
        features = dataclasses.replace(self.features, embedding=self._length, embedding_name=name)
        return Plan(tuple(self._unit(table, run) for run in table.rows.runs()), table.rows.dropped, features)

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Reads the rows of a planned unit one by one; a file that can't be used drops its own pair only.

        Raises:
            SourceError: if the csv was changed since the unit was planned.
        """
        table = self._table()
        for key in unit.keys:
            row = table.rows.find(key.id)
            if row is None or row.key != key:
                raise SourceError(f"{self.csv_path.name} changed while it was being read. Start again")
            try:
                vector = self._vector(table, row)
                name = row.second if table.vectors is None else row.first
                with self._files.opened(name) as file:
                    image = read_pair_image(file, self.image)
            except SourceError as error:
                yield Dropped(key.id, str(error))
            else:
                yield Pair(key=key, image=image, features=vector, origin=row.first)

    def describe(self) -> dict[str, Any]:
        """Describes the source for the manifest."""
        return {"kind": "embeddings", "name": self.csv_path.name, "has_audio": False}

    def _vector(self, table: _Table, row: PairRow) -> np.ndarray:
        if table.vectors is not None:
            vector = table.vectors[row.number].copy()
        else:
            path, item = split_reference(row.first)
            vector = read_vector(self._files.kept(path), item)
        if self._length and len(vector) != self._length:
            raise SourceError(f"{row.first} has {len(vector)} numbers; embeddings here have {self._length}")
        return vector

    def _find_length(self, table: _Table) -> tuple[int, list[Dropped]]:
        """Length of the first vector that can be read, 0 if none can, and the rows tried before it."""
        failed: list[Dropped] = []
        for row in table.rows.rows():
            try:
                return len(self._vector(table, row)), failed
            except SourceError as error:
                failed.append(Dropped(row.key.id, str(error)))
        return 0, failed

    def _unit(self, table: _Table, run: PairRun) -> Unit:
        files = list(run.seconds if table.vectors is None else run.firsts)
        if table.vectors is None:
            files += dict.fromkeys(split_reference(name)[0] for name in run.firsts)
        else:
            files.append(self.csv_path.name)
        return Unit(
            name=f"{self.csv_path.name} lines {run.first_line}-{run.last_line}",
            keys=run.keys,
            cost=float(len(run.keys)),
            stamp=self._files.stamp(files),
        )

    def _table(self) -> _Table:
        return _load(self.csv_path, self.features.duration, stamp([self.csv_path]))


@register_source
class EmbeddingsCsv(SourceType):
    """A csv of embeddings and image files."""

    id = "embeddings-csv"
    title = "a csv of embeddings (embedding,image)"
    usage = "a csv with the columns embedding,image"
    details = (
        "a pairs.csv with embedding,image: your own vectors (one.npy, many.npy:ROW, some.npz:KEY, some.npz:KEY:ROW),\n"
        "or with image and the numbers in embedding_1, embedding_2 and so on"
    )
    columns = "embedding,image"
    options = EmbeddingOptions
    uses_audio_settings = False
    position = 30
    reads_stores = True

    def recognises(self, spec: Spec) -> bool:
        """Returns whether the table has the columns image and embedding, or image and embedding_1, ..."""
        return holds_embeddings(spec.columns)

    def open(
        self, specs: Sequence[Spec], options: EmbeddingOptions, *, features: FeatureConfig, image: ImageConfig
    ) -> Source:
        """Opens the table."""
        return EmbeddingsCsvSource(specs[0].table_path, features=features, image=image, **dataclasses.asdict(options))

    def hint(self, spec: Spec) -> str:
        """Returns what a file of vectors lacks."""
        vectors = "Vectors need their images: list both in a pairs.csv with the columns embedding,image"
        return vectors if spec.suffix == ".npy" else ""


@functools.lru_cache(maxsize=2)
def _load(path: pathlib.Path, duration: float, version: str) -> _Table:
    """Cached, so that a process parses the csv once for all of its units."""
    names = _number_columns(path)
    if not names:
        columns = (REFERENCE_COLUMN, "image")
        return _Table(read_pair_rows(path, columns, _name_by_reference, duration, "embedding and image"), None)
    numbers = array.array("f")

    def name_by_image(cells: dict[str, str]) -> tuple[str, str]:
        image, vector = relative_path(cells["image"], "image"), read_numbers(cells, names, "a value of the embedding")
        numbers.frombytes(vector.tobytes())
        return image, hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest()[:12]

    rows = read_pair_rows(path, ("image", *names), name_by_image, duration, "embedding and image")
    return _Table(rows, np.frombuffer(numbers, np.float32).reshape(-1, len(names)))


def _name_by_reference(cells: dict[str, str]) -> tuple[str, str]:
    path, item = split_reference(cells[REFERENCE_COLUMN])
    path = relative_path(path, REFERENCE_COLUMN)
    return f"{path}:{item}" if item else path, relative_path(cells["image"], "image")


def _number_columns(path: pathlib.Path) -> list[str]:
    names = numbered_columns(path, REFERENCE_COLUMN)
    if names and REFERENCE_COLUMN in read_header(path):
        raise SourceError(f"{path.name} must have either a column embedding or embedding_1, embedding_2, ..., not both")
    if len(names) > MAX_EMBEDDING:
        raise SourceError(f"An embedding may have at most {MAX_EMBEDDING} numbers. Received: {len(names)} columns")
    return names
