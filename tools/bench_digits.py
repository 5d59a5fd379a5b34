"""Spoken digits to handwritten digits, one speaker held out at a time: is the digit drawn the one that was spoken?

    python tools/bench_digits.py PAIRS_CSV [--preset default] [--seed 0] [--set NAME=VALUE]

PAIRS_CSV has the columns audio,image,label,source; the source is the speaker. For each speaker records are built with
that speaker held out, the preset is trained on the others, and a classifier trained on the training speakers' real
pictures names the pictures drawn from the held-out sounds. Its score on that speaker's real pictures is printed beside.
"""

import csv
import pathlib
import tempfile
import time

import click
import keras
import numpy as np

import keras_a2i as a2i
from keras_a2i.cli.fit import parse_settings
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.sources.mfcc import from_pcm16

SIZE = 32


def train_judge(images: np.ndarray, labels: np.ndarray, n_classes: int) -> keras.Model:
    """A small convolutional classifier of real pictures."""
    layers = keras.layers
    judge = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            layers.RandomTranslation(0.08, 0.08, fill_mode="constant", fill_value=-1.0),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(n_classes),
        ]
    )
    judge.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    judge.fit(images, labels, batch_size=32, epochs=30, verbose=0)
    return judge


def read_split(records: pathlib.Path, split: str, inputs: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features or sound, pictures in [-1, 1] and labels of a split."""
    batches = list(a2i.read_examples(records, split, waveform=inputs == "waveform").as_numpy_iterator())
    given, images, labels = (np.concatenate([b[name] for b in batches]) for name in (inputs, "image", "label"))
    given = from_pcm16(given) if inputs == "waveform" else given
    return given, images.astype(np.float32) / 127.5 - 1, labels


def run_fold(pairs: pathlib.Path, speaker: str, folder: pathlib.Path, options: dict) -> tuple[float, float, float]:
    """Accuracy on generated and on real pictures of the held-out speaker, and seconds of training."""
    image = ImageConfig(size=SIZE)
    sources = a2i.open_sources([pairs], features=FeatureConfig(), image=image)
    split = a2i.SplitSpec(kind="source", holdout=(speaker,))
    a2i.build_records(sources, folder / "records", image=image, split=split)
    started = time.monotonic()
    model = a2i.fit(folder / "records", folder / "run", **options)
    seconds = time.monotonic() - started
    inputs = model.inputs[0].name
    _, images, labels = read_split(folder / "records", "train", inputs)
    names, classes = np.unique(labels, return_inverse=True)
    keras.utils.set_random_seed(0)
    judge = train_judge(images, classes, len(names))
    given, images, labels = read_split(folder / "records", "val", inputs)
    truth = np.searchsorted(names, labels)

    def accuracy(pictures: np.ndarray) -> float:
        return float((judge.predict(pictures, verbose=0).argmax(axis=1) == truth).mean())

    return accuracy(model.predict(given, verbose=0)), accuracy(images), seconds


@click.command()
@click.argument("pairs", type=click.Path(exists=True, path_type=pathlib.Path))
@click.option("--preset", default="default", show_default=True)
@click.option("--epochs", type=int)
@click.option("--seed", default=0, show_default=True)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE")
def main(pairs: pathlib.Path, preset: str, epochs: int | None, seed: int, settings: tuple[str, ...]) -> None:
    """Run every fold and print a table."""
    with pairs.open(newline="", encoding="utf-8") as file:
        speakers = sorted({row["source"] for row in csv.DictReader(file)})
    options = {"preset": preset, "epochs": epochs, "seed": seed, "overrides": parse_settings(settings)}
    results = []
    click.echo(f"preset {preset}, seed {seed}\n{'held out':12}{'generated':>10}{'real':>8}{'training':>10}")
    for speaker in speakers:
        with tempfile.TemporaryDirectory() as folder:
            results.append(run_fold(pairs, speaker, pathlib.Path(folder), options))
        generated, real, seconds = results[-1]
        click.echo(f"{speaker:12}{generated:10.1%}{real:8.1%}{seconds:8.0f} s")
    generated, real, seconds = np.mean(results, axis=0)
    click.echo(f"{'mean':12}{generated:10.1%}{real:8.1%}{seconds:8.0f} s")


if __name__ == "__main__":
    main()
