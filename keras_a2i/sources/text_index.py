"""Finding equal texts in a column by 8-byte hashes, compared byte by byte where hashes are equal."""

import numpy as np

from keras_a2i.sources.text_column import TextColumn


class TextIndex:
    """The rows of a column by their texts.

    It belongs to one process, because Python's hashes differ between processes.

    Args:
        column: the column.
    """

    def __init__(self, column: TextColumn):
        self._column = column
        hashes = np.fromiter(map(hash, column.entries()), np.int64, column.n_entries)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def find(self, text: str) -> int | None:
        """Returns the first row that has a text; None if there is none."""
        wanted = text.encode("utf-8", "surrogatepass")
        start, end = (np.searchsorted(self._hashes, hash(wanted), side) for side in ("left", "right"))
        for number in self._order[start:end].tolist():
            if self._column.entry(number) == wanted:
                return self._column.entry_row(number)
        return None

    def first_rows(self) -> np.ndarray:
        """Returns for every row the first row that has the same text, (rows,)."""
        first_entries = self._first_entries()
        return self._column.entry_rows()[first_entries][self._column.row_entries()]

    def _first_entries(self) -> np.ndarray:
        """For every entry the first one that is equal."""
        begins = np.flatnonzero(np.diff(self._hashes, prepend=self._hashes[:1] - 1))
        sizes = np.diff(begins, append=len(self._order))
        first = np.empty_like(self._order)
        first[self._order] = np.repeat(self._order[begins], sizes)
        collided: dict[bytes, int] = {}
        for number in map(int, np.flatnonzero(first != np.arange(len(first)))):
            entry = self._column.entry(number)
            if entry != self._column.entry(int(first[number])):
                first[number] = collided.setdefault(entry, number)
        return first
