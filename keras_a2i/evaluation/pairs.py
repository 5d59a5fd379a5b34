"""The pairs an evaluation looks at: both splits, decoded, with who they are."""

import dataclasses
import pathlib

import numpy as np

from keras_a2i.media.conversion import from_int16, from_uint8
from keras_a2i.records.dataset import read_examples
from keras_a2i.records.example import decode_factors


@dataclasses.dataclass(frozen=True)
class Pairs:
    """One split as arrays, by source and time; pictures stay 8-bit.

    Attributes:
        ids, sources, labels: str (n,).
        times: float (n,), seconds within the source.
        features: float32 (n, n_features).
        images: uint8 (n, size, size, channels).
        factors: hidden factors of synthetic pairs, one dictionary a pair (else empty ones).
        inputs: what the model is given, float32 (n, n_inputs): features, or sound.
    """

    ids: np.ndarray
    sources: np.ndarray
    labels: np.ndarray
    times: np.ndarray
    features: np.ndarray
    images: np.ndarray
    factors: list[dict[str, float]]
    inputs: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def read_pairs(records: str | pathlib.Path, split: str, inputs: str = "features") -> Pairs:
    """Reads a split into memory, ordered by source and time.

    Args:
        records: the records folder.
        split: "train", "val" or "test".
        inputs: "features", or "waveform" for a model that takes sound.

    Raises:
        RecordsError, CorruptRecordError: as `read_examples`.
    """
    batches = list(read_examples(records, split, waveform=inputs == "waveform").as_numpy_iterator())
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    order = np.lexsort((joined["time"], joined["source_id"]))
    texts = {name: np.array([value.decode() for value in joined[name][order]]) for name in ("id", "source_id", "label")}
    given = joined[inputs][order]
    return Pairs(
        ids=texts["id"],
        sources=texts["source_id"],
        labels=texts["label"],
        times=joined["time"][order].astype(np.float64),
        features=joined["features"][order],
        images=joined["image"][order],
        factors=[decode_factors(value) for value in joined["factors"][order]],
        inputs=from_int16(given) if inputs == "waveform" else given,
    )


def scaled(images: np.ndarray) -> np.ndarray:
    """8-bit pictures as float32 in [-1, 1]."""
    return from_uint8(images)
