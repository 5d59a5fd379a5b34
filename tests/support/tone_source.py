"""A source of seconds of a tone, for tests of records and of what reads them."""

import dataclasses
import time

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.records.build import build_records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.pair import Dropped, Pair, PairKey, Plan, Unit

IMAGE = ImageConfig(size=16)
FEATURES = FeatureConfig()


@dataclasses.dataclass(frozen=True)
class ToneSource:
    """Seconds of a tone whose pitch and picture say which second of which source it is."""

    n_sources: int = 3
    seconds: int = 12
    broken: tuple[str, ...] = ()
    pause: float = 0.0

    def plan(self):
        units = []
        for s in range(self.n_sources):
            name = f"tone{s}"
            keys = tuple(PairKey(f"{name}@{k}", name, float(k), f"label{s % 2}") for k in range(self.seconds))
            units.append(Unit(name, keys, cost=1.0 + s))
        return Plan(tuple(units))

    def read(self, unit):
        for key in unit.keys:
            time.sleep(self.pause)
            if key.id in self.broken:
                yield Dropped(key.id, "broken on purpose")
                continue
            pitch = 200 + 40 * key.time + 300 * int(unit.name[4:])
            waveform = 0.5 * np.sin(2 * np.pi * pitch * np.arange(16_000) / 16_000)
            image = np.full((16, 16, 3), int(10 * key.time) % 256, np.uint8)
            yield Pair(key=key, image=image, waveform=waveform.astype(np.float32), factors={"pitch": pitch})

    def describe(self):
        return {"kind": "tone", "n_sources": self.n_sources, "seconds": self.seconds}


def build(out, source=None, **options):
    options = {"image": IMAGE, "workers": 1, "split": SplitSpec(kind="block", guard=2.0)} | options
    return build_records([source or ToneSource()], out, **options)
