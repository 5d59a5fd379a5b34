"""The pairs of an evaluation: what identifies them in memory, images and inputs by row number.

Images and inputs are anything that can be indexed with an array of row numbers: a NumPy array where a split is small,
else an object that reads or generates the rows. Nothing here holds the images of a large split.
"""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from keras_a2i.errors import RecordsError
from keras_a2i.records.records import Records, as_records

MEMORY_BUDGET = 256 << 20
"""Bytes up to which the images of a split, or what a model generates for it, are kept."""
CHUNK = 512
"""Rows that are processed at once; a multiple of every batch size in this room."""
_THUMBNAIL = 32


class Rows(Protocol):
    """Values by row number: `rows[numbers]` is an array (n, ...), `shape` that of all rows together."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Pairs:
    """One split, ordered by source and time.

    Attributes:
        ids, sources, labels: str (n,).
        times: float (n,), seconds within the source.
        features: float32 (n, n_features).
        images: uint8 (n, size, size, channels), by row number.
        factors: hidden factors of rendered pairs, one dictionary per pair (else empty ones).
        inputs: the model's inputs, float32 (n, n_inputs), by row number: features or waveforms.
        waveforms: float32 (n, n_samples) in [-1, 1], by row number; None where the records hold none.
        references: uint8 images by row number, the first image of the pair's source within the split, for a model
            with a reference image; else None.
    """

    ids: np.ndarray
    sources: np.ndarray
    labels: np.ndarray
    times: np.ndarray
    features: np.ndarray
    images: Rows
    factors: list[dict[str, float]]
    inputs: Rows
    waveforms: Rows | None = None
    references: Rows | None = None

    def __len__(self) -> int:
        return len(self.ids)


def labels_known(train: Pairs, held_out: Pairs) -> bool:
    """Whether every pair has a label, and the training pairs two different ones or more."""
    return len(set(train.labels)) > 1 and all(train.labels) and all(held_out.labels)


class _Stored:
    """Images or waveforms of a split in another order, read when they are asked for."""

    def __init__(self, records: Records, split: str, order: np.ndarray, waveforms: bool = False):
        self._records, self._split, self._order, self._waveforms = records, split, order, waveforms
        each = (records.features.n_samples,) if waveforms else records.image.shape
        self.shape = (len(order), *each)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, rows: Any) -> np.ndarray:
        found = self._records.rows(self._split, self._order[rows], "waveform" if self._waveforms else "features")
        return found.inputs if self._waveforms else found.images


class _References:
    """The reference image of every row, each kept once."""

    def __init__(self, records: Records, split: str, sources: np.ndarray):
        names, self._numbers = np.unique(sources, return_inverse=True)
        self._images = records.reference_images(split, names)
        self.shape = (len(sources), *records.image.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._images[self._numbers[rows]]


def require_splits(records: Records, split: str) -> None:
    """Raises a MissingSplitError if the records lack training pairs, or the held-out split that a caller chose."""
    for name in ("train", split):
        records.require_split(name, "An evaluation compares held-out with training pairs", is_choice=name == split)


def read_pairs(
    records: Records | str | os.PathLike[str], split: str, input: str = "features", *, references: bool = False
) -> Pairs:
    """Reads what identifies the pairs of a split, and their images where they fit `MEMORY_BUDGET`.

    Args:
        records: the records, or their folder.
        split: "train", "val" or "test".
        input: "features", or "waveform" for a model whose input is a waveform.
        references: whether the reference images are read, too.

    Raises:
        RecordsError: if the records lack the split, or the waveform where it is the input.
        CorruptRecordError: at a damaged record, naming file and record.
    """
    records = as_records(records)
    if input == "waveform" and not records.has_waveform:
        raise RecordsError(
            f"The records must hold waveforms for a model whose input is a waveform. Received: {records.path}. Build "
            "them from audio and keep the waveform"
        )
    table = records.table(split)
    order = np.lexsort((table.times, table.sources))
    images: Rows = _Stored(records, split, order)
    if len(table) * int(np.prod(records.image.shape)) <= MEMORY_BUDGET:
        images = np.concatenate([images[rows] for rows in chunks_of(len(table))])
    features = table.features[order]
    waveforms = _Stored(records, split, order, waveforms=True) if records.has_waveform else None
    return Pairs(
        ids=table.ids[order],
        sources=table.sources[order],
        labels=table.labels[order],
        times=table.times[order],
        features=features,
        images=images,
        factors=[table.factors[row] for row in order],
        inputs=waveforms if input == "waveform" and waveforms is not None else features,
        waveforms=waveforms,
        references=_References(records, split, table.sources[order]) if references else None,
    )


def chunks_of(n: int, size: int = CHUNK) -> Iterator[np.ndarray]:
    """Row numbers 0 to n - 1, `size` at a time."""
    for start in range(0, n, size):
        yield np.arange(start, min(start + size, n))


def scaled(images: np.ndarray) -> np.ndarray:
    """8-bit images as float32 in [-1, 1]."""
    return images.astype(np.float32) * np.float32(2 / 255) - 1


def thumbnails(images: np.ndarray, size: int = _THUMBNAIL) -> np.ndarray:
    """Means over a grid of `size` x `size` cells, (n, size, size, channels); smaller images stay as they are."""
    n, height, _, channels = images.shape
    if height <= size:
        return images
    cell = height // size
    return images.reshape(n, size, cell, size, cell, channels).mean(axis=(2, 4))


def thumbnails_of(
    images: Rows, size: int = _THUMBNAIL, rows: np.ndarray | None = None, dtype: type = np.float32
) -> np.ndarray:
    """Thumbnails in [-1, 1] of 8-bit or of generated images by row number, a chunk in memory at a time.

    Args:
        images: uint8, or float32 in [-1, 1].
        size: pixels per side.
        rows: which rows; None for all.
        dtype: of the thumbnails, float32 or float16.
    """
    rows = np.arange(len(images)) if rows is None else rows
    parts = (images[rows[chunk]] for chunk in chunks_of(len(rows), rows_that_fit(images)))
    found = (thumbnails(scaled(part) if part.dtype == np.uint8 else part, size) for part in parts)
    return np.concatenate([part.astype(dtype, copy=False) for part in found])


def to_vectors(images: np.ndarray) -> np.ndarray:
    """Images as rows of numbers, float64 (n, values), for exact distances."""
    return images.reshape(len(images), -1).astype(np.float64)


def rows_that_fit(images: Rows, budget: int = MEMORY_BUDGET // 4) -> int:
    """A number of rows whose float32 images take at most `budget` bytes, a multiple of 64 from 64 to `CHUNK`."""
    each = 4 * int(np.prod(images.shape[1:]))
    return max(64, min(CHUNK, budget // each // 64 * 64))
