"""Memory and cost of building, streaming, training and looking at records, from a thousand pairs to a million.

    python tools/bench_scale.py OUT [--pairs 1000 --pairs 100000 --pairs 1000000] [--size 16]

Pairs are random vectors with small raw images. Every step runs in a process of its own; its peak of resident memory is
printed with the seconds. Finished records in OUT are used again.
"""

import dataclasses
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import click
import numpy as np

import keras_a2i as a2i
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.records.inspection import inspect as inspect_records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.pair import Pair, PairKey, Plan, Unit
from keras_a2i.sources.pair_keys import PairKeys

PER_UNIT = 100
N_FEATURES = 16
_STEPS = 50


@dataclasses.dataclass(frozen=True)
class VectorSource:
    """Random vectors with images of one colour, in sources of 100."""

    n_pairs: int
    size: int

    @property
    def features(self) -> FeatureConfig:
        """Vectors in place of MFCC."""
        return FeatureConfig(embedding=N_FEATURES, embedding_name="random")

    @property
    def image(self) -> ImageConfig:
        """Small raw images."""
        return ImageConfig(size=self.size, raw=True)

    def plan(self) -> Plan:
        """One unit per source."""
        keys = PairKeys.of(
            PairKey(f"{i // PER_UNIT}@{i % PER_UNIT}", str(i // PER_UNIT), float(i % PER_UNIT), f"label{i % 7}")
            for i in range(self.n_pairs)
        )
        starts = range(0, self.n_pairs, PER_UNIT)
        units = (Unit(str(i // PER_UNIT), keys[i : i + PER_UNIT], cost=float(PER_UNIT)) for i in starts)
        return Plan(tuple(units))

    def read(self, unit: Unit):
        """The pairs of a source."""
        rng = np.random.default_rng(int(unit.name))
        for key in unit.keys:
            vector = rng.standard_normal(N_FEATURES).astype(np.float32)
            yield Pair(key=key, image=np.full(self.image.shape, 128 + 20 * vector[:3], np.uint8), features=vector)

    def describe(self) -> dict:
        """What the manifest keeps."""
        return {"kind": "random vectors", "n_pairs": self.n_pairs, "size": self.size}


def build(folder: pathlib.Path, n_pairs: int, size: int) -> float:
    """Builds records and returns the pairs per second."""
    source, started = VectorSource(n_pairs, size), time.perf_counter()
    split = SplitSpec(kind="random", val_fraction=0.01)
    a2i.build_records([source], folder, image=source.image, features=source.features, split=split, workers=2)
    return n_pairs / (time.perf_counter() - started)


def stream(folder: pathlib.Path, n_pairs: int, size: int) -> float:
    """Reads one epoch, shuffled, and returns the images per second after the first batch, whose time it prints."""
    import tensorflow  # noqa: F401  its import isn't part of the first batch

    started = time.perf_counter()
    batches = iter(a2i.Records(folder).dataset("train", 256, seed=0, cache=False))
    read = len(next(batches)[1])
    first = time.perf_counter()
    click.echo(f"first batch after {first - started:.1f} s; ", nl=False)
    read = sum(len(images) for _, images in batches)
    return read / max(time.perf_counter() - first, 1e-9)


def fit(folder: pathlib.Path, n_pairs: int, size: int) -> float:
    """Trains 50 steps of 256 streamed pairs and returns the images per second of the later 40."""
    import keras

    records = a2i.Records(folder)
    model = a2i.encoder_generator(n_features=N_FEATURES, image_size=size)
    model.compile("adam", loss=a2i.losses.BatchScaledMSE(batch_size=256))
    batches = records.dataset("train", 256, seed=0, cache=False, repeat=True)
    times: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: times.append(time.perf_counter()))
    model.fit(batches, steps_per_epoch=_STEPS, callbacks=[clock], verbose=0)
    return 256 * (_STEPS - 10) / (times[-1] - times[9])


def inspect(folder: pathlib.Path, n_pairs: int, size: int) -> float:
    """Inspects the records and returns the pairs per second."""
    started = time.perf_counter()
    inspect_records(folder)
    return n_pairs / (time.perf_counter() - started)


STEPS: dict[str, Callable[[pathlib.Path, int, int], float]] = {
    function.__name__: function for function in (build, stream, fit, inspect)
}


@click.command()
@click.argument("out", type=click.Path(path_type=pathlib.Path))
@click.option("--pairs", multiple=True, default=(1_000, 100_000, 1_000_000), show_default=True, help="Sizes.")
@click.option("--size", default=16, show_default=True, help="Pixels per side.")
@click.option("--step", type=click.Choice(list(STEPS)), hidden=True, help="Run one step in this process.")
def main(out: pathlib.Path, pairs: tuple[int, ...], size: int, step: str | None) -> None:
    """Print, for every number of pairs and every step, peak memory and pairs per second."""
    if step:
        rate = STEPS[step](out, pairs[0], size)
        usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        click.echo(f"{rate:,.0f} pairs/s, peak {usage / 1024:,.0f} MiB")
        return
    for n_pairs in pairs:
        folder = out / str(n_pairs)
        for name in STEPS:
            options = [str(folder), "--pairs", str(n_pairs), "--size", str(size), "--step", name]
            click.echo(f"{n_pairs:>9,} {name:8} ", nl=False)
            sys.stdout.flush()
            subprocess.run([sys.executable, __file__, *options], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
