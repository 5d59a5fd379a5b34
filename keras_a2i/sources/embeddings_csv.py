"""Pairs listed in a csv: one ready-made vector and one picture a row."""

import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_a2i.config import MAX_EMBEDDING, FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError
from keras_a2i.media.image import read_image
from keras_a2i.sources.csv_table import (
    file_within,
    numbered_columns,
    read_header,
    read_numbers,
    relative_path,
    stamp,
)
from keras_a2i.sources.pair import Dropped, Pair, Plan, Unit
from keras_a2i.sources.pair_rows import UNIT_ROWS, PairRow, read_pair_rows
from keras_a2i.sources.vectors import read_vector, split_reference

_REFERENCE, _NUMBER = "embedding", r"embedding_\d+"


class _Table(NamedTuple):
    """The rows of a csv by id, those dropped, the vectors by id where the csv itself holds them, and their length."""

    rows: dict[str, PairRow]
    dropped: tuple[Dropped, ...]
    vectors: dict[str, np.ndarray]
    length: int


class EmbeddingsCsvSource:
    """A csv with the columns embedding,image and optionally label,source,time,split; other columns are ignored.

    `embedding` names a vector: `one.npy`, `many.npy:ROW` (rows from 0), `some.npz:KEY` or `some.npz:KEY:ROW`, relative
    to the csv's folder, which it may not leave. Or the csv holds the numbers themselves, in the columns embedding_1 to
    embedding_N. A column audio beside them isn't read.

    A row's id is what its column embedding says, followed by "|" and the image path where rows share the vector; with
    numbers in the csv it is the image path, followed by "|" and a digest of the vector where rows share the image.
    `source`, `time` and `split` are as in `PairsCsvSource`; without `source` a row is its own.

    All vectors have the length of the first one that can be read; rows with another are dropped.

    Args:
        csv_path: the csv file.
        features: duration of a pair; where it has an `embedding`, the length that vectors must have.
        image: size and channels of the picture.
        name: what made the vectors, such as "CLAP"; "" if unknown.
    """

    def __init__(self, csv_path: str | pathlib.Path, *, features: FeatureConfig, image: ImageConfig, name: str = ""):
        self.csv_path = pathlib.Path(csv_path).absolute()
        self.features, self.image, self.name = features, image, name
        self._length = features.embedding

    def plan(self) -> Plan:
        """Lists the rows in units of 64, and reads vectors until one is found whose length is that of all.

        Raises:
            SourceError: if the csv is missing, malformed or without rows, lacks a column, or a row's time or split
                isn't one.
            ConfigError: if the name isn't one.
        """
        table = self._table()
        rows = list(table.rows.values())
        self._length = self.features.embedding or table.length
        if not self._length:
            self._length, failed = self._find_length(table)
            if not self._length:
                return Plan((), (*table.dropped, *failed))
        name = self.name or self.features.embedding_name
        features = dataclasses.replace(self.features, embedding=self._length, embedding_name=name)
        starts = range(0, len(rows), UNIT_ROWS)
        units = tuple(self._unit(table, rows[start : start + UNIT_ROWS]) for start in starts)
        return Plan(units, table.dropped, features)

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Reads the rows of a planned unit one by one; a file that can't be used drops its own pair only.

        Raises:
            SourceError: if the csv was changed since the unit was planned.
        """
        table = self._table()
        folder = self.csv_path.parent.resolve()
        for key in unit.keys:
            row = table.rows.get(key.id)
            if row is None or row.key != key:
                raise SourceError(f"{self.csv_path.name} changed while it was being read. Start again")
            try:
                vector = self._vector(table, row)
                picture = read_image(file_within(folder, _image_of(table, row)), self.image)
            except SourceError as error:
                yield Dropped(key.id, str(error))
            else:
                yield Pair(key=key, image=picture, features=vector, origin=row.first)

    def describe(self) -> dict[str, Any]:
        """Kind and name of the csv."""
        return {"kind": "embeddings", "name": self.csv_path.name}

    def _vector(self, table: _Table, row: PairRow) -> np.ndarray:
        if row.key.id in table.vectors:
            vector = table.vectors[row.key.id].copy()
        else:
            path, item = split_reference(row.first)
            vector = read_vector(file_within(self.csv_path.parent.resolve(), path), item)
        if self._length and len(vector) != self._length:
            raise SourceError(f"{row.first} has {len(vector)} numbers; embeddings here have {self._length}")
        return vector

    def _find_length(self, table: _Table) -> tuple[int, list[Dropped]]:
        """Length of the first vector that can be read, 0 where none can, and the rows tried before it."""
        failed = []
        for row in table.rows.values():
            try:
                return len(self._vector(table, row)), failed
            except SourceError as error:
                failed.append(Dropped(row.key.id, str(error)))
        return 0, failed

    def _unit(self, table: _Table, rows: Sequence[PairRow]) -> Unit:
        folder = self.csv_path.parent
        files = [folder / _image_of(table, row) for row in rows]
        if table.vectors:
            files.append(self.csv_path)
        else:
            files += dict.fromkeys(folder / split_reference(row.first)[0] for row in rows)
        return Unit(
            name=f"{self.csv_path.name} lines {rows[0].line}-{rows[-1].line}",
            keys=tuple(row.key for row in rows),
            cost=float(len(rows)),
            stamp=stamp(files),
        )

    def _table(self) -> _Table:
        return _load(self.csv_path, self.features.duration, stamp([self.csv_path]))


def _image_of(table: _Table, row: PairRow) -> str:
    return row.first if table.vectors else row.second


def holds_embeddings(header: Sequence[str]) -> bool:
    """Whether a csv with these columns, lower case, is one of embeddings and pictures."""
    return "image" in header and any(name == _REFERENCE or re.fullmatch(_NUMBER, name) for name in header)


@functools.lru_cache(maxsize=2)
def _load(path: pathlib.Path, duration: float, version: str) -> _Table:
    """Kept, so that a process parses the csv once for all of its units."""
    names = _number_columns(path)
    if not names:
        columns = (_REFERENCE, "image")
        rows, dropped = read_pair_rows(path, columns, _name_by_reference, duration, "embedding and image")
        return _Table(rows, dropped, {}, 0)
    vectors: dict[tuple[str, str], np.ndarray] = {}

    def name_by_image(cells: dict[str, str]) -> tuple[str, str]:
        image, vector = relative_path(cells["image"], "image"), read_numbers(cells, names, "a value of the embedding")
        parts = image, hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest()[:12]
        vectors[parts] = vector
        return parts

    rows, dropped = read_pair_rows(path, ("image", *names), name_by_image, duration, "embedding and image")
    by_id = {name: vectors[row.first, row.second] for name, row in rows.items()}
    return _Table(rows, dropped, by_id, len(names))


def _name_by_reference(cells: dict[str, str]) -> tuple[str, str]:
    path, item = split_reference(cells[_REFERENCE])
    path = relative_path(path, _REFERENCE)
    return f"{path}:{item}" if item else path, relative_path(cells["image"], "image")


def _number_columns(path: pathlib.Path) -> list[str]:
    names = numbered_columns(path, _REFERENCE)
    if names and _REFERENCE in read_header(path):
        raise SourceError(f"{path.name} must have either a column embedding or embedding_1, embedding_2, ..., not both")
    if len(names) > MAX_EMBEDDING:
        raise SourceError(f"An embedding may have at most {MAX_EMBEDDING} numbers. Received: {len(names)} columns")
    return names
