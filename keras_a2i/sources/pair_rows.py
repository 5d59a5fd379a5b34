"""Rows of a csv of pairs: the key of each, with its source, time, label and split."""

import collections
import math
import pathlib
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

from keras_a2i.errors import SourceError
from keras_a2i.sources.csv_table import read_rows
from keras_a2i.sources.pair import Dropped, PairKey

UNIT_ROWS = 64
_SPLITS = ("", "train", "val", "test")


class PairRow(NamedTuple):
    """A usable row: its line in the file, the two parts that name it, and its key."""

    line: int
    first: str
    second: str
    key: PairKey


def read_pair_rows(
    path: pathlib.Path,
    required: Iterable[str],
    name_parts: Callable[[dict[str, str]], tuple[str, str]],
    duration: float,
    what: str,
) -> tuple[dict[str, PairRow], tuple[Dropped, ...]]:
    """Reads a csv of pairs.

    A row's id is its first part, followed by "|" and the second where rows share the first. Its source is by default
    the first part, its time the row's number within its source x duration.

    Args:
        path: the csv.
        required: columns that it must have.
        name_parts: returns the two parts of a row from its cells; a SourceError drops the row.
        duration: seconds of a clip.
        what: a noun for the two parts, for messages.

    Returns:
        Rows by id, and rows that can't be used.

    Raises:
        SourceError: as `read_rows`, or if a row's time or split isn't valid.
    """
    # One tuple a row, and equal texts stored once: tables may have a million rows.
    usable: list[tuple[int, str, str, str, float | None, str, str]] = []
    dropped: list[Dropped] = []
    first_lines: dict[tuple[str, str], int] = {}
    for line, cells in read_rows(path, required):
        where = f"{path.name}, line {line}"
        try:
            first, second = parts = name_parts(cells)
            seen = first_lines.setdefault(parts, line)
            if seen != line:
                raise SourceError(f"the same {what} as line {seen}")
        except SourceError as error:
            dropped.append(Dropped(f"{path.name} line {line}", str(error)))
            continue
        source = sys.intern(cells["source"]) if cells.get("source") else first
        label, split = (sys.intern(cells.get(name, "")) for name in ("label", "split"))
        usable.append((line, first, second, source, _time(cells, where), label, check_split(split, where)))
    del first_lines
    uses = collections.Counter(row[1] for row in usable)
    in_source: collections.Counter[str] = collections.Counter()
    rows = {}
    for line, first, second, source, time, label, split in usable:
        if time is None:
            time = in_source[source] * duration
        in_source[source] += 1
        key = PairKey(first if uses[first] == 1 else f"{first}|{second}", source, time, label, split)
        rows[key.id] = PairRow(line, first, second, key)
    return rows, tuple(dropped)


def check_split(cell: str, where: str) -> str:
    """Returns the split that a cell names, lower case.

    Raises:
        SourceError: if it isn't one; the message begins with `where`.
    """
    if cell.lower() not in _SPLITS:
        raise SourceError(f"{where}: split must be train, val, test or empty. Received: {cell[:40]!r}")
    return cell.lower()


def _time(cells: dict[str, str], where: str) -> float | None:
    """The row's time in seconds; None if the cell is empty."""
    cell = cells.get("time", "")
    if not cell:
        return None
    try:
        time = float(cell)
    except ValueError:
        time = math.nan
    if not (math.isfinite(time) and time >= 0):
        raise SourceError(f"{where}: time must be a number of seconds, 0 or more. Received: {cell[:40]!r}")
    return time
