"""`keras-a2i quickstart`: all steps on a rendered data set."""

import contextlib
import json
import pathlib
import shlex
import time
from collections.abc import Iterator
from typing import Any

import click

from keras_a2i.cli.locations import LocalPath
from keras_a2i.cli.progress import ProgressLine, tell_step
from keras_a2i.cli.terminal import echo
from keras_a2i.durations import format_seconds
from keras_a2i.errors import TrainingInterrupted, UsageError
from keras_a2i.media.folder_lock import folder_lock
from keras_a2i.media.json_file import write_json

STATE_FILE = "quickstart.json"
"""In --out: the options of the quickstart, and whether it is finished."""
N_PAIRS = 720
IMAGE_SIZE = 64
EPOCHS = 100
# Rendered audio is clean and the same places are held out: less noise than speech needs, no dropout, a high rate. The
# spectrum sharpens the images; clipped gradients make the high rate worth it.
SETTINGS = {
    "feature_noise": 0.05,
    "dropout": 0.0,
    "ssim": 3.0,
    "spectrum": 3.0,
    "learning_rate": 5e-3,
    "global_clipnorm": 1.0,
    "batch_size": 32,
}


@click.command("quickstart")
@click.option("--out", default="quickstart", show_default=True, type=LocalPath(), help="Output folder.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the data and the training.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier quickstart in --out.")
def command(out, seed, overwrite):
    """Render a data set of a shore, train a model on it, evaluate and export the model, and generate held-out images.

    Requires neither data nor a network connection; it takes some minutes on two cores. After an interruption the same
    command continues.
    """
    started = time.monotonic()
    state = _read_state(out)
    interrupted = None if overwrite or state is None or state["finished"] else state["seed"]
    if interrupted is None:
        _start(out, seed, overwrite, is_quickstart=state is not None)
    elif interrupted == seed:
        echo(f"{out}: resuming the quickstart that was interrupted in this folder", err=True)
    else:
        raise UsageError(
            f"--seed must be {interrupted} to continue the quickstart that was interrupted in {out}. Received: {seed}. "
            "Choose another --out, or replace it with --overwrite"
        )
    with _continued_by(out, seed):
        # What is there by now belongs to this quickstart.
        _run_steps(out, seed, overwrite=overwrite or interrupted is not None)
    write_json(out / STATE_FILE, {"seed": seed, "finished": True})
    _list_results(out, time.monotonic() - started)


def _read_state(out: pathlib.Path) -> dict[str, Any] | None:
    """Returns the seed of the quickstart in the folder and whether it is finished, or None if there is none."""
    try:
        state = json.loads((out / STATE_FILE).read_text(encoding="utf-8"))
        return {"seed": int(state["seed"]), "finished": bool(state["finished"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _start(out: pathlib.Path, seed: int, overwrite: bool, is_quickstart: bool) -> None:
    """Notes that a quickstart has begun, and removes what an earlier training left, which isn't to be resumed."""
    from keras_a2i.training.run_folder import RunFolder

    if out.is_file():
        raise UsageError(f"--out must be a folder. Received: the file {out}. Choose another --out")
    is_empty = not out.exists() or not any(out.iterdir())
    if not is_empty and not is_quickstart:
        raise UsageError(
            f"--out must be a new or empty folder, or that of an earlier quickstart. Received: {out}, which holds "
            "other files. Choose another --out"
        )
    if not is_empty and not overwrite:
        raise UsageError(f"{out} holds a quickstart already. Choose another --out, or replace it with --overwrite")
    out.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(out / "run")
    with folder_lock(folder.path) if folder.exists else contextlib.nullcontext():
        write_json(out / STATE_FILE, {"seed": seed, "finished": False})
        if folder.exists:
            folder.clear()


@contextlib.contextmanager
def _continued_by(out: pathlib.Path, seed: int) -> Iterator[None]:
    """Explains an interruption by the command that continues."""
    try:
        yield
    except (KeyboardInterrupt, TrainingInterrupted):
        again = shlex.join(["keras-a2i", "quickstart", "--out", str(out), "--seed", str(seed)])
        raise TrainingInterrupted(
            f"The quickstart was stopped. Finished steps are kept in {out}. Resume it with: {again}"
        ) from None


def _run_steps(out: pathlib.Path, seed: int, overwrite: bool) -> None:
    run = out / "run"
    _step(1, f"render {N_PAIRS} clips of a shore (1 s of audio and an image each) and build records")
    records = _build(out / "records", seed, overwrite)
    _step(2, "train a small model that generates images of the shore from the audio")
    model = _fit(records, run, seed, overwrite)
    _step(3, "evaluate the model on held-out clips, and compare it with baselines that receive no audio")
    _evaluate(run, records, seed)
    _step(4, "export the model to TFLite, and compare the images of the file with those of the model")
    _export(run, out / "model.tflite")
    _step(5, "generate images from held-out clips")
    _write_sheet(model, records, out / "held_out.png")


def _list_results(out: pathlib.Path, seconds: float) -> None:
    run = out / "run"
    echo(f"\nDone in {format_seconds(seconds)}. The results:")
    for path, what in (
        (out / "held_out.png", "held-out images, real ones above generated ones: look at this first"),
        (out / "records", "the records (keras-a2i inspect)"),
        (run / "report.html", "the report: verdict, scores, the best and the worst images"),
        (run, "the run: model.keras, history.csv, samples/"),
        (out / "model.tflite", "the exported TFLite model (input: waveform, output: image)"),
    ):
        echo(f"  {path!s:32} {what}")
    echo("Next, with your own videos:")
    echo("  keras-a2i build-records VIDEOS/ --out records && keras-a2i fit records --out run")


def _step(number: int, what: str) -> None:
    echo(f"\n[{number}/5] {what}", bold=True)


def _build(path: pathlib.Path, seed: int, overwrite: bool):
    import keras_a2i as a2i

    features, image = a2i.FeatureConfig(), a2i.ImageConfig(size=IMAGE_SIZE)
    sources = a2i.open_sources([f"synthetic:surf:{N_PAIRS}"], features=features, image=image, seed=seed)
    progress = ProgressLine("pair")
    try:
        manifest = a2i.build_records(
            sources,
            path,
            features=features,
            image=image,
            split=a2i.SplitSpec(kind="block"),
            overwrite=overwrite,
            command=f"keras-a2i quickstart --seed {seed}",
            progress=progress,
        )
    finally:
        progress.close()
    counts = ", ".join(f"{count} {split}" for split, count in manifest.counts.items())
    echo(f"{counts} pairs; {manifest.left_out} between them are omitted, so that no held-out clip overlaps training")
    return a2i.Records(path)


def _fit(records, run: pathlib.Path, seed: int, overwrite: bool):
    import keras

    import keras_a2i as a2i
    from keras_a2i.training.run_folder import RunFolder

    def report(epoch, logs):
        if epoch == 0 or (epoch + 1) % 5 == 0:
            values = f"loss {logs['loss']:.2f}  held-out SSIM {logs['val_ssim']:.3f}"
            echo(f"epoch {epoch + 1}/{EPOCHS}  {values}", err=True)

    start = {"recipe": "features", "settings": SETTINGS, "overwrite": overwrite}
    return a2i.fit(
        records,
        run,
        **({"resume": True} if _is_begun(RunFolder(run), records, seed) else start),
        epochs=EPOCHS,
        seed=seed,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=report)],
        verbose=0,
    )


def _is_begun(folder, records, seed: int) -> bool:
    """Whether the run is a training of these records with this seed, begun before the quickstart was interrupted."""
    if not (folder.exists and folder.state.is_dir()):
        return False
    config = folder.read_config()
    return (config.fingerprint, config.seed) == (records.fingerprint, seed)


def _evaluate(run: pathlib.Path, records, seed: int) -> None:
    import keras_a2i as a2i
    from keras_a2i.cli.evaluate import show_report

    command = f"keras-a2i evaluate {run} {records.path}"
    report = a2i.evaluate(run, records, seed=seed, command=command, progress=tell_step)
    report.save(run)
    show_report(report)


def _export(run: pathlib.Path, path: pathlib.Path) -> None:
    import keras_a2i as a2i

    done = a2i.export(run, path, format="tflite", input="waveform", overwrite=True)
    echo(f"{done.path}: {done.size / 1e6:.1f} MB, differs from the Keras model by at most {done.agreement.max:.1g}")


def _write_sheet(model, records, path: pathlib.Path) -> None:
    from keras_a2i.media.image import save_png
    from keras_a2i.media.sheet import draw_sheet
    from keras_a2i.models.prediction import predict_batch

    inputs, images = records.sample("val", 16)
    save_png(draw_sheet([images, predict_batch(model, inputs)], ["real", "generated"]), path)
    echo(f"{path}: 16 held-out clips")
