"""Measures the time and the memory that planning a large pairs.csv takes.

    python tools/bench_csv.py [--rows 1000000]

Planning lists the pairs; then they are divided into splits, and the fingerprint of the build is computed.

The table has the columns audio,image,label,source, 500 rows per source and 20 labels. Its files don't exist:
planning reads their sizes and modification times, or notes that they are missing.
"""

import argparse
import pathlib
import resource
import tempfile
import time

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.records.fingerprint import plan_fingerprint
from keras_a2i.records.splits import SplitSpec, assign_splits
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.sources.pair_keys import PairKeys


def write_table(path: pathlib.Path, rows: int) -> None:
    """Writes the table."""
    with path.open("w") as file:
        file.write("audio,image,label,source\n")
        for i in range(rows):
            folder = i // 500
            file.write(f"audio/speaker{folder:05d}/{i:08d}.wav,images/speaker{folder:05d}/{i:08d}.png,")
            file.write(f"label{i % 20},speaker{folder:05d}\n")


def peak_mb() -> float:
    """Returns the largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main() -> None:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "pairs.csv"
        write_table(path, options.rows)
        print(f"{options.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB; memory before planning {peak_mb():.0f} MB")
        start = time.perf_counter()
        (source,) = open_sources([path], features=FeatureConfig(), image=ImageConfig())
        plan = source.plan()
        seconds = time.perf_counter() - start
        n_pairs = sum(len(unit.keys) for unit in plan.units)
        print(f"planned {n_pairs:,} pairs in {seconds:.1f} s; peak memory {peak_mb():.0f} MB")
        start = time.perf_counter()
        keys = PairKeys.concatenate(unit.keys for unit in plan.units)
        splits = assign_splits(keys, SplitSpec().resolve(keys), FeatureConfig().duration)
        plan_fingerprint(plan.units, keys, splits, {})
        print(f"divided them into splits in {time.perf_counter() - start:.1f} s; peak memory {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
