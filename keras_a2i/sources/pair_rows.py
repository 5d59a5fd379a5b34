"""Rows of a csv of pairs: the key of each, with its source, time, label and split."""

import array
import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from keras_a2i.errors import SourceError
from keras_a2i.sources.csv_table import read_rows
from keras_a2i.sources.pair import Dropped, PairKey
from keras_a2i.sources.pair_keys import KeyColumns, PairKeys
from keras_a2i.sources.text_column import CHUNK_ROWS, TextChunk, TextColumn
from keras_a2i.sources.text_index import TextIndex

UNIT_ROWS = 64
_SPLITS = ("", "train", "val", "test")


class PairRow(NamedTuple):
    """A usable row: its number among the rows with two parts, its two parts, its key, and whether it is an excerpt."""

    number: int
    first: str
    second: str
    key: PairKey
    is_excerpt: bool


class PairRun(NamedTuple):
    """Consecutive usable rows: the lines of the first and the last, the two parts of each, and their keys.

    `excerpts` are the times at which those of them begin that are excerpts, float64 (n,).
    """

    first_line: int
    last_line: int
    firsts: list[str]
    seconds: list[str]
    keys: PairKeys
    excerpts: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class PairTable:
    """The rows of a csv of pairs, in columns.

    Attributes:
        lines: the lines of all rows that have two parts, integers (rows,).
        firsts: the first part of each of them.
        seconds: the second part of each of them.
        usable: the numbers of those that don't repeat an earlier one, integers (pairs,).
        ids: the id of each of all.
        keys: the keys of the usable ones.
        is_excerpt: whether a row is one of several that share the first part and state different times, (rows,).
        dropped: the rows that can't be used.
    """

    lines: np.ndarray
    firsts: TextColumn
    seconds: TextColumn
    usable: np.ndarray
    ids: TextColumn
    keys: PairKeys
    is_excerpt: np.ndarray
    dropped: tuple[Dropped, ...]

    def runs(self) -> Iterator[PairRun]:
        """Yields the usable rows in runs of 64, the last shorter."""
        for start in range(0, len(self.usable), UNIT_ROWS):
            rows = self.usable[start : start + UNIT_ROWS]
            firsts, seconds = self.firsts.take(rows), self.seconds.take(rows)
            lines, keys = self.lines[rows], self.keys[start : start + UNIT_ROWS]
            excerpts = keys.times[self.is_excerpt[rows]]
            yield PairRun(int(lines[0]), int(lines[-1]), firsts, seconds, keys, excerpts)

    def rows(self) -> Iterator[PairRow]:
        """Yields the usable rows."""
        for position, number in enumerate(self.usable.tolist()):
            yield self._row(number, position)

    def find(self, id: str) -> PairRow | None:
        """Returns the usable row with an id; None if there is none."""
        number = self._index.find(id)
        return None if number is None else self._row(number, int(np.searchsorted(self.usable, number)))

    def _row(self, number: int, position: int) -> PairRow:
        first, second, key = self.firsts[number], self.seconds[number], self.keys[position]
        return PairRow(number, first, second, key, bool(self.is_excerpt[number]))

    @functools.cached_property
    def _index(self) -> TextIndex:
        return TextIndex(self.ids)


def read_pair_rows(
    path: pathlib.Path,
    required: Iterable[str],
    name_parts: Callable[[dict[str, str]], tuple[str, str]],
    duration: float,
    what: str,
    excerpts: bool = False,
) -> PairTable:
    """Reads a csv of pairs.

    A row's id is its first part, followed by "|" and the second where rows share the first. Its source is by default
    the first part, its time the row's number within its source x duration.

    Args:
        path: the csv.
        required: columns that it must have.
        name_parts: returns the two parts of a row from its cells; a SourceError drops the row.
        duration: seconds of a clip.
        what: a noun for the two parts, for messages.
        excerpts: whether rows that share the first part and state different times are excerpts of it, which begin at
            these times; a row that shares it without a time is then dropped.

    Raises:
        SourceError: as `read_rows`, or if a row's time or split isn't valid.
    """
    columns, unnamed, name = _Columns(), list[tuple[int, str]](), path.name
    for line, cells in read_rows(path, required):
        try:
            parts = name_parts(cells)
        except SourceError as error:
            unnamed.append((line, str(error)))
            continue
        where = f"{name}, line {line}"
        try:
            time, split = _time(cells, where), check_split(cells.get("split", ""), where)
        except SourceError:
            if parts not in columns:
                raise
            # A repeated row is dropped, whatever else it holds.
            time, split = math.nan, ""
        columns.append(line, time, (*parts, cells.get("source") or parts[0], cells.get("label", ""), split))
    return columns.table(unnamed, duration, name, what, excerpts)


class _Columns:
    """The columns of a table while it is being read."""

    def __init__(self) -> None:
        self._lines, self._times = array.array("q"), array.array("d")
        self._texts: dict[str, list[TextChunk]] = {name: [] for name in ("first", "second", "source", "label", "split")}
        self._waiting: list[tuple[str, ...]] = []

    def append(self, line: int, time: float, texts: tuple[str, ...]) -> None:
        self._lines.append(line)
        self._times.append(time)
        self._waiting.append(texts)
        if len(self._waiting) == CHUNK_ROWS:
            self._encode()

    def __contains__(self, parts: tuple[str, str]) -> bool:
        firsts, seconds = (TextColumn(self._texts[name]) for name in ("first", "second"))
        return parts in (row[:2] for row in self._waiting) or parts[1] in seconds.take(firsts.rows_with(parts[0]))

    def table(self, unnamed: list[tuple[int, str]], duration: float, name: str, what: str, excerpts: bool) -> PairTable:
        """The finished table, with the rows that were dropped before in order with those that repeat others."""
        self._encode()
        lines, times = np.array(self._lines), np.array(self._times)
        first, second, source, label, split = (TextColumn(chunks) for chunks in self._texts.values())
        same_first = TextIndex(first).first_rows()
        same, shared = _find_repeated(same_first, second)
        is_excerpt = _find_excerpts(same_first, np.where(same < 0, times, np.nan)) & excerpts
        untimed = is_excerpt & np.isnan(times) & (same < 0)
        usable, repeated = (np.flatnonzero(is_one) for is_one in ((same < 0) & ~untimed, same >= 0))
        ids = _ids(first, second, shared)
        times[usable] = _with_defaults(times[usable], TextIndex(source).first_rows()[usable], duration)
        reasons = (f"the same {what} as line {line}" for line in lines[same[repeated]].tolist())
        reason = "it needs a time, since other rows of the same audio state different times"
        missing = ((line, reason) for line in lines[untimed].tolist())
        dropped = sorted([*unnamed, *missing, *zip(lines[repeated].tolist(), reasons, strict=True)])
        return PairTable(
            lines=lines,
            firsts=first,
            seconds=second,
            usable=usable,
            ids=ids,
            keys=PairKeys(KeyColumns(ids, source, times, label, split), usable),
            is_excerpt=is_excerpt,
            dropped=tuple(Dropped(f"{name} line {line}", reason) for line, reason in dropped),
        )

    def _encode(self) -> None:
        """Encodes the waiting rows. By default a row's source is its first part: then both have the same chunk."""
        if not self._waiting:
            return
        columns = dict(zip(self._texts, map(list, zip(*self._waiting, strict=True)), strict=True))
        for name, texts in columns.items():
            is_first = name == "source" and texts == columns["first"]
            self._texts[name].append(self._texts["first"][-1] if is_first else TextChunk.encode(texts))
        self._waiting.clear()


def _find_repeated(same_first: np.ndarray, seconds: TextColumn) -> tuple[np.ndarray, np.ndarray]:
    """Finds rows that repeat the parts of an earlier row, and rows that share the first part with another.

    Args:
        same_first: the first row with the same first part as a row, (rows,).
        seconds: the second parts.

    Returns:
        The row that a row repeats, -1 where it repeats none; and whether a row shares its first part with one that
        repeats none; both (rows,).
    """
    numbers = np.arange(len(seconds))
    if (same_first == numbers).all():
        return np.full(len(seconds), -1), np.zeros(len(seconds), bool)
    parts = same_first * len(seconds) + TextIndex(seconds).first_rows()
    _, positions, places = np.unique(parts, return_index=True, return_inverse=True)
    same = positions[places]
    uses = np.bincount(same_first[same == numbers], minlength=len(seconds))
    return np.where(same == numbers, -1, same), uses[same_first] > 1


def _find_excerpts(same_first: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Whether a row shares its first part with rows of different times, (rows,); NaN is no time."""
    first, last = np.full_like(times, np.nan), np.full_like(times, np.nan)
    np.fmin.at(first, same_first, times)
    np.fmax.at(last, same_first, times)
    return (first < last)[same_first]


def _ids(firsts: TextColumn, seconds: TextColumn, shared: np.ndarray) -> TextColumn:
    """The ids of all rows; a chunk of which no row shares its first part is the chunk of first parts itself."""
    chunks = []
    start = 0
    for chunk in firsts.chunks:
        rows = np.arange(start, start := start + len(chunk.codes))
        if shared[rows].any():
            parts = zip(firsts.take(rows), seconds.take(rows), shared[rows].tolist(), strict=True)
            chunk = TextChunk.encode([f"{first}|{second}" if both else first for first, second, both in parts])
        chunks.append(chunk)
    return TextColumn(chunks)


def _with_defaults(times: np.ndarray, sources: np.ndarray, duration: float) -> np.ndarray:
    """The times with each NaN replaced by the number of earlier rows of the same source x duration."""
    order = np.argsort(sources, kind="stable")
    begins = np.flatnonzero(np.diff(sources[order], prepend=-1))
    numbers = np.arange(len(order))
    numbers -= np.repeat(begins, np.diff(begins, append=len(order)))
    defaults = np.empty_like(times)
    defaults[order] = numbers * duration
    return np.where(np.isnan(times), defaults, times)


def check_split(cell: str, where: str) -> str:
    """Returns the split that a cell names, lower case.

    Raises:
        SourceError: if it isn't one; the message begins with `where`.
    """
    if cell.lower() not in _SPLITS:
        raise SourceError(f"{where}: split must be train, val, test or empty. Received: {cell[:40]!r}")
    return cell.lower()


def _time(cells: dict[str, str], where: str) -> float:
    """The row's time in seconds; NaN if the cell is empty."""
    cell = cells.get("time", "")
    if not cell:
        return math.nan
    try:
        time = float(cell)
    except ValueError:
        time = math.nan
    if not (math.isfinite(time) and time >= 0):
        raise SourceError(f"{where}: time must be a number of seconds, 0 or more. Received: {cell[:40]!r}")
    return time
