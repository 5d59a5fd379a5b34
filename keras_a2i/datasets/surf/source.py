"""The embedded data set `synthetic:surf`: pairs of a shore whose audio and image share known hidden factors."""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.datasets.rendered import RenderedType
from keras_a2i.datasets.surf.audio import render_audio
from keras_a2i.datasets.surf.factors import AUDIO_STREAM, factors_at, random_stream
from keras_a2i.datasets.surf.image import render_image
from keras_a2i.errors import UsageError
from keras_a2i.sources.pair import Pair, PairKey, Plan, Unit
from keras_a2i.sources.registry import SourceOptions, option, register_source

NAME = "synthetic:surf"
DEFAULT_PAIRS = 480
MIN_PAIRS, MAX_PAIRS = 2, 100_000
MIN_SAMPLE_RATE = 8_000
_UNIT_PAIRS = 30
_RECORDING_PAIRS = 240


@dataclasses.dataclass(frozen=True)
class SurfOptions(SourceOptions):
    """Options of `SurfSource`."""

    seed: int = option(0, "Random seed of rendered data.", shared=True)


class SurfSource:
    """Recordings of two shores, a sandy bay and a rocky cove, rendered clip by clip.

    Every pair depends only on (seed, recording, number within the recording), whatever is read before it.

    Args:
        n_pairs: number of pairs, 2 to 100,000, spread evenly over the recordings: 2 for fewer than 8 pairs, 4 for up to
            about a thousand, then one for every 240 pairs.
        seed: random seed, 0 or more; another seed renders other recordings of the same shores.
        features: sample rate (8 kHz or more) and duration of a clip.
        image: size and channels of an image.

    Raises:
        UsageError: if `n_pairs`, `seed` or the sample rate is out of range.
    """

    def __init__(self, n_pairs: int = DEFAULT_PAIRS, seed: int = 0, *, features: FeatureConfig, image: ImageConfig):
        if not (isinstance(n_pairs, int) and MIN_PAIRS <= n_pairs <= MAX_PAIRS):
            raise UsageError(
                f"n_pairs must lie between {MIN_PAIRS} and {MAX_PAIRS:,} for {NAME}. Received: n_pairs={n_pairs!r}"
            )
        if not (isinstance(seed, int) and seed >= 0):
            raise UsageError(f"seed must be a whole number, 0 or more, for {NAME}. Received: seed={seed!r}")
        if features.sample_rate < MIN_SAMPLE_RATE:
            raise UsageError(
                f"sample_rate must be at least {MIN_SAMPLE_RATE} Hz for {NAME}, which has high frequencies. "
                f"Received: sample_rate={features.sample_rate}. Raise the sample rate of the features"
            )
        self.n_pairs, self.seed = n_pairs, seed
        self.features, self.image = features, image

    def plan(self) -> Plan:
        """Lists the recordings in units of about 30 consecutive pairs."""
        recordings = self._n_recordings()
        units = []
        for recording in range(recordings):
            pairs = self.n_pairs // recordings + (recording < self.n_pairs % recordings)
            cuts = math.ceil(pairs / _UNIT_PAIRS)
            edges = [pairs * cut // cuts for cut in range(cuts + 1)]
            units += [self._unit(recording, *span) for span in itertools.pairwise(edges)]
        return Plan(tuple(units))

    def read(self, unit: Unit) -> Iterator[Pair]:
        """Renders the pairs of a unit: uint8 image, float32 waveform and the factors behind both."""
        for key in unit.keys:
            recording, second = _numbers(key.id)
            factors = factors_at(self.seed, recording, second)
            random = random_stream(self.seed, recording, AUDIO_STREAM, second)
            yield Pair(
                key=key,
                image=render_image(factors, self.image),
                waveform=render_audio(factors, self.features, random),
                origin=NAME,
                factors=factors,
            )

    def describe(self) -> dict[str, Any]:
        """Describes the source for the manifest."""
        return {"kind": NAME, "has_audio": True, "continuous": True, "pairs": self.n_pairs, "seed": self.seed}

    def _n_recordings(self) -> int:
        if self.n_pairs < 8:
            return 2
        return max(4, 2 * (self.n_pairs // (2 * _RECORDING_PAIRS)))

    def _unit(self, recording: int, first: int, end: int) -> Unit:
        name = f"surf-{recording:02d}"
        keys = tuple(self._key(name, recording, second) for second in range(first, end))
        return Unit(f"{name}@{first}-{end - 1}", keys, cost=float(end - first))

    def _key(self, name: str, recording: int, second: int) -> PairKey:
        label = "night" if factors_at(self.seed, recording, second)["night"] else "day"
        return PairKey(f"{name}@{second}", name, time=second * self.features.duration, label=label)


def _numbers(pair_id: str) -> tuple[int, int]:
    recording, second = pair_id.removeprefix("surf-").split("@")
    return int(recording), int(second)


@register_source
class Surf(RenderedType):
    """The names of the embedded data set: `synthetic:surf` and `synthetic:surf:N`."""

    id = "surf"
    title = NAME
    usage = f"{NAME} or {NAME}:N"
    details = f"{NAME} or {NAME}:N: N rendered pairs of a shore (default: {DEFAULT_PAIRS})"
    names = (NAME,)
    options = SurfOptions
    position = 60
    default_pairs = DEFAULT_PAIRS
    make_source = SurfSource
