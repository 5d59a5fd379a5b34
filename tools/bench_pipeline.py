"""How many pictures a second come out of `load_records`, beside the plain tf.data recipe, in turn in one run.

    python tools/bench_pipeline.py RECORDS [--split train] [--rounds 5]

"plain" is what a tutorial shows: TFRecordDataset, a parse_single_example and decode_png each record, batch, prefetch.
"""

import pathlib
import statistics
import time

import click
import tensorflow as tf

import keras_a2i as a2i
from keras_a2i.records.manifest import Manifest


def plain(records: pathlib.Path, split: str, batch_size: int) -> tf.data.Dataset:
    """The usual recipe, with parallel mapping."""
    manifest = Manifest.read(records)
    schema = {
        "features": tf.io.FixedLenFeature([manifest.features.n_features], tf.float32),
        "image": tf.io.FixedLenFeature([], tf.string),
    }

    def parse(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = tf.io.parse_single_example(data, schema)
        image = tf.io.decode_png(example["image"], channels=manifest.image.channels)
        return example["features"], tf.cast(image, tf.float32) / 127.5 - 1

    files = [str(records / shard.file) for shard in manifest.shards_of(split)]
    return tf.data.TFRecordDataset(files).map(parse, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2)


def rate(dataset: tf.data.Dataset, least: int) -> float:
    """Pictures a second over at least so many pictures."""
    count, started = 0, time.perf_counter()
    while count < least:
        for _, images in dataset:
            count += int(images.shape[0])
    return count / (time.perf_counter() - started)


@click.command()
@click.argument("records", type=click.Path(exists=True, path_type=pathlib.Path))
@click.option("--split", default="train", show_default=True)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(records: pathlib.Path, split: str, batch_size: int, rounds: int) -> None:
    """Measure and print medians and ratios."""
    options = {"batch_size": batch_size, "shuffle": True}
    datasets = {
        "plain recipe": (plain(records, split, batch_size), 1_000),
        "streamed": (a2i.load_records(records, split, cache=False, **options), 1_000),
        "cached": (a2i.load_records(records, split, cache=True, **options), 5_000),
    }
    rates: dict[str, list[float]] = {name: [] for name in datasets}
    for number in range(rounds + 1):
        for name, (dataset, least) in datasets.items():
            value = rate(dataset, least)
            if number:
                rates[name].append(value)
    base = statistics.median(rates["plain recipe"])
    click.echo(f"{'':14}{'pictures/s':>12}{'from':>9}{'to':>9}{'x plain':>9}")
    for name, values in rates.items():
        median = statistics.median(values)
        click.echo(f"{name:14}{median:12,.0f}{min(values):9,.0f}{max(values):9,.0f}{median / base:9.2f}")


if __name__ == "__main__":
    main()
