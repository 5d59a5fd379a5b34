"""The recipe talking on rendered faces, judged on faces that it never saw.

    python tools/bench_talking.py OUT [--pairs 3200] [--size 64] [--seed 0] [--set NAME=VALUE ...] [--name NAME]

Trains on three quarters of the faces of `synthetic:faces` and draws those of the others: the reference is the first
frame of each, which isn't scored. The opening of the mouth is read out of every image by `read_mouth` and correlated
with the truth; the distance of identities and the change over time are those of the report's measures `identity` and
`flicker`. Beside the model: its reference repeated; the true face with the mean mouth; the model with the audio of
another moment of the face; and the real images. What exists below OUT isn't repeated. Also writes a sheet of eight
unseen faces, OUT/NAME.png: the reference, and real above drawn images.
"""

import pathlib
import time
from typing import Any

import click
import numpy as np

import keras_a2i as a2i
from keras_a2i.cli.settings import parse_settings
from keras_a2i.config import ImageConfig
from keras_a2i.datasets.faces import read_mouth
from keras_a2i.datasets.faces.source import face_with_mouth
from keras_a2i.evaluation.contenders import donor_rows
from keras_a2i.evaluation.pairs import Pairs, read_pairs, scaled
from keras_a2i.evaluation.reference_measures import IdentityDistances
from keras_a2i.media.conversion import to_uint8
from keras_a2i.media.image import save_png
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.metrics import ssim

N_SHOWN, N_FRAMES = 8, 7


def build(out: pathlib.Path, pairs: int, size: int) -> pathlib.Path:
    """The records of the benchmark."""
    folder = out / f"records-{pairs}-{size}"
    if not (folder / "records.json").is_file():
        features, image = a2i.FeatureConfig(), ImageConfig(size=size)
        sources = a2i.open_sources([f"synthetic:faces:{pairs}"], features=features, image=image)
        a2i.build_records(sources, folder, features=features, image=image)
    return folder


def competitors(run: pathlib.Path, train: Pairs, held_out: Pairs, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The images, uint8, of the held-out pairs by who draws them."""
    predictor, references = a2i.load(run), held_out.references
    assert references is not None
    donors = donor_rows(held_out.sources, 0, within=True)

    def draw(audio: np.ndarray) -> np.ndarray:
        parts = [slice(i, i + 64) for i in range(0, len(rows), 64)]
        images = [
            predictor.predict_inputs(held_out.inputs[audio[part]], references=scaled(references[rows[part]]))
            for part in parts
        ]
        return to_uint8(np.concatenate(images))

    mean = {name: float(np.mean([each[name] for each in train.factors])) for name in ("opening", "width")}
    size = ImageConfig(size=held_out.images.shape[1])
    blank = {name: face_with_mouth(name, 0, mean["opening"], mean["width"], size) for name in set(held_out.sources)}
    return {
        "talking": draw(rows),
        "talking, audio of another moment": draw(donors[rows]),
        "reference repeated": references[rows],
        "the true face with the mean mouth": np.stack([blank[name] for name in held_out.sources[rows]]),
        "real": held_out.images[rows],
    }


def judge(images: np.ndarray, held_out: Pairs, rows: np.ndarray, identity: IdentityDistances) -> list[str]:
    """The cells of a row of the table."""
    truth = np.array([held_out.factors[row]["opening"] for row in rows])
    read, real, sources = read_mouth(images), held_out.images[rows], held_out.sources[rows]
    each = [_correlation(read[sources == name], truth[sources == name]) for name in np.unique(sources)]
    follows = sources[1:] == sources[:-1]
    changes = [np.abs(np.diff(values.astype(np.float32), axis=0)[follows]).mean() for values in (images, real)]
    similar = np.concatenate(
        [np.asarray(ssim(scaled(real[i : i + 64]), scaled(images[i : i + 64]))) for i in range(0, len(rows), 64)]
    )
    return [
        f"{_correlation(read, truth):.3f}",
        f"{min(each):.2f}",
        f"{np.abs(read - truth).mean():.3f}",
        f"{identity.of(images, rows):.3f}",
        f"{changes[0] / changes[1]:.2f}",
        f"{similar.mean():.4f}",
    ]


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if min(x.std(), y.std()) > 1e-6 else 0.0


def write_sheet(path: pathlib.Path, drawn: np.ndarray, held_out: Pairs, rows: np.ndarray) -> None:
    """Writes the sheet of unseen faces."""
    shown, labels = [], []
    names = np.unique(held_out.sources)
    for name in names[np.linspace(0, len(names) - 1, min(N_SHOWN, len(names))).astype(int)]:
        mine = np.flatnonzero(held_out.sources[rows] == name)[:N_FRAMES]
        assert held_out.references is not None
        reference = held_out.references[rows[mine[:1]]]
        shown += [np.concatenate([reference, images]) for images in (held_out.images[rows[mine]], drawn[mine])]
        labels += [f"{name} real", "drawn"]
    save_png(draw_sheet(shown, labels), path)


@click.command()
@click.argument("out", type=click.Path(path_type=pathlib.Path))
@click.option("--pairs", default=3_200, show_default=True, help="Pairs, 20 for each face.")
@click.option("--size", default=64, show_default=True, help="Pixels per side.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the training.")
@click.option("--name", default="talking", show_default=True, help="The run's folder below OUT.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe.")
def main(out: pathlib.Path, pairs: int, size: int, seed: int, name: str, settings: tuple[str, ...]) -> None:
    """Trains and judges the recipe, and prints a table."""
    records, run = a2i.Records(build(out, pairs, size)), out / name
    if not (run / "model.keras").is_file():
        started = time.monotonic()
        given: dict[str, Any] = parse_settings(settings)
        a2i.fit(
            records,
            run,
            recipe="talking",
            settings=given,
            seed=seed,
            verbose=0,
            overwrite=(run / "config.json").exists(),
        )
        click.echo(f"trained in {time.monotonic() - started:.0f} s", err=True)
    train, held_out = read_pairs(records, "train"), read_pairs(records, "val", "waveform", references=True)
    # Ordered by source and time: the first row of each source is its reference.
    rows = np.flatnonzero(np.concatenate([[False], held_out.sources[1:] == held_out.sources[:-1]]))
    identity = IdentityDistances(train, held_out)
    found = competitors(run, train, held_out, rows)
    click.echo(f"{len(rows)} images of {len(set(held_out.sources))} unseen faces\n")
    click.echo("| | mouth r | least r of a face | mouth error | identity distance | change over time | SSIM |")
    click.echo("|---|---|---|---|---|---|---|")
    for title, images in found.items():
        click.echo(f"| {title} | {' | '.join(judge(images, held_out, rows, identity))} |")
    write_sheet(out / f"{name}.png", found["talking"], held_out, rows)


if __name__ == "__main__":
    main()
