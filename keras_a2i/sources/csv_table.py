"""What the csv sources share: reading rows, and keeping the paths they name inside the csv's folder."""

import collections
import csv
import hashlib
import pathlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from keras_a2i.errors import SourceError

_COLUMNS_SHOWN = 8


def read_header(path: pathlib.Path) -> list[str]:
    """Column names of a csv file, lower case.

    Raises:
        SourceError: as `read_rows`.
    """
    for _, cells in _lines(path):
        names = [name.strip().lower() for name in cells]
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
        The row's last line in the file, counted from 1, and its cells by column name, stripped. A row that is too
        short ends in empty cells; blank rows are passed over.

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
    lines = _lines(path)
    next(lines)
    count = 0
    for line, cells in lines:
        if any(cell.strip() for cell in cells[len(names) :]):
            raise SourceError(
                f"{path.name}, line {line}: a row must have one cell for each of the {len(names)} columns. "
                f"Received: {len(cells)} cells. Put quotes around a cell that contains a comma"
            )
        count += 1
        cells += [""] * (len(names) - len(cells))
        yield line, {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
    if count == 0:
        raise SourceError(f"{path.name} holds no rows below its column names")


def numbered_columns(path: pathlib.Path, prefix: str) -> list[str]:
    """Columns of a csv called prefix_1 to prefix_N, in this order; [] where there are none.

    Raises:
        SourceError: as `read_rows`, or if a number is left out.
    """
    header = read_header(path)
    count = sum(bool(re.fullmatch(rf"{prefix}_\d+", name)) for name in header)
    names = [f"{prefix}_{i + 1}" for i in range(count)]
    if not set(names) <= set(header):
        raise SourceError(f"{path.name} must have the columns {prefix}_1, {prefix}_2 and so on without a gap")
    return names


def read_numbers(cells: dict[str, str], names: Sequence[str], what: str) -> np.ndarray:
    """Cells of a row as finite float32 (n,).

    Args:
        cells: by column name.
        names: of the columns.
        what: one of them is, for messages.

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


def _lines(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            # strict: a quote that is never closed would otherwise swallow the rows after it unnoticed.
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
    except UnicodeDecodeError:
        raise SourceError(f"{path.name} must be a csv file in UTF-8. Save it as UTF-8 text") from None
    except csv.Error as error:
        raise SourceError(f"{path.name} isn't a well-formed csv file, line {reader.line_num}: {error}") from None
    except OSError as error:
        raise SourceError(f"{path.name} can't be read: {error.strerror}") from None


def relative_path(cell: str, column: str) -> str:
    """Checks a path named in a csv without touching the disk.

    Args:
        cell: path relative to the csv's folder, with either slash.
        column: its column, for the message.

    Returns:
        The normalised path with forward slashes.

    Raises:
        SourceError: if it is empty, absolute or leads out of the folder. The message never repeats the path: it goes
            into the manifest.
    """
    if not cell or "\0" in cell:
        raise SourceError(f"the {column} path is {'not a path' if cell else 'empty'}")
    cell = cell.replace("\\", "/")
    if pathlib.PurePosixPath(cell).is_absolute() or pathlib.PureWindowsPath(cell).drive:
        raise SourceError(f"the {column} path is absolute; it must be relative to the csv's folder")
    path = posixpath.normpath(cell)
    if path.split("/")[0] in ("..", "."):
        raise SourceError(f"the {column} path leads out of the csv's folder")
    return path


def file_within(folder: pathlib.Path, path: str) -> pathlib.Path:
    """The file at a relative path, if it lies in the folder once symbolic links are followed.

    Args:
        folder: the csv's folder, resolved.
        path: as `relative_path` returns it.

    Raises:
        SourceError: if there is no such file, or a link leads out of the folder.
    """
    try:
        file = (folder / path).resolve(strict=True)
    except (OSError, RuntimeError):
        raise SourceError(f"{path} doesn't exist") from None
    if not file.is_relative_to(folder):
        raise SourceError(f"{path} is a link that leads out of the csv's folder")
    if not file.is_file():
        raise SourceError(f"{path} isn't a file")
    return file


def stamp(files: Iterable[pathlib.Path]) -> str:
    """A short digest of the files' sizes and modification times."""
    digest = hashlib.sha256()
    for file in files:
        try:
            status = file.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(b"missing\n")
    return digest.hexdigest()[:16]
