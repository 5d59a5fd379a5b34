"""Images per second out of `Records.dataset`, beside a plain tf.data pipeline; all are measured in turn in one run.

    python tools/bench_pipeline.py RECORDS... [--split train] [--rounds 5] [--no-kept-memory]

"plain" is what a tutorial shows: TFRecordDataset, parse_single_example and decode_png (or decode_raw) for each record,
batch, prefetch. Several folders, such as the same pairs as PNG and as raw pixels, are compared with the plain pipeline
of the first. Memory is kept for the next arrays, as the command `keras-a2i` does, or returned to the system with
`--no-kept-memory`.
"""

import pathlib
import statistics
import time
from collections.abc import Iterator

import click
import tensorflow as tf

import keras_a2i as a2i
from keras_a2i.records.orders import Shuffled


def plain(records: a2i.Records, split: str, batch_size: int) -> tf.data.Dataset:
    """The usual pipeline, with parallel mapping."""
    schema = {
        "features": tf.io.FixedLenFeature([records.features.n_features], tf.float32),
        "image": tf.io.FixedLenFeature([], tf.string),
    }

    def parse(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = tf.io.parse_single_example(data, schema)
        if records.image.raw:
            image = tf.reshape(tf.io.decode_raw(example["image"], tf.uint8), records.image.shape)
        else:
            image = tf.io.decode_png(example["image"], channels=records.image.channels)
        return example["features"], tf.cast(image, tf.float32) / 127.5 - 1

    files = [str(records.path / shard.file) for shard in records.manifest.shards_of(split)]
    pairs = tf.data.TFRecordDataset(files).map(parse, num_parallel_calls=tf.data.AUTOTUNE).repeat()
    return pairs.batch(batch_size).prefetch(2)


def rate(batches: Iterator, n_images: int) -> float:
    """Images per second, over `n_images` or more."""
    count, started = 0, time.perf_counter()
    while count < n_images:
        count += int(next(batches)[1].shape[0])
    return count / (time.perf_counter() - started)


@click.command()
@click.argument(
    "paths", metavar="RECORDS...", nargs=-1, required=True, type=click.Path(exists=True, path_type=pathlib.Path)
)
@click.option("--split", default="train", show_default=True)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--images", default=1_000, show_default=True, help="Images per round; five times as many from the cache.")
@click.option("--kept-memory/--no-kept-memory", default=True, show_default=True)
def main(
    paths: tuple[pathlib.Path, ...], split: str, batch_size: int, rounds: int, images: int, kept_memory: bool
) -> None:
    """Measure and print medians and ratios."""
    if kept_memory:
        a2i.keep_freed_memory()
    order, endless, wanted = Shuffled(seed=0), {}, {}
    for path in paths:
        records = a2i.Records(path)
        for name, cache in (("streamed", False), ("cached", True)):
            batches = records.dataset(split, batch_size, order=order, cache=cache, repeat=True)
            endless[path.name, name], wanted[path.name, name] = batches, images * (5 if cache else 1)
        endless[path.name, "plain"], wanted[path.name, "plain"] = plain(records, split, batch_size), images
    iterators = {name: iter(batches) for name, batches in endless.items()}
    rates: dict[tuple[str, str], list[float]] = {name: [] for name in endless}
    for number in range(rounds + 1):
        for name, batches in iterators.items():
            value = rate(batches, wanted[name])
            if number:
                rates[name].append(value)
    base = statistics.median(rates[paths[0].name, "plain"])
    click.echo(f"{'':24}{'images/s':>12}{'from':>9}{'to':>9}{'x plain':>9}")
    for name, values in rates.items():
        median = statistics.median(values)
        click.echo(f"{' '.join(name):24}{median:12,.0f}{min(values):9,.0f}{max(values):9,.0f}{median / base:9.2f}")


if __name__ == "__main__":
    main()
