"""Reading csv files row by row, through pandas, in constant memory."""

import collections
import contextlib
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_a2i.errors import SourceError

_COLUMNS_SHOWN = 8
_CHUNK_ROWS = 8_192
# Cells beyond the header's columns that are read, so that a message can name the line.
_EXTRA_CELLS = 8
_BLOCK = 1 << 20


def read_header(path: pathlib.Path) -> list[str]:
    """Returns the column names of a csv file, lower case.

    Raises:
        SourceError: as `read_rows`.
    """
    for _, cells in _lines(path, _CHUNK_ROWS // 128):
        names = [name.lower() for name in cells]
        repeated = sorted(name for name, count in collections.Counter(names).items() if name and count > 1)
        if repeated:
            raise SourceError(f"The columns of {path.name} must have different names. Received twice: {repeated}")
        return names
    raise SourceError(f"{path.name} is empty. It must start with a line of column names")


def read_rows(path: pathlib.Path, required: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Reads a csv file row by row: UTF-8 with or without a byte order mark, commas, a line of column names first.

    Args:
        path: the file.
        required: columns that it must have, lower case; names in the file may have any case.

    Yields:
        The row's last line in the file, counted from 1, and its cells by column name, stripped. Cells that are missing
        at the end of a row are empty; blank rows are skipped.

    Raises:
        SourceError: if the file is missing, isn't such a csv, lacks a column, holds no rows, or a row has too many
            cells.
    """
    names = read_header(path)
    required = list(required)
    missing = [name for name in required if name not in names]
    if missing:
        shown = ", ".join(repr(name[:40]) for name in names[:_COLUMNS_SHOWN])
        raise SourceError(
            f"{path.name} must have the columns {', '.join(required)}, separated by commas. "
            f"Missing: {', '.join(missing)}. Received: {shown}{', ...' if len(names) > _COLUMNS_SHOWN else ''}"
        )
    lines = _lines(path, _CHUNK_ROWS)
    next(lines)
    count = 0
    for line, cells in lines:
        if any(cells[len(names) :]):
            raise SourceError(_too_many_cells(path, line, len(names), len(cells)))
        count += 1
        yield line, dict(zip(names, cells, strict=False))
    if count == 0:
        raise SourceError(f"{path.name} holds no rows below its column names")


def read_unnamed_rows(
    path: pathlib.Path, n_columns: int, chunk_rows: int = _CHUNK_ROWS
) -> Iterator[tuple[int, list[str]]]:
    """Reads a csv file without column names row by row, in which lines that begin with # are comments.

    Args:
        path: the file.
        n_columns: number of cells that a row should have.
        chunk_rows: number of rows that are read together.

    Yields:
        The row's last line in the file, counted from 1, and its cells, stripped: `n_columns`, or more if it has more
        that aren't empty. Quotes may follow a blank. Blank rows are skipped.

    Raises:
        SourceError: if the file is missing or isn't a csv, or a row has many cells too many.
    """
    for line, cells in _lines(path, chunk_rows, n_columns):
        while len(cells) > n_columns and not cells[-1]:
            cells.pop()
        if not cells[0].startswith("#"):
            yield line, cells


def numbered_columns(path: pathlib.Path, prefix: str) -> list[str]:
    """Returns the columns of a csv called prefix_1 to prefix_N, in this order; [] if there are none.

    Raises:
        SourceError: as `read_rows`, or if a number is missing.
    """
    header = read_header(path)
    count = sum(bool(re.fullmatch(rf"{prefix}_\d+", name)) for name in header)
    names = [f"{prefix}_{i + 1}" for i in range(count)]
    if not set(names) <= set(header):
        raise SourceError(f"{path.name} must have the columns {prefix}_1, {prefix}_2 and so on without a gap")
    return names


def read_numbers(cells: dict[str, str], names: Sequence[str], what: str) -> np.ndarray:
    """Converts cells of a row to finite float32 (n,).

    Args:
        cells: by column name.
        names: of the columns.
        what: a noun for one of them, for messages.

    Raises:
        SourceError: if one isn't a finite number.
    """
    try:
        with np.errstate(over="ignore"):
            values = np.array([float(cells[name]) for name in names]).astype(np.float32)
    except ValueError:
        raise SourceError(f"{what} isn't a number") from None
    if not np.isfinite(values).all():
        raise SourceError(f"{what} is NaN or infinite")
    return values


def _lines(path: pathlib.Path, chunk_rows: int, n_cells: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Yields (line, stripped cells) of every row that isn't blank, with at least as many cells as the first row.

    Where the file has no names but `n_cells` a row, quotes may follow a blank, and rows have at least that many.
    """
    with _read_errors(path):
        options: dict[str, Any] = {"engine": _engine(path), "skipinitialspace": n_cells > 0}
        n_columns, line = max(n_cells, _read_csv(path, nrows=1, **options).shape[1]), 0
        options |= {"names": range(n_columns + _EXTRA_CELLS), "skip_blank_lines": False, "chunksize": chunk_rows}
        with _read_csv(path, **options) as chunks:
            for chunk in chunks:
                if options["engine"] == "python":
                    chunk = chunk.fillna("")  # cells that a row lacks
                columns = [column.tolist() for _, column in chunk.items()]
                while len(columns) > n_columns and not any(columns[-1]):
                    columns.pop()
                multiline = any("\n" in cell or "\r" in cell for column in columns for cell in column)
                for row in zip(*columns, strict=True):
                    line += 1
                    if multiline:
                        line += sum(len(re.findall(r"\r\n|\r|\n", cell)) for cell in row)
                    cells = [cell.strip() for cell in row]
                    while len(cells) > n_columns and not cells[-1]:
                        cells.pop()
                    if any(cells):
                        yield line, cells


def _read_csv(path: pathlib.Path, **options: Any) -> Any:
    import pandas

    return pandas.read_csv(
        path, dtype=str, header=None, na_filter=False, encoding="utf-8-sig", compression=None, **options
    )


def _engine(path: pathlib.Path) -> str:
    """The fast engine of pandas; where a file has a NUL, at which it ends a cell before pandas 3, the other one."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if b"\0" in block:
                return "python"
    return "c"


@contextlib.contextmanager
def _read_errors(path: pathlib.Path) -> Iterator[None]:
    """Turns the errors of reading into sentences about the file; an empty file has no rows."""
    import pandas

    try:
        yield
    except pandas.errors.EmptyDataError:
        return
    except UnicodeDecodeError:
        raise SourceError(f"{path.name} must be a csv file in UTF-8. Save it as UTF-8 text") from None
    except pandas.errors.ParserError as error:
        if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
            columns, line, cells = map(int, found.groups())
            raise SourceError(_too_many_cells(path, line, columns - _EXTRA_CELLS, cells)) from None
        reason = str(error).split("C error: ")[-1].strip()
        if found := re.search(r"EOF inside string starting at row (\d+)", reason):
            reason = f"the quoted cell that begins in row {int(found[1]) + 1} has no end"
        raise SourceError(f"{path.name} isn't a well-formed csv file: {reason}") from None
    except OSError as error:
        raise SourceError(f"{path.name} can't be read: {error.strerror}") from None


def _too_many_cells(path: pathlib.Path, line: int, n_columns: int, n_cells: int) -> str:
    return (
        f"{path.name}, line {line}: a row must have one cell for each of the {n_columns} columns. "
        f"Received: {n_cells} cells. Put quotes around a cell that contains a comma"
    )
