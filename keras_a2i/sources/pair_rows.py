"""Rows of a csv of pairs: which pair each is, of which source, when, and in which split."""

import collections
import math
import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from keras_a2i.errors import SourceError
from keras_a2i.sources.csv_table import read_rows
from keras_a2i.sources.pair import Dropped, PairKey

UNIT_ROWS = 64
_SPLITS = ("", "train", "val", "test")


class PairRow(NamedTuple):
    """A row that can be used: its line in the file, the two parts that name it, and its key."""

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
        name_parts: from the cells of a row to its two parts; a SourceError drops the row.
        duration: seconds of a pair.
        what: the parts are, for messages.

    Returns:
        Rows by id, and rows that can't be used.

    Raises:
        SourceError: as `read_rows`, or if a row's time or split isn't one.
    """
    usable, dropped = [], []
    first_lines: dict[tuple[str, str], int] = {}
    for line, cells in read_rows(path, required):
        try:
            parts = name_parts(cells)
            seen = first_lines.setdefault(parts, line)
            if seen != line:
                raise SourceError(f"the same {what} as line {seen}")
        except SourceError as error:
            dropped.append(Dropped(f"{path.name} line {line}", str(error)))
        else:
            usable.append((line, *parts, cells))
    uses = collections.Counter(first for _, first, _, _ in usable)
    in_source: collections.Counter[str] = collections.Counter()
    rows = {}
    for line, first, second, cells in usable:
        source = cells.get("source") or first
        where = f"{path.name}, line {line}"
        time = _time(cells.get("time", ""), where, in_source[source] * duration)
        split = check_split(cells.get("split", ""), where)
        in_source[source] += 1
        key = PairKey(first if uses[first] == 1 else f"{first}|{second}", source, time, cells.get("label", ""), split)
        rows[key.id] = PairRow(line, first, second, key)
    return rows, tuple(dropped)


def _time(cell: str, where: str, default: float) -> float:
    if not cell:
        return default
    try:
        time = float(cell)
    except ValueError:
        time = math.nan
    if not (math.isfinite(time) and time >= 0):
        raise SourceError(f"{where}: time must be a number of seconds, 0 or more. Received: {cell[:40]!r}")
    return time


def check_split(cell: str, where: str) -> str:
    """A split as it is written down, lower case; a SourceError if it isn't one. `where` is for the message."""
    if cell.lower() not in _SPLITS:
        raise SourceError(f"{where}: split must be train, val, test or empty. Received: {cell[:40]!r}")
    return cell.lower()
