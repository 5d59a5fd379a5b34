"""Pairs of a split by row number, read from the shards when they are asked for: memory for what is asked, not more."""

import pathlib

import numpy as np

from keras_a2i.records.example import decode_factors, decode_image, parse_examples
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.tfrecord import read_records

_FRAMING_BEFORE, _FRAMING_AFTER = 12, 4
_PARSED_AT_ONCE = 256


class PairIndex:
    """Where every pair of a split lies on the disk, and everything about it but its image and its waveform.

    The constructor reads the split once, checks every checksum and decodes no image.

    Args:
        records: a records folder.
        split: one of its splits.

    Attributes:
        ids, sources, labels: str (n,), in the order of the shards.
        times: float64 (n,), seconds within the source.
        features: float32 (n, n_features).
        factors: hidden factors of rendered pairs, one dictionary per pair (else empty ones).

    Raises:
        RecordsError: if the folder holds no such records or split.
        CorruptRecordError: at a damaged record, naming file and record.
    """

    def __init__(self, records: str | pathlib.Path, split: str):
        self.manifest = Manifest.read(records)
        self._files = [pathlib.Path(records) / shard.file for shard in self.manifest.shards_of(split)]
        places, parts, pending = [], [], []
        for number, file in enumerate(self._files):
            offset = _FRAMING_BEFORE
            for data in read_records(file):
                places.append((number, offset, len(data)))
                offset += len(data) + _FRAMING_AFTER + _FRAMING_BEFORE
                pending.append(data)
                if len(pending) == _PARSED_AT_ONCE:
                    parts.append(self._parse(pending))
                    pending = []
        if pending:
            parts.append(self._parse(pending))
        self._places = np.array(places, np.int64).reshape(-1, 3)
        texts = {name: [str(v, "utf-8") for part in parts for v in part[name]] for name in ("id", "source_id", "label")}
        self.ids, self.sources, self.labels = (np.array(texts[name]) for name in ("id", "source_id", "label"))
        self.times = np.concatenate([part["time"] for part in parts]).astype(np.float64)
        self.features = np.concatenate([part["features"] for part in parts])
        self.factors = [decode_factors(value) for part in parts for value in part["factors"]]

    def __len__(self) -> int:
        return len(self._places)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """The images of the given rows, uint8 (n, size, size, channels)."""
        shape = self.manifest.image.shape
        images = np.empty((len(rows), *shape), np.uint8)
        for i, data in enumerate(parse_examples(self._read(rows), 0, None, ("image",))["image"]):
            images[i] = decode_image(data, shape)
        return images

    def waveforms(self, rows: np.ndarray) -> np.ndarray:
        """The waveforms of the given rows, int16 (n, n_samples)."""
        return np.asarray(
            parse_examples(self._read(rows), 0, self.manifest.features.n_samples, ("waveform",))["waveform"]
        )

    def _read(self, rows: np.ndarray) -> list[bytes]:
        found: list[bytes] = [b""] * len(rows)
        for number in np.unique(self._places[rows, 0]):
            with self._files[number].open("rb") as file:
                for i in np.flatnonzero(self._places[rows, 0] == number):
                    _, offset, length = self._places[rows[i]]
                    file.seek(offset)
                    found[i] = file.read(length)
        return found

    def _parse(self, serialized: list[bytes]) -> dict[str, np.ndarray]:
        names = ("id", "source_id", "label", "time", "features", "factors")
        batch = parse_examples(serialized, self.manifest.features.n_features, None, names)
        return {name: value.numpy() for name, value in batch.items()}
