"""Ready-made vectors (embeddings): reading one vector of a NumPy file, or all of them, checked, as float32.

A vector is named by a reference: `one.npy`, `many.npy:ROW`, `some.npz:KEY` or `some.npz:KEY:ROW`, rows from 0.
"""

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from keras_a2i.config import MAX_EMBEDDING
from keras_a2i.errors import SourceError
from keras_a2i.sources.files import stamp
from keras_a2i.sources.registry import SourceOptions, option

VECTOR_SUFFIXES = (".npy", ".npz")
REFERENCE_COLUMN = "embedding"
MAX_BYTES = 2 << 30
"""Largest size of an array in a `.npz` file, unpacked. A `.npy` file of any size is mapped into memory."""

_NAMES_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class EmbeddingOptions(SourceOptions):
    """Options of sources of embeddings."""

    embedding_name: str = option("", "The model that computed the embeddings, such as CLAP.", metavar="NAME")


def holds_embeddings(columns: Sequence[str]) -> bool:
    """Returns whether a csv with these columns, lower case, holds embeddings and images."""
    return "image" in columns and any(re.fullmatch(rf"{REFERENCE_COLUMN}(_\d+)?", name) for name in columns)


def split_reference(cell: str) -> tuple[str, str]:
    """Splits a reference into the path of the file and the part after its colon, "" if there is none.

    Raises:
        SourceError: if it names no .npy or .npz file.
    """
    found = re.fullmatch(r"(.+?\.np[yz])(?::(.+))?", cell, re.IGNORECASE)
    if found is None:
        raise SourceError("an embedding must be file.npy, file.npy:ROW, file.npz:KEY or file.npz:KEY:ROW")
    return found[1], found[2] or ""


def read_vector(path: pathlib.Path, item: str = "") -> np.ndarray:
    """Reads one vector: of a `.npy` file only that, and an array of a `.npz` file once for all its rows.

    Args:
        path: the file.
        item: ROW, KEY or KEY:ROW, as in a reference; "" for a `.npy` file of one vector.

    Returns:
        float32 (n,).

    Raises:
        SourceError: if there is no such vector, or it hasn't 1 to 16,384 finite numbers.
    """
    if path.suffix.lower() == ".npz":
        names = array_names(path)
        key, _, row = (item, "", "") if item in names else item.rpartition(":")
        if key not in names:
            shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
            raise SourceError(f"{path.name}:KEY must name one of its arrays: {shown}. Received: {item[:80]!r}")
        array = read_array(path, key)
    else:
        array, row = open_array(path), item
    name = f"{path.name}:{item}" if item else path.name
    if row:
        if not (row.isascii() and row.isdigit() and array.ndim == 2 and int(row) < len(array)):
            raise SourceError(f"{name}: a row must be one of an array (rows, numbers). Received: shape {array.shape}")
        array = array[int(row)]
    return check_vectors(array, name, 1)


def read_vectors(path: pathlib.Path) -> np.ndarray:
    """Reads all vectors of a file: a `.npy` file's array, a `.npz` file's array "embeddings" or else all of its arrays.

    Returns:
        Numbers of any type (n, d), those of a `.npy` file mapped into memory; `check_vectors` checks and converts them.

    Raises:
        SourceError: if it isn't such a file, or holds no vectors or vectors of several lengths.
    """
    if path.suffix.lower() == ".npz":
        names = array_names(path)
        arrays = [read_array(path, name) for name in (["embeddings"] if "embeddings" in names else names)]
    else:
        arrays = [open_array(path)]
    if any(array.ndim not in (1, 2) for array in arrays) or len({array.shape[-1] for array in arrays}) != 1:
        shapes = ", ".join(str(array.shape) for array in arrays[:_NAMES_SHOWN]) or "none"
        raise SourceError(f"{path.name} must hold vectors of one length, (d,) or (n, d). Received: {shapes}")
    rows = [np.atleast_2d(array) for array in arrays]
    vectors = rows[0] if len(rows) == 1 else np.concatenate(rows)
    if len(vectors) == 0:
        raise SourceError(f"{path.name} holds no vectors")
    return vectors


def check_vectors(array: np.ndarray, name: str, ndim: int) -> np.ndarray:
    """Checks an array of one or several vectors and converts it to float32.

    Args:
        array: an array read from a file.
        name: its name, for messages.
        ndim: the number of dimensions that it must have, 1 or 2.

    Raises:
        SourceError: unless it holds 1 to 16,384 finite numbers per vector.
    """
    shape = "(d,)" if ndim == 1 else "(n, d)"
    if array.ndim != ndim or not 1 <= array.shape[-1] <= MAX_EMBEDDING:
        hint = f". Name one of its rows: {name}:ROW" if ndim == 1 and array.ndim == 2 else ""
        raise SourceError(
            f"{name} must have the shape {shape} with 1 to {MAX_EMBEDDING} numbers per vector. "
            f"Received: shape {array.shape}{hint}"
        )
    if array.dtype.kind not in "fiu":
        raise SourceError(f"{name} must hold real numbers. Received: dtype {array.dtype}")
    with np.errstate(over="ignore"):
        values = np.asarray(array).astype(np.float32)
    if not np.isfinite(values).all():
        raise SourceError(f"{name} holds NaN or infinite numbers")
    return values


def checked_parts(vectors: np.ndarray, name: str, size: int) -> Iterator[np.ndarray]:
    """Yields vectors (n, d) as `check_vectors` returns them, up to `size` at a time."""
    for start in range(0, len(vectors), size):
        yield check_vectors(vectors[start : start + size], name, 2)


def open_array(path: pathlib.Path) -> np.ndarray:
    """Maps the array of a `.npy` file into memory without reading it; raises a SourceError if it isn't one."""
    return _open(_existing(path), stamp([path]), os.getpid())


def array_names(path: pathlib.Path) -> list[str]:
    """Returns the names of the arrays of a `.npz` file; raises a SourceError if it isn't one."""
    return _open_archive(_existing(path), stamp([path]), os.getpid()).files


def read_array(path: pathlib.Path, name: str) -> np.ndarray:
    """Reads an array of a `.npz` file; cached for the next call.

    Raises:
        SourceError: if it can't be read or has more than 2 GiB.
    """
    return _read_member(_existing(path), name, stamp([path]), os.getpid())


def _existing(path: pathlib.Path) -> pathlib.Path:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "doesn't exist"
        raise SourceError(f"The file of embeddings {path.name} {what}")
    return path


# The process is part of the cache's key: a forked one would share its parent's position in an open file.
@functools.lru_cache(maxsize=8)
def _open(path: pathlib.Path, version: str, process: int) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # NumPy parses headers as Python: a damaged one raises whatever Python does.
        array = None
    if not isinstance(array, np.ndarray):
        raise SourceError(f"{path.name} must be a .npy file of numbers, whole and without Python objects")
    return array


@functools.lru_cache(maxsize=4)
def _open_archive(path: pathlib.Path, version: str, process: int) -> np.lib.npyio.NpzFile:
    try:
        archive = np.load(path, allow_pickle=False)
    except Exception:  # NumPy parses headers as Python: a damaged one raises whatever Python does.
        archive = None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise SourceError(f"{path.name} must be a .npz file, as numpy.savez writes it")
    return archive


@functools.lru_cache(maxsize=4)
def _read_member(path: pathlib.Path, name: str, version: str, process: int) -> np.ndarray:
    archive = _open_archive(path, version, process)
    try:
        assert archive.zip is not None
        size = archive.zip.getinfo(f"{name}.npy").file_size
        if size > MAX_BYTES:
            raise SourceError(f"An array may have at most {MAX_BYTES:,} bytes. Received: {path.name}:{name}, {size:,}")
        array = archive[name]
    except SourceError:
        raise
    except Exception:  # NumPy parses headers as Python: a damaged one raises whatever Python does.
        array = None
    if not isinstance(array, np.ndarray):
        raise SourceError(f"{path.name}:{name} must be an array, whole and without Python objects")
    return array
