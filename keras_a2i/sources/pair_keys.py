"""Keys of pairs held in columns: a plan may have millions of them."""

import array
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, overload

import numpy as np

from keras_a2i.sources.pair import PairKey
from keras_a2i.sources.text_column import CHUNK_ROWS, TextChunk, TextColumn
from keras_a2i.sources.text_index import TextIndex

TextField = Literal["id", "source_id", "label", "split"]
_TEXT_FIELDS: tuple[TextField, ...] = ("id", "source_id", "label", "split")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class KeyColumns:
    """The fields of `PairKey`, a column each: texts, and times in seconds as float64 (rows,)."""

    id: TextColumn
    source_id: TextColumn
    time: np.ndarray
    label: TextColumn
    split: TextColumn


class PairKeys(Sequence[PairKey]):
    """Rows of columns as a sequence of keys; a `PairKey` exists only while it is used.

    Slices share the columns. Pickled, it becomes a tuple of its own keys.

    Args:
        columns: the fields of the keys.
        rows: the rows of the columns, in the order of the keys: integers (n,).
    """

    __slots__ = ("_columns", "_rows")

    def __init__(self, columns: KeyColumns, rows: np.ndarray):
        self._columns, self._rows = columns, rows

    @classmethod
    def of(cls, keys: Iterable[PairKey]) -> "PairKeys":
        """Returns the same keys in columns."""
        chunks: dict[str, list[TextChunk]] = {field: [] for field in _TEXT_FIELDS}
        times = array.array("d")
        remaining = iter(keys)
        while batch := list(itertools.islice(remaining, CHUNK_ROWS)):
            times.extend(key.time for key in batch)
            for field in _TEXT_FIELDS:
                chunks[field].append(TextChunk.encode([getattr(key, field) for key in batch]))
        columns = {field: TextColumn(chunks[field]) for field in _TEXT_FIELDS}
        return cls(KeyColumns(**columns, time=np.array(times)), np.arange(len(times)))

    @classmethod
    def concatenate(cls, parts: Iterable[Sequence[PairKey]]) -> "PairKeys":
        """Returns the keys of all parts, one after another; texts that are in columns already aren't copied."""
        starts: dict[KeyColumns, int] = {}
        total = 0
        rows = [np.empty(0, np.intp)]
        for in_columns, group in itertools.groupby(parts, lambda part: isinstance(part, PairKeys)):
            for part in group if in_columns else [cls.of(itertools.chain.from_iterable(group))]:
                assert isinstance(part, PairKeys)
                if part._columns not in starts:
                    starts[part._columns] = total
                    total += len(part._columns.time)
                rows.append(part._rows + starts[part._columns])
        columns = {
            field: TextColumn(chunk for part in starts for chunk in getattr(part, field).chunks)
            for field in _TEXT_FIELDS
        }
        times = np.concatenate([np.empty(0), *(part.time for part in starts)])
        return cls(KeyColumns(**columns, time=times), np.concatenate(rows))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> PairKey: ...

    @overload
    def __getitem__(self, index: slice) -> "PairKeys": ...

    def __getitem__(self, index: int | slice) -> "PairKey | PairKeys":
        if isinstance(index, slice):
            return PairKeys(self._columns, self._rows[index])
        row, columns = int(self._rows[index]), self._columns
        texts = {field: getattr(columns, field)[row] for field in _TEXT_FIELDS}
        return PairKey(**texts, time=float(columns.time[row]))

    def __iter__(self) -> Iterator[PairKey]:
        columns = self._columns
        for rows in self._blocks():
            fields = (
                columns.id.take(rows),
                columns.source_id.take(rows),
                columns.time[rows].tolist(),
                columns.label.take(rows),
                columns.split.take(rows),
            )
            yield from map(PairKey, *fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PairKeys | tuple):
            return NotImplemented
        return len(self) == len(other) and all(map(PairKey.__eq__, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __reduce__(self) -> tuple[type, tuple[list[PairKey]]]:
        return tuple, (list(self),)

    @property
    def times(self) -> np.ndarray:
        """The times in seconds, float64 (n,)."""
        return self._columns.time[self._rows]

    def select(self, positions: np.ndarray) -> "PairKeys":
        """Returns the keys at some positions, integers (k,)."""
        return PairKeys(self._columns, self._rows[positions])

    def texts(self, field: TextField) -> Iterator[str]:
        """Yields one field of every key."""
        column: TextColumn = getattr(self._columns, field)
        return itertools.chain.from_iterable(map(column.take, self._blocks()))

    def number(self, field: TextField) -> tuple[np.ndarray, np.ndarray]:
        """Numbers the different values of a field from 0, in the order in which they appear.

        Returns:
            The number of every key's value, (n,), and the position of the first key of every value, (values,).
        """
        first_rows = TextIndex(getattr(self._columns, field)).first_rows()[self._rows]
        _, positions, numbers = np.unique(first_rows, return_index=True, return_inverse=True)
        order = np.argsort(positions)
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order))
        return ranks[numbers], positions[order]

    def _blocks(self) -> Iterator[np.ndarray]:
        return (self._rows[start : start + CHUNK_ROWS] for start in range(0, len(self), CHUNK_ROWS))
