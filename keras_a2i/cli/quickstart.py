"""`keras-a2i quickstart`: the whole way on embedded data."""

import pathlib
import time

import click

from keras_a2i.cli.progress import ProgressLine, format_seconds
from keras_a2i.errors import UsageError
from keras_a2i.records.manifest import Manifest

N_PAIRS = 720
IMAGE_SIZE = 64
EPOCHS = 90
# The rendered sounds are clean and the same places are held out: less noise than speech needs, and no dropout.
SETTINGS = {"feature_noise": 0.2, "dropout": 0.0}


@click.command("quickstart")
@click.option(
    "--out", default="quickstart", show_default=True, type=click.Path(path_type=pathlib.Path), help="Where to."
)
@click.option("--seed", default=0, show_default=True, help="Of the data and the training.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier quickstart in --out.")
def command(out, seed, overwrite):
    """Render a small shore, train a model on it, score it, export it and draw what it makes of sounds it never heard.

    Needs no data and no network, and takes under three minutes on two cores.
    """
    if out.exists() and not overwrite and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out} exists already. Choose another --out, or replace an earlier quickstart with --overwrite"
        )
    started = time.monotonic()
    records, run = out / "records", out / "run"
    _step(1, f"render {N_PAIRS} seconds of a shore, sound and picture, into records")
    _build(records, seed, overwrite)
    _step(2, "train a small model to draw the shore from its sound")
    model = _fit(records, run, seed, overwrite)
    _step(3, "score it on held-out seconds, beside predictors that hear nothing")
    _score(model, records, run, seed)
    _step(4, "export it and read it back")
    _export(run, out / "model.tflite")
    _step(5, "draw held-out seconds")
    _draw(model, records, out / "held_out.png")
    click.echo(f"\nDone in {format_seconds(time.monotonic() - started)}. What there is now:")
    for path, what in (
        (out / "held_out.png", "held-out pictures, real above generated: look at this first"),
        (records, "the records (keras-a2i inspect)"),
        (run / "report.html", "what its scores mean, with the best and the worst pictures"),
        (run, "the run: model.keras, history.csv, samples/"),
        (out / "model.tflite", "the model as one file for the edge: sound in, picture out"),
    ):
        click.echo(f"  {path!s:32} {what}")
    click.echo("Next, with videos of your own:")
    click.echo("  keras-a2i build-records VIDEOS/ --out records && keras-a2i fit records --out run")


def _step(number: int, what: str) -> None:
    click.secho(f"\n[{number}/5] {what}", bold=True)


def _build(records: pathlib.Path, seed: int, overwrite: bool) -> None:
    from keras_a2i.config import FeatureConfig, ImageConfig
    from keras_a2i.records.build import build_records
    from keras_a2i.records.splits import SplitSpec
    from keras_a2i.sources.open_sources import open_sources

    features, image = FeatureConfig(), ImageConfig(size=IMAGE_SIZE)
    sources = open_sources([f"synthetic:surf:{N_PAIRS}"], features=features, image=image, seed=seed)
    progress = ProgressLine("pairs")
    try:
        manifest = build_records(
            sources,
            records,
            features=features,
            image=image,
            split=SplitSpec(kind="block"),
            overwrite=overwrite,
            command=f"keras-a2i quickstart --seed {seed}",
            progress=progress,
        )
    finally:
        progress.close()
    counts = ", ".join(f"{count} {split}" for split, count in manifest.counts.items())
    click.echo(
        f"{counts} pairs; {manifest.left_out} between them left out, so that no held-out second touches a training one"
    )


def _fit(records: pathlib.Path, run: pathlib.Path, seed: int, overwrite: bool):
    from keras_a2i.training.fit import fit

    def report(row):
        if row["epoch"] % 5 == 0 or row["epoch"] == 1:
            click.echo(
                f"epoch {row['epoch']}/{EPOCHS}  loss {row['loss']:.2f}  held-out SSIM {row['val_ssim']:.3f}", err=True
            )

    return fit(
        records,
        run,
        recipe="features",
        overrides=SETTINGS,
        epochs=EPOCHS,
        seed=seed,
        overwrite=overwrite,
        report=report,
    )


def _score(model, records: pathlib.Path, run: pathlib.Path, seed: int) -> None:
    from keras_a2i.cli.evaluate import show_report
    from keras_a2i.evaluation.evaluate import evaluate

    report = evaluate(run, records, seed=seed, command=f"keras-a2i evaluate {run} {records}")
    report.save(run)
    show_report(report)


def _export(run: pathlib.Path, path: pathlib.Path) -> None:
    from keras_a2i.exporters.export import export

    done = export(run, path, format="tflite", input="waveform", overwrite=True)
    click.echo(
        f"{done.path}: {done.size / 1e6:.1f} MB, differs from the Keras model by at most {done.agreement.max:.1g}"
    )


def _draw(model, records: pathlib.Path, path: pathlib.Path) -> None:
    from keras_a2i.media.sheet import draw_sheet, save_png
    from keras_a2i.records.dataset import load_records
    from keras_a2i.training.trainer import spread_pairs

    held_out = Manifest.read(records).counts["val"]
    features, images = spread_pairs(load_records(records, "val"), held_out, 16)
    save_png(draw_sheet([images, model.predict_on_batch(features)], ["real", "generated"]), path)
    click.echo(f"{path}: 16 seconds that the model never heard")
