"""The pairs that a source yields, and the protocol between a source and the builder of records."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from keras_a2i.config import FeatureConfig


@dataclasses.dataclass(frozen=True, slots=True)
class PairKey:
    """Identifies a pair before it is read; enough to assign it to a split.

    Attributes:
        id: unique within the records, for instance "clips/beach.mp4@12".
        source_id: the video, speaker or recording that the pair was cut from.
        time: seconds from the start of that recording. Records hold it as float32: a build refuses times of a source
            that differ by more than a microsecond, but not as float32, such as seconds since 1970.
        label: class name, or "".
        split: the split that the source itself requests ("train", "val", "test"), or "".
    """

    id: str
    source_id: str
    time: float = 0.0
    label: str = ""
    split: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A clip of audio and its image.

    Attributes:
        key: id, recording, time, label and split.
        image: uint8 array (size, size, channels), or the bytes of a PNG or JPEG file that already has that size.
        waveform: float32 (n_samples,) in [-1, 1], mono, at the sample rate of the features; None if only features are
            known.
        features: float32 (n_features,), MFCC or an embedding; None if they are to be computed from the waveform.
        origin: name of the file it was read from, for messages.
        factors: the hidden factors of a rendered pair by name, its known truth; else empty.
        note: a defect of the files that didn't prevent the pair, such as "a.mp3 breaks off at 0.3 s"; else "".
    """

    key: PairKey
    image: np.ndarray | bytes
    waveform: np.ndarray | None = None
    features: np.ndarray | None = None
    origin: str = ""
    factors: dict[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Dropped:
    """An input without a pair, and the reason: a whole file found while planning, or a clip found while reading."""

    id: str
    reason: str

    @property
    def message(self) -> str:
        """The id and the reason; only the reason if it begins with the id, such as the name of a file."""
        return self.reason if self.reason.startswith(f"{self.id} ") else f"{self.id}: {self.reason}"


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """The smallest part of a source that is read separately, from start to end: a video, or consecutive csv rows.

    Attributes:
        name: unique within the source.
        keys: its pairs in reading order: a tuple, or `PairKeys` where there may be many. `Source.read` yields each of
            them, or a `Dropped` with its id.
        cost: relative time to read it, used to spread units over shards.
        stamp: changes when the files behind the unit do (sizes and modification times): finished records are complete
            and an interrupted build resumes only if it is unchanged. A source without files has none.
    """

    name: str
    keys: Sequence[PairKey]
    cost: float = 1.0
    stamp: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The content of a source.

    Attributes:
        units: the parts to read.
        dropped: inputs that are already known to be unusable.
        features: configuration of the pairs' features if the source found it in its files (the length of
            embeddings); None if it is the one that the source was created with.
    """

    units: tuple[Unit, ...]
    dropped: tuple[Dropped, ...] = ()
    features: FeatureConfig | None = None


class Source(Protocol):
    """A source of pairs. It must be picklable, because units are read in other processes.

    A source may have these optional attributes and methods:

    - `features` (`FeatureConfig`) and `image` (`ImageConfig`): the configurations that the pairs are made for; records
      are then built with the same configurations.
    - `split_by_source`: True for short clips of many recordings; by default, whole recordings are then held out.
    - `paths`: files without which the source can't be read; a build on several machines checks at its start that every
      machine has them.
    - `select(units)`: returns a source that can only read these units, which is sent to the process that reads them; a
      source of very many files should have it.
    - `read_at(unit, positions)`: yields what `read` yields for the keys at ascending positions; for a source whose
      `read` needs all keys of a unit, because they are moments of one file.
    """

    def plan(self) -> Plan:
        """Lists units and pair keys without decoding anything, in an order that depends on the input alone."""
        ...

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Yields the pair of every key of the unit, in order, or the reason why there is none."""
        ...

    def describe(self) -> dict[str, Any]:
        """Describes the source for the manifest, without absolute paths.

        Returns:
            Its "kind", its "name", "has_audio" (whether the audio of its pairs exists, which isn't so for precomputed
            features), "continuous" if they are moments of longer recordings, and the options that shape its pairs.
        """
        ...
