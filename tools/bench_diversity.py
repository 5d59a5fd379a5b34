"""How diverse the samples of runs are, and how consistent with their audio, beside training images of the right label.

    keras-a2i fit records --out runs/words-adversarial --recipe words-adversarial --seed 0     # and others
    python tools/bench_diversity.py records runs/* [--samples 8] [--sheet sheet.png]

Columns, on held-out pairs:

- right label: share of the usual images, and of the samples, whose label a probe reads as that of the audio. The probe
  is a classifier of real training images.
- distance of samples: mean distance of two samples of one clip, relative to that of two real images of its label.
- coverage: share of the real held-out images that are the nearest one of some sample, in pixels. What can be reached
  is told by the last row, in which training images of the clip's label, drawn at random, take the place of samples.
"""

import pathlib

import click
import keras
import numpy as np

import keras_a2i as a2i
from keras_a2i.evaluation.pairs import Pairs, read_pairs
from keras_a2i.evaluation.probes import LabelProbe, label_probe
from keras_a2i.media.conversion import from_uint8, to_uint8
from keras_a2i.media.image import save_png
from keras_a2i.media.sheet import draw_sheet

BATCH, N_SHOWN = 32, 12
HEADS = ("samples of", "right label", "right label of samples", "distance of samples", "coverage")


class Bench:
    """Judges samples (n_pairs, n, size, size, channels) in [-1, 1] of the held-out pairs."""

    def __init__(self, held_out: Pairs, probe: LabelProbe):
        self.held_out, self.probe = held_out, probe
        self.real = from_uint8(held_out.images[np.arange(len(held_out))]).reshape(len(held_out), -1)
        groups = [np.flatnonzero(held_out.labels == name) for name in np.unique(held_out.labels)]
        sizes = [len(rows) for rows in groups]
        self.apart = float(np.average([mean_distance(self.real[rows]) for rows in groups], weights=sizes))

    def cells(self, usual: np.ndarray | None, samples: np.ndarray) -> list[str]:
        """The cells of a row."""
        labels, n = self.held_out.labels, samples.shape[1]
        flat = samples.reshape(-1, *samples.shape[2:])
        right = (self.probe.read(flat) == np.repeat(labels, n)).mean()
        own = "" if usual is None else f"{(self.probe.read(usual) == labels).mean():.1%}"
        apart = np.mean([mean_distance(each.reshape(n, -1)) for each in samples])
        nearest = np.concatenate([squares(part, self.real).argmin(axis=1) for part in parts_of(flat)])
        covered = len(np.unique(nearest)) / len(self.real)
        return [own, f"{right:.1%}", f"{apart / self.apart:.2f}", f"{covered:.1%}"]


def parts_of(images: np.ndarray) -> list[np.ndarray]:
    flat = images.reshape(len(images), -1)
    return [flat[i : i + BATCH] for i in range(0, len(flat), BATCH)]


def squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances (n, m) of vectors."""
    return np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T


def mean_distance(vectors: np.ndarray) -> float:
    """The mean root-mean-square distance of two different ones."""
    rows, columns = np.triu_indices(len(vectors), 1)
    found = np.maximum(squares(vectors, vectors), 0)[rows, columns] / vectors.shape[1]
    return float(np.sqrt(found).mean())


def draw(predictor: a2i.Predictor, held_out: Pairs, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The usual image and n samples of every held-out clip, each clip with styles of its own."""
    rows = [np.arange(i, min(i + BATCH, len(held_out))) for i in range(0, len(held_out), BATCH)]
    usual = np.concatenate([predictor.predict_inputs(held_out.inputs[part]) for part in rows])
    # A call draws the same styles for all of its clips.
    drawn = [predictor.sample(held_out.inputs[[i]], n, seed=seed + i) for i in range(len(held_out))]
    return usual, np.concatenate(drawn)


def images_of_label(train: Pairs, labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n training images of every label, drawn at random."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(np.flatnonzero(train.labels == label), n, replace=False) for label in labels]
    return from_uint8(train.images[np.concatenate(rows)]).reshape(len(labels), n, *train.images.shape[1:])


@click.command()
@click.argument("records", type=click.Path(path_type=pathlib.Path, exists=True))
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=pathlib.Path, exists=True))
@click.option("--samples", default=8, show_default=True, help="Samples of every clip.")
@click.option("--seed", default=0, show_default=True, help="Of the styles, the probe and the drawn training images.")
@click.option("--sheet", type=click.Path(path_type=pathlib.Path), help="A sheet of samples of the first clip of runs.")
def main(records, runs, samples, seed, sheet):
    """Draw samples of the held-out clips of RECORDS by every one of RUNS and print a table."""
    held_out, train = read_pairs(records, "val", "waveform"), read_pairs(records, "train")
    keras.utils.set_random_seed(seed)
    probe = label_probe(train)
    if probe is None:
        raise click.UsageError("RECORDS must have two labels or more")
    bench = Bench(held_out, probe)
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|")
    shown: dict[str, np.ndarray] = {}
    for run in runs:
        usual, drawn = draw(a2i.load(run), held_out, samples, seed)
        print("| " + " | ".join([run.name, *bench.cells(usual, drawn)]) + " |", flush=True)
        clips = np.linspace(0, len(held_out) - 1, N_SHOWN).astype(int)
        shown |= {f"{run.name} {k + 1}": to_uint8(drawn[clips, k]) for k in range(min(3, samples))}
    drawn = images_of_label(train, held_out.labels, samples, seed)
    print("| " + " | ".join(["training images of the label", *bench.cells(None, drawn)]) + " |")
    if sheet is not None:
        save_png(draw_sheet(list(shown.values()), list(shown)), sheet)


if __name__ == "__main__":
    main()
