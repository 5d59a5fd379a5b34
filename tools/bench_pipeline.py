"""Images per second out of `Records.dataset`, beside a plain tf.data pipeline; all are measured in turn in one run.

    python tools/bench_pipeline.py RECORDS [--split train] [--rounds 5]

"plain" is what a tutorial shows: TFRecordDataset, parse_single_example and decode_png for each record, batch, prefetch.
"""

import pathlib
import statistics
import time

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
        image = tf.io.decode_png(example["image"], channels=records.image.channels)
        return example["features"], tf.cast(image, tf.float32) / 127.5 - 1

    files = [str(records.path / shard.file) for shard in records.manifest.shards_of(split)]
    return tf.data.TFRecordDataset(files).map(parse, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2)


def rate(dataset: tf.data.Dataset, at_least: int) -> float:
    """Images per second, over `at_least` images or more."""
    count, started = 0, time.perf_counter()
    while count < at_least:
        for _, images in dataset:
            count += int(images.shape[0])
    return count / (time.perf_counter() - started)


@click.command()
@click.argument("path", metavar="RECORDS", type=click.Path(exists=True, path_type=pathlib.Path))
@click.option("--split", default="train", show_default=True)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--images", default=1_000, show_default=True, help="Images per round; five times as many from the cache.")
def main(path: pathlib.Path, split: str, batch_size: int, rounds: int, images: int) -> None:
    """Measure and print medians and ratios."""
    records, order = a2i.Records(path), Shuffled(seed=0)
    datasets = {
        "plain": (plain(records, split, batch_size), images),
        "streamed": (records.dataset(split, batch_size, order=order, cache=False), images),
        "cached": (records.dataset(split, batch_size, order=order, cache=True), 5 * images),
    }
    rates: dict[str, list[float]] = {name: [] for name in datasets}
    for number in range(rounds + 1):
        for name, (dataset, at_least) in datasets.items():
            value = rate(dataset, at_least)
            if number:
                rates[name].append(value)
    base = statistics.median(rates["plain"])
    click.echo(f"{'':14}{'images/s':>12}{'from':>9}{'to':>9}{'x plain':>9}")
    for name, values in rates.items():
        median = statistics.median(values)
        click.echo(f"{name:14}{median:12,.0f}{min(values):9,.0f}{max(values):9,.0f}{median / base:9.2f}")


if __name__ == "__main__":
    main()
