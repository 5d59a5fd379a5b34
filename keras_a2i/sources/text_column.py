"""Columns of texts that take a few bytes a row instead of a Python object."""

import dataclasses
import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

CHUNK_ROWS = 8_192
"""The number of rows that builders of columns encode together."""

_ENCODING = ("utf-8", "surrogatepass")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TextChunk:
    """Consecutive rows of a column; each different text is stored once.

    Attributes:
        data: the different texts in UTF-8, one after another, in the order of their first row.
        bounds: where each of them begins in `data`, and the length of `data`: unsigned integers (texts + 1,).
        codes: the number of each row's text: unsigned integers (rows,).
    """

    data: bytes
    bounds: np.ndarray
    codes: np.ndarray

    @classmethod
    def encode(cls, texts: Sequence[str]) -> "TextChunk":
        """Encodes the texts of consecutive rows."""
        numbers = dict(zip(dict.fromkeys(texts), itertools.count(), strict=False))
        parts = [text.encode(*_ENCODING) for text in numbers]
        bounds = list(itertools.accumulate(map(len, parts), initial=0))
        codes = np.fromiter(map(numbers.__getitem__, texts), np.min_scalar_type(len(parts)), len(texts))
        return cls(b"".join(parts), np.array(bounds, np.min_scalar_type(bounds[-1])), codes)

    def take(self, rows: np.ndarray) -> list[str]:
        """Returns the texts of some rows of the chunk, in the order of `rows`."""
        codes = self.codes[rows].tolist()
        texts = {code: self.entry(code).decode(*_ENCODING) for code in set(codes)}
        return [texts[code] for code in codes]

    def entry(self, number: int) -> bytes:
        """Returns one of the different texts in UTF-8."""
        return self.data[self.bounds[number] : self.bounds[number + 1]]

    def entries(self) -> Iterator[bytes]:
        """Yields the different texts in UTF-8."""
        bounds = self.bounds.tolist()
        return (self.data[start:end] for start, end in itertools.pairwise(bounds))


class TextColumn(Sequence[str]):
    """A sequence of texts in chunks. Columns may share chunks, which never change.

    The entries of a column are the different texts of its first chunk, then those of the second, and so on.

    Args:
        chunks: the rows.
    """

    def __init__(self, chunks: Iterable[TextChunk] = ()):
        self.chunks = tuple(chunks)
        self._starts = list(itertools.accumulate((len(chunk.codes) for chunk in self.chunks), initial=0))
        self._start_array = np.array(self._starts)
        self._entry_starts = list(itertools.accumulate((len(chunk.bounds) - 1 for chunk in self.chunks), initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = range(len(self))[index]
        number = bisect_right(self._starts, row) - 1
        chunk = self.chunks[number]
        return chunk.entry(int(chunk.codes[row - self._starts[number]])).decode(*_ENCODING)

    def take(self, rows: np.ndarray) -> list[str]:
        """Returns the texts of some rows, in the order of `rows`."""
        numbers = np.searchsorted(self._start_array, rows, "right") - 1
        different = set(numbers.tolist())
        if len(different) == 1:
            (number,) = different
            return self.chunks[number].take(rows - self._starts[number])
        texts = np.empty(len(rows), object)
        for number in different:
            places = np.flatnonzero(numbers == number)
            texts[places] = self.chunks[number].take(rows[places] - self._starts[number])
        return texts.tolist()

    def rows_with(self, text: str) -> np.ndarray:
        """Returns the rows that have a text, (n,), by a search through all of them."""
        wanted = text.encode(*_ENCODING)
        found = [np.empty(0, np.intp)]
        for start, chunk in zip(self._starts, self.chunks, strict=False):
            if wanted in chunk.data and wanted in (entries := list(chunk.entries())):
                found.append(start + np.flatnonzero(chunk.codes == entries.index(wanted)))
        return np.concatenate(found)

    @property
    def n_entries(self) -> int:
        """The number of entries."""
        return self._entry_starts[-1]

    def entry(self, number: int) -> bytes:
        """Returns an entry in UTF-8."""
        chunk = bisect_right(self._entry_starts, number) - 1
        return self.chunks[chunk].entry(number - self._entry_starts[chunk])

    def entries(self) -> Iterator[bytes]:
        """Yields all entries in UTF-8."""
        for chunk in self.chunks:
            yield from chunk.entries()

    def entry_row(self, number: int) -> int:
        """Returns the first row of an entry within its chunk."""
        chunk = bisect_right(self._entry_starts, number) - 1
        return self._starts[chunk] + int(np.argmax(self.chunks[chunk].codes == number - self._entry_starts[chunk]))

    def entry_rows(self) -> np.ndarray:
        """Returns the first row of every entry within its chunk, (entries,)."""
        starts = zip(self._starts, self.chunks, strict=False)
        rows = [start + np.unique(chunk.codes, return_index=True)[1] for start, chunk in starts]
        return np.concatenate([np.empty(0, np.intp), *rows])

    def row_entries(self) -> np.ndarray:
        """Returns the entry of every row, (rows,)."""
        starts = zip(self._entry_starts, self.chunks, strict=False)
        return np.concatenate([np.empty(0, np.intp), *(start + chunk.codes.astype(np.intp) for start, chunk in starts)])


class ColumnWriter:
    """A column that grows text by text."""

    def __init__(self) -> None:
        self._chunks: list[TextChunk] = []
        self._waiting: list[str] = []

    def append(self, text: str) -> None:
        """Appends a row."""
        self._waiting.append(text)
        if len(self._waiting) == CHUNK_ROWS:
            self._encode()

    def column(self) -> TextColumn:
        """Returns all rows so far."""
        self._encode()
        return TextColumn(self._chunks)

    def _encode(self) -> None:
        if self._waiting:
            self._chunks.append(TextChunk.encode(self._waiting))
            self._waiting = []
