"""Shows that the memory of `evaluate` doesn't grow with the number of held-out images.

    python tools/show_evaluation_memory.py [--held-out 10000] [--train 10000] [--size 256] [--limit 2.0]

Writes records of random images into a temporary folder, evaluates a function that generates images, and prints the
peak of resident memory. Exit status 1 if it is above the limit in GiB. The records take about 0.2 MB per pair of 256
pixels on the disk; `--held-out 400 --train 400 --size 64` runs in a few minutes.
"""

import dataclasses
import pathlib
import resource
import sys
import tempfile
import threading
import time

import click
import numpy as np

import keras_a2i as a2i
from keras_a2i.config import ImageConfig
from keras_a2i.evaluation.evaluate import evaluate
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.pair import Pair, PairKey, Plan, Unit

PER_SOURCE = 100


@dataclasses.dataclass(frozen=True)
class RandomSource:
    """Pairs whose image is a coarse random pattern, in sources of 100."""

    n_pairs: int
    size: int

    def plan(self):
        """One unit per source."""
        units = []
        for start in range(0, self.n_pairs, PER_SOURCE):
            name = f"source-{start // PER_SOURCE:05d}"
            n = min(PER_SOURCE, self.n_pairs - start)
            keys = tuple(PairKey(f"{name}@{k}", name, float(k), f"label{start // PER_SOURCE % 4}") for k in range(n))
            units.append(Unit(name, keys, cost=float(n)))
        return Plan(tuple(units))

    def read(self, unit):
        """The pairs of a source."""
        rng = np.random.default_rng(int(unit.name[7:]))
        for key in unit.keys:
            coarse = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            image = np.kron(coarse, np.ones((self.size // 16, self.size // 16, 1), np.uint8))
            yield Pair(key=key, image=image, waveform=rng.uniform(-0.5, 0.5, 16_000).astype(np.float32))

    def describe(self):
        """What the manifest keeps."""
        return {"kind": "random", "n_pairs": self.n_pairs, "has_audio": True}


class PeakMemory(threading.Thread):
    """The peak of this process's resident memory since it was started, in GiB, sampled ten times per second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0.0
        self._page = resource.getpagesize()

    def run(self):
        """Samples until the process ends."""
        statm = pathlib.Path("/proc/self/statm")
        while statm.is_file():
            self.peak = max(self.peak, int(statm.read_text().split()[1]) * self._page / 2**30)
            time.sleep(0.1)


@click.command()
@click.option("--held-out", default=10_000, show_default=True, help="Held-out pairs.")
@click.option("--train", default=10_000, show_default=True, help="Training pairs.")
@click.option("--size", default=256, show_default=True, help="Pixels per side.")
@click.option("--limit", default=2.0, show_default=True, help="GiB of resident memory.")
def main(held_out, train, size, limit):
    """Evaluate a made-up model on made-up records and print the peak of resident memory."""
    with tempfile.TemporaryDirectory() as folder:
        records = pathlib.Path(folder) / "records"
        n_sources = (held_out + train) // PER_SOURCE
        names = tuple(f"source-{i:05d}" for i in range(n_sources - held_out // PER_SOURCE, n_sources))
        source = RandomSource(held_out + train, size)
        split = SplitSpec(kind="source", holdout=names)
        manifest = a2i.build_records([source], records, image=ImageConfig(size=size), split=split)
        memory = PeakMemory()
        memory.start()

        def model(features):
            level = np.tanh(features[:, :1, None, None] / 20)
            return np.broadcast_to(level, (len(features), size, size, 3)).astype(np.float32)

        started = time.monotonic()
        report = evaluate(model, records, progress=lambda step: click.echo(f"{step} ({memory.peak:.2f} GiB)", err=True))
        seconds = time.monotonic() - started
        click.echo(f"{manifest.counts} at {size} pixels: peak {memory.peak:.2f} GiB, {seconds:.0f} s, {report.level}")
        sys.exit(memory.peak > limit)


if __name__ == "__main__":
    main()
