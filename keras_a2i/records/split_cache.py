"""One split in memory: decoded once, as tensors for `tf.data` and as views of the same memory for numpy."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from keras_a2i.errors import RecordsError
from keras_a2i.records.decoded_split import DecodedSplit
from keras_a2i.records.split_reader import SplitReader


class SplitCache:
    """Reads a whole split and keeps it.

    Args:
        reader: of the split.

    Attributes:
        images: uint8 (n, size, size, channels).
        label_numbers: int32 (n,).
        skipped: whether damaged records were skipped.

    Raises:
        RecordsError: if every record of the split is damaged.
        CorruptRecordError: at a damaged record, unless the reader skips it.
    """

    def __init__(self, reader: SplitReader):
        decoded = _read_all(reader)
        self.skipped = len(decoded) < reader.count
        with tf.device("CPU"):
            self.images = tf.constant(decoded.images)
            self.label_numbers = tf.constant(decoded.label_numbers)
            self._inputs = {"features": tf.constant(decoded.features)}
        self._decoded = dataclasses.replace(
            decoded, waveforms=None, images=_view(self.images), features=_view(self._inputs["features"])
        ).protected()
        if decoded.waveforms is not None:
            self._keep(decoded.waveforms)

    def add_waveforms(self, reader: SplitReader) -> None:
        """Reads the waveforms, too, where they are not in memory yet."""
        if "waveform" not in self._inputs:
            self._keep(reader.columns(("waveform",))["waveform"])

    def has(self, input: str) -> bool:
        """Whether the "features" or the "waveform" of the split are in memory."""
        return input in self._inputs

    def inputs(self, input: str) -> tf.Tensor:
        """Features as float32 (n, n_features), or waveforms as int16 (n, n_samples)."""
        return self._inputs[input]

    def decoded(self, input: str) -> DecodedSplit:
        """The same as arrays."""
        return dataclasses.replace(self._decoded, input=input)

    def _keep(self, waveforms: np.ndarray) -> None:
        with tf.device("CPU"):
            self._inputs["waveform"] = tf.constant(waveforms)
        self._decoded = dataclasses.replace(self._decoded, waveforms=_view(self._inputs["waveform"]))


def _view(tensor: tf.Tensor) -> np.ndarray:
    """The memory of a tensor as a read-only array."""
    return np.asarray(memoryview(tensor))


def _read_all(reader: SplitReader) -> DecodedSplit:
    """All batches of the reader in one; large arrays are filled in place, so that they exist once."""
    arrays: dict[str, np.ndarray] = {}
    texts: dict[str, list[str]] = {"ids": [], "sources": [], "labels": []}
    factors: list[dict[str, float]] = []
    batch = None
    for batch in reader.batches():
        rows = slice(len(factors), len(factors) + len(batch))
        for name in ("times", "label_numbers", "features", "waveforms", "images"):
            if (part := getattr(batch, name)) is not None:
                if name not in arrays:
                    arrays[name] = np.empty((reader.count, *part.shape[1:]), part.dtype)
                arrays[name][rows] = part
        for name, values in texts.items():
            values += getattr(batch, name).tolist()
        factors += batch.factors
    if batch is None:
        raise RecordsError(
            "Every record of the split is damaged. Build the records again, with overwrite=True (--overwrite)"
        )
    columns: dict[str, Any] = {name: values[: len(factors)] for name, values in arrays.items()}
    columns |= {name: np.array(values) for name, values in texts.items()}
    return dataclasses.replace(batch, factors=factors, **columns)
