"""The rows of the csv files of AVSpeech, VGGSound and AudioSet, and the files that they have."""

import array
import dataclasses
import itertools
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np

from keras_a2i.errors import SourceError
from keras_a2i.media.file_names import printable_name
from keras_a2i.sources.clip_files import YOUTUBE_ID, ClipFiles, FoundFile
from keras_a2i.sources.csv_table import read_unnamed_rows
from keras_a2i.sources.pair import Dropped, PairKey
from keras_a2i.sources.text_column import CHUNK_ROWS, ColumnWriter, TextColumn
from keras_a2i.sources.text_index import TextIndex
from keras_a2i.sources.video import ROUNDING

VGGSOUND_SECONDS = 10.0
"""Duration of a clip of VGGSound, whose csv states the start alone."""

_SPLITS = ("train", "val", "test")
_LABEL_ID = re.compile(r"/[a-z]/\w+")
_TEXTS = ("name", "id", "label", "split")
_N_NAMED = 3


class ClipRow(NamedTuple):
    """A valid row: start and end in seconds of the video, and the centre of the face as shares of the frame or NaN."""

    id: str
    start: float
    end: float
    x: float = math.nan
    y: float = math.nan
    label: str = ""
    split: str = ""

    @property
    def name(self) -> str:
        """The id with the times; the clip's name."""
        return f"{self.id}_{self.start:.12g}_{self.end:.12g}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the rows of a data set are written.

    Attributes:
        kind: the name of the data set.
        columns: the names of the cells.
        parse: returns the row of its cells; raises a SourceError with the reason if they aren't valid.
        by_start: whether the file of a clip may state the start alone.
    """

    kind: str
    columns: str
    parse: Callable[[list[str]], ClipRow]
    by_start: bool

    @property
    def n_columns(self) -> int:
        """The number of cells."""
        return self.columns.count(",") + 1

    def is_valid(self, cells: list[str]) -> bool:
        """Returns whether cells are a row of the data set."""
        try:
            self.parse(cells)
        except SourceError:
            return False
        return True


class Clip(NamedTuple):
    """What is read of a row: its file, the number of its pairs, and its times and place."""

    path: str
    is_clip: bool
    n_pairs: int
    start: float
    x: float
    y: float


@dataclasses.dataclass(frozen=True, eq=False)
class ClipTable:
    """The clips of a csv that have a file, in columns.

    Attributes:
        n_rows: the number of all rows.
        n_found: the number of valid rows that have a file, used or not.
        n_missing: the number of valid rows that have none.
        missing: the names of the first of these with their lines.
        dropped: the rows that can't be used.
        lines: the lines of the clips, integers (clips,).
        n_pairs: the numbers of their pairs, integers (clips,).
        rows: their places in `columns`, integers (clips,).
        columns: the valid rows that have a file.
        paths: the files.
    """

    n_rows: int
    n_found: int
    n_missing: int
    missing: tuple[str, ...]
    dropped: tuple[Dropped, ...]
    lines: np.ndarray
    n_pairs: np.ndarray
    rows: np.ndarray
    columns: "Columns"
    paths: TextColumn

    def __len__(self) -> int:
        return len(self.lines)

    def describe_missing(self) -> str:
        """Returns a few of the rows without a file, and the number of the others."""
        others = self.n_missing - len(self.missing)
        return ", ".join(self.missing) + (f" and {others:,} more" if others else "")

    def clips(self, start: int, stop: int) -> "Clips":
        """Returns some consecutive clips."""
        return Clips(self, range(start, stop))

    def clip(self, position: int) -> Clip:
        """Returns one clip."""
        columns, row = self.columns, int(self.rows[position])
        start, _, x, y = columns.numbers[row].tolist()
        path, is_clip = self.paths[int(columns.files[row])], bool(columns.is_clip[row])
        return Clip(path, is_clip, int(self.n_pairs[position]), start, x, y)

    def keys(self, duration: float) -> Iterator[PairKey]:
        """Yields the keys of all pairs."""
        for position in range(0, len(self), CHUNK_ROWS):
            rows = self.rows[position : position + CHUNK_ROWS]
            texts = (self.columns.texts[name].take(rows) for name in _TEXTS)
            counts = self.n_pairs[position : position + CHUNK_ROWS].tolist()
            starts = self.columns.numbers[rows, 0].tolist()
            for name, id_, label, split, n_pairs, start in zip(*texts, counts, starts, strict=True):
                for k in range(n_pairs):
                    offset = round(k * duration, 6)
                    yield PairKey(f"{name}@{offset:.12g}", id_, round(start + offset, 6), label, split)


class Clips(Sequence[Clip]):
    """Some clips of a table; a `Clip` exists only while it is used. Pickled, it becomes a tuple of its own clips."""

    __slots__ = ("_positions", "_table")

    def __init__(self, table: ClipTable, positions: range):
        self._table, self._positions = table, positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Clip: ...

    @overload
    def __getitem__(self, index: slice) -> "Clips": ...

    def __getitem__(self, index: int | slice) -> "Clip | Clips":
        if isinstance(index, slice):
            return Clips(self._table, self._positions[index])
        return self._table.clip(self._positions[index])

    def __reduce__(self) -> tuple[type, tuple[list[Clip]]]:
        return tuple, (list(self),)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The valid rows that have a file.

    Attributes:
        lines, files: the line and the number of the file of each, integers (rows,).
        is_clip: whether the file is the clip itself, (rows,).
        numbers: start, end, x and y, float64 (rows, 4).
        texts: the columns name, id, label and split.
    """

    lines: np.ndarray
    files: np.ndarray
    is_clip: np.ndarray
    numbers: np.ndarray
    texts: dict[str, TextColumn]


class _ColumnsWriter:
    """The columns while they grow row by row."""

    def __init__(self) -> None:
        self._lines, self._files, self._is_clip = array.array("q"), array.array("q"), array.array("b")
        self._numbers = array.array("d")
        self._texts = {name: ColumnWriter() for name in _TEXTS}

    def append(self, line: int, row: ClipRow, file: FoundFile) -> None:
        self._lines.append(line)
        self._files.append(file.number)
        self._is_clip.append(file.is_clip)
        self._numbers.extend((row.start, row.end, row.x, row.y))
        for name, writer in self._texts.items():
            writer.append(getattr(row, name))

    def columns(self) -> Columns:
        return Columns(
            lines=np.array(self._lines, np.int64),
            files=np.array(self._files, np.int64),
            is_clip=np.array(self._is_clip, bool),
            numbers=np.array(self._numbers).reshape(-1, 4),
            texts={name: writer.column() for name, writer in self._texts.items()},
        )


def read_clips(path: pathlib.Path, layout: Layout, files: ClipFiles, duration: float, *, id_is_clip: bool) -> ClipTable:
    """Reads a csv of clips, in chunks; rows without a file are only counted.

    Args:
        path: the csv, without column names.
        layout: how its rows are written.
        files: the files that there are.
        duration: seconds of a pair.
        id_is_clip: whether a file that is named by the id alone is the clip and not the whole video.

    Raises:
        SourceError: as `read_unnamed_rows`, or if there are no rows.
    """
    writer, unusable, named = _ColumnsWriter(), list[tuple[int, str]](), list[str]()
    n_rows = missing = 0
    lines = read_unnamed_rows(path, layout.n_columns)
    while batch := list(itertools.islice(lines, CHUNK_ROWS)):
        n_rows += len(batch)
        valid: list[tuple[int, ClipRow]] = []
        for line, cells in batch:
            try:
                valid.append((line, layout.parse(cells)))
            except SourceError as error:
                unusable.append((line, str(error)))
        rows = [row for _, row in valid]
        found = files.find(rows, by_start=layout.by_start, id_is_clip=id_is_clip)
        for (line, row), file in zip(valid, found, strict=True):
            if file is not None:
                writer.append(line, row, file)
                continue
            missing += 1
            if len(named) < _N_NAMED:
                named.append(f"{row.name} (line {line})")
    if n_rows == 0:
        raise SourceError(f"{path.name} holds no rows")
    columns = writer.columns()
    n_pairs = ((columns.numbers[:, 1] - columns.numbers[:, 0] + ROUNDING) / duration).astype(np.int64)
    usable, reasons = _select(columns, n_pairs, duration, files.paths)
    unusable = sorted([*unusable, *reasons])
    return ClipTable(
        n_rows=n_rows,
        n_found=len(columns.lines),
        n_missing=missing,
        missing=tuple(named),
        dropped=tuple(Dropped(f"{path.name} line {line}", reason) for line, reason in unusable),
        lines=columns.lines[usable],
        n_pairs=n_pairs[usable],
        rows=usable,
        columns=columns,
        paths=files.paths,
    )


def _select(
    columns: Columns, n_pairs: np.ndarray, duration: float, paths: TextColumn
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Finds the rows that are used, and the lines of the others with the reasons."""
    lines, files, rows = columns.lines, columns.files, np.arange(len(columns.lines))
    same = TextIndex(columns.texts["name"]).first_rows()
    repeated = same != rows
    short = ~repeated & (n_pairs == 0)
    # A clip that is cut already can be only one row's.
    cut = ~(repeated | short) & columns.is_clip
    shared = cut & (np.bincount(files[cut], minlength=len(paths) + 1)[files] > 1)
    reasons = [(int(lines[row]), f"the same clip as line {lines[same[row]]}") for row in rows[repeated].tolist()]
    for row in rows[short].tolist():
        start, end = columns.numbers[row, :2]
        reasons.append((int(lines[row]), f"the clip lasts {end - start:.2f} s; a pair has {duration:g} s"))
    for row in rows[shared].tolist():
        reasons.append(
            (int(lines[row]), f"{printable_name(paths[int(files[row])])} could be the clip of other rows too")
        )
    return rows[~(repeated | short | shared)], reasons


def parse_avspeech(cells: list[str]) -> ClipRow:
    """Parses id,start,end,x,y."""
    _check_number(cells, 5)
    return ClipRow(_id(cells[0]), *_span(cells[1], cells[2]), _share(cells[3], "x"), _share(cells[4], "y"))


def parse_vggsound(cells: list[str]) -> ClipRow:
    """Parses id,start,label,split; the clip is ten seconds long."""
    _check_number(cells, 4)
    split = cells[3].lower()
    if split not in _SPLITS:
        raise SourceError(f"split must be train, val or test. Received: {cells[3][:40]!r}")
    start = _seconds(cells[1], "start")
    return ClipRow(_id(cells[0]), start, start + VGGSOUND_SECONDS, label=cells[2], split=split)


def parse_audioset(cells: list[str]) -> ClipRow:
    """Parses id,start,end,labels; the label is the first of the labels, such as /m/09x0r."""
    _check_number(cells[:4], 4)
    label = cells[3].partition(",")[0].strip()
    if not _LABEL_ID.fullmatch(label):
        raise SourceError(f"labels must begin with the id of a label such as /m/09x0r. Received: {cells[3][:40]!r}")
    return ClipRow(_id(cells[0]), *_span(cells[1], cells[2]), label=label)


AVSPEECH = Layout("avspeech", "id,start,end,x,y", parse_avspeech, by_start=False)
VGGSOUND = Layout("vggsound", "id,start,label,split", parse_vggsound, by_start=True)
AUDIOSET = Layout("audioset", "id,start,end,labels", parse_audioset, by_start=True)


def _check_number(cells: list[str], n_columns: int) -> None:
    if len(cells) != n_columns:
        quotes = ". Put quotes around a cell that contains a comma" if len(cells) > n_columns else ""
        raise SourceError(f"a row must have {n_columns} cells. Received: {len(cells)}{quotes}")


def _id(cell: str) -> str:
    if not YOUTUBE_ID.fullmatch(cell):
        raise SourceError(f"id must be a YouTube id: 11 letters, digits, - or _. Received: {cell[:40]!r}")
    return cell


def _span(start: str, end: str) -> tuple[float, float]:
    times = _seconds(start, "start"), _seconds(end, "end")
    if times[0] >= times[1]:
        raise SourceError(f"end must be after start. Received: start={times[0]:.12g} and end={times[1]:.12g}")
    return times


def _seconds(cell: str, name: str) -> float:
    time = _number(cell)
    if not (math.isfinite(time) and time >= 0):
        raise SourceError(f"{name} must be a number of seconds, 0 or more. Received: {cell[:40]!r}")
    return time


def _share(cell: str, name: str) -> float:
    share = _number(cell)
    if not 0 <= share <= 1:
        raise SourceError(f"{name} must be a share of the frame, 0 to 1. Received: {cell[:40]!r}")
    return share


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
