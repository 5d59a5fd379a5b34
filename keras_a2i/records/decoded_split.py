"""Pairs as numpy arrays with one row per pair: a table without images, and decoded splits or batches with images."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from keras_a2i.counts import counted
from keras_a2i.media.conversion import from_int16

INPUTS = ("features", "waveform")
"""The kinds of a model's input: a feature vector, or the waveform itself."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PairTable:
    """Everything about pairs except their images and waveforms.

    The arrays of a whole split are shared by everything that asked for them, and read-only.

    Attributes:
        ids: str (n,).
        sources: str (n,), the source id of every pair.
        times: float64 (n,), seconds from the start of the source.
        labels: str (n,), "" for a pair without a label.
        label_numbers: int32 (n,), the position of the label among the sorted labels of the records.
        features: float32 (n, n_features).
        factors: the hidden factors of rendered pairs by name, one dictionary per pair; empty for other pairs.
    """

    ids: np.ndarray
    sources: np.ndarray
    times: np.ndarray
    labels: np.ndarray
    label_numbers: np.ndarray
    features: np.ndarray
    factors: Sequence[dict[str, float]]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        names = [name for name in ("features", "waveforms", "images") if getattr(self, name, None) is not None]
        shapes = ", ".join(f"{name} {getattr(self, name).shape}" for name in names)
        return f"{type(self).__name__}({counted(len(self), 'pair')}: {shapes})"

    def __getitem__(self, rows: slice | np.ndarray | Sequence[int]) -> Self:
        """The given rows, by a slice, by numbers or by a mask."""
        numbers = np.arange(len(self))[rows]
        arrays: dict[str, Any] = {
            field.name: value[rows]
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray)
        }
        return dataclasses.replace(self, factors=[self.factors[number] for number in numbers], **arrays)

    def protected(self) -> Self:
        """Makes the arrays read-only, because several users share them, and returns the object."""
        for field in dataclasses.fields(self):
            if isinstance(value := getattr(self, field.name), np.ndarray):
                value.setflags(write=False)
        return self


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DecodedSplit(PairTable):
    """Pairs with their images: a whole split, or a part of it.

    Attributes:
        input: "features" or "waveform": what `inputs` returns.
        waveforms: int16 (n, n_samples), or None where they were not read.
        images: uint8 (n, size, size, channels).
    """

    input: str
    waveforms: np.ndarray | None
    images: np.ndarray

    @property
    def inputs(self) -> np.ndarray:
        """The model's inputs: float32 (n, n_features), or float32 (n, n_samples) in [-1, 1] for waveforms.

        Waveforms are stored as int16 and converted at every access; slice a large split first: `split[:64].inputs`.
        """
        if self.input == "features":
            return self.features
        assert self.waveforms is not None
        return from_int16(self.waveforms)
