"""What every source yields, and the contract between a source and the records builder."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from keras_a2i.config import FeatureConfig


@dataclasses.dataclass(frozen=True, slots=True)
class PairKey:
    """Names one pair before it is read: enough to decide its split.

    Attributes:
        id: unique within the source, for instance "clips/beach.mp4@12".
        source_id: the video, speaker or recording the pair was cut from.
        time: seconds from the start of that recording.
        label: class name, or "".
        split: the split the source itself asks for ("train", "val", "test"), or "".
    """

    id: str
    source_id: str
    time: float = 0.0
    label: str = ""
    split: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A piece of sound and its picture.

    Attributes:
        key: name, recording, time, label.
        image: uint8 array (size, size, channels), or the bytes of a PNG/JPEG file that already has that size.
        waveform: float32 (n_samples,) in [-1, 1], mono, at the feature rate; None if only features are known.
        features: float32 (n_features,), MFCC or an embedding; None where they are to be computed from the waveform.
        origin: the file it came from, for messages.
        factors: hidden factors of a synthetic pair by name (its known truth), else empty.
    """

    key: PairKey
    image: np.ndarray | bytes
    waveform: np.ndarray | None = None
    features: np.ndarray | None = None
    origin: str = ""
    factors: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Dropped:
    """An input that gave no pair, and why: a whole file when found while planning, one second when found in reading."""

    id: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """The smallest part of a source that is read on its own in one sequential pass: a video, a run of csv rows.

    Attributes:
        name: unique within the source.
        keys: the pairs it should give, in reading order. `Source.read` yields each of them, or a `Dropped` of its id.
        cost: relative time to read it, used to spread units over shards.
        stamp: changes when the files behind the unit do (sizes and modification times); an interrupted build goes on
            only where it stays the same.
    """

    name: str
    keys: tuple[PairKey, ...]
    cost: float = 1.0
    stamp: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What a source holds.

    Attributes:
        units: to read.
        dropped: inputs already known to be unusable.
        features: configuration of the pairs' features, where the source found it in its files (the length of
            embeddings); None where it is the one the source was made with.
    """

    units: tuple[Unit, ...]
    dropped: tuple[Dropped, ...] = ()
    features: FeatureConfig | None = None


class Source(Protocol):
    """Something pairs can be read from. Must be picklable: units are read in other processes."""

    def plan(self) -> Plan:
        """Lists units and pair keys without decoding anything, in an order that depends on the input alone."""
        ...

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Yields, for every key of the unit in order, the pair or the reason why there is none."""
        ...

    def describe(self) -> dict[str, Any]:
        """What the manifest keeps: the kind, the name and the options that shape its pairs (no absolute paths)."""
        ...
