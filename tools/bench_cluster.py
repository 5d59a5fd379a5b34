"""Times building records on a Dask cluster of this machine against the local build, with 1 and with several workers.

    python tools/bench_cluster.py FOLDER [--workers 2] [--rounds 3] [--image-size 256]

Every round builds the same records locally and on the workers of a scheduler that runs already, with 1 worker and with
`--workers`, in turns, and compares the bytes of all. Ratios are those of one round, so that what else the machine does
meanwhile weighs less. On a machine that is busy with other work they are too low; the processor time of the busiest
worker isn't: its ratio is what idle cores would show.
"""

import argparse
import hashlib
import logging
import pathlib
import statistics
import tempfile
import time

from distributed import Client, LocalCluster

import keras_a2i as a2i


def digest(folder: pathlib.Path) -> str:
    """The sha256 of the manifest and of all shards."""
    files = (path for path in sorted(folder.iterdir()) if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a folder of videos, or another source")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=256)
    options = parser.parse_args()
    image = a2i.ImageConfig(size=options.image_size)
    seconds: dict[str, list[float]] = {}
    busiest: dict[int, list[float]] = {}
    quiet = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    digests: set[str] = set()

    def build(name: str, **where: object) -> None:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            manifest = a2i.build_records(options.source, f"{folder}/records", image=image, **where)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
            digests.add(digest(pathlib.Path(folder) / "records"))
        print(f"{name:18}{seconds[name][-1]:8.2f} s{sum(manifest.counts.values()):8} pairs", flush=True)

    for number in range(options.rounds):
        print(f"round {number + 1}")
        for workers in (1, options.workers):
            build(f"local, {workers}", workers=workers)
            with (
                LocalCluster(n_workers=workers, **quiet) as cluster,
                Client(cluster) as client,
                tempfile.TemporaryDirectory() as folder,
            ):
                # The first build imports the library on the workers.
                a2i.build_records("synthetic:surf:480", folder, scheduler=cluster.scheduler_address)
                before = client.run(time.process_time)
                build(f"cluster, {workers}", scheduler=cluster.scheduler_address)
                used = [after - before[name] for name, after in client.run(time.process_time).items()]
                busiest.setdefault(workers, []).append(max(used))
                print("processor time of the workers:", ", ".join(f"{each:.2f} s" for each in used))
    for where in ("local", "cluster"):
        one, several = (seconds[f"{where}, {workers}"] for workers in (1, options.workers))
        ratios = [a / b for a, b in zip(one, several, strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{where}: {options.workers} workers are {statistics.median(ratios):.2f} x as fast as 1 ({spread})")
    one, several = (busiest[workers] for workers in (1, options.workers))
    ratio = statistics.median(a / b for a, b in zip(one, several, strict=True))
    print(f"processor time of 1 worker / of the busiest of {options.workers}: {ratio:.2f}")
    pairs = zip(seconds["cluster, 1"], seconds["local, 1"], strict=True)
    print(f"cluster / local with 1 worker: {statistics.median(a / b for a, b in pairs):.2f}")
    print("all bytes are equal" if len(digests) == 1 else "the bytes DIFFER")


if __name__ == "__main__":
    main()
