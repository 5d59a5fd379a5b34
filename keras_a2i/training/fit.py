"""`fit`: from a records folder to a trained model in a run folder."""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_a2i.errors import UsageError
from keras_a2i.models.recipes import get_recipe
from keras_a2i.records.manifest import Manifest
from keras_a2i.training.default_recipe import DEFAULT, choose_recipe
from keras_a2i.training.run_folder import RunConfig, RunFolder
from keras_a2i.training.trainer import Trainer
from keras_a2i.version import library_versions


def fit(
    records: str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    recipe: str | None = None,
    overrides: dict[str, Any] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    early_stop: int | None = None,
    best: bool | None = None,
    jit: bool | None = None,
    precision: str | None = None,
    cache: bool | str | int = "auto",
    pictures: str | pathlib.Path | None = None,
    command: str = "",
    report: Callable[[dict[str, float]], None] | None = None,
    on_start: Callable[[RunConfig, int], None] | None = None,
    callbacks: list[keras.callbacks.Callback] | None = None,
    report_autoencoder: Callable[[int, int, float], None] | None = None,
) -> keras.Model:
    """Trains a model on records and leaves a run folder.

    The same seed gives the same model on one CPU; a GPU may differ in the last digits. A training that goes on after an
    interruption ends as it would have ended without (where the records fit the cache and `epochs` stays the same).

    Args:
        records: the records folder.
        out: the run folder to make.
        recipe: name of the recipe; None or "default" is the one that `choose_recipe` finds for the records.
        overrides: recipe values to change, by name.
        epochs: passes over the training pairs; None takes the recipe's, or as many as reach its `min_steps`.
        batch_size: pairs a step; None takes the recipe's.
        seed: of initial weights, order and dropout; None is 0.
        resume: go on with the run in `out`. What is None stays as it was; what shapes the model can't change.
        overwrite: replace a run in `out`.
        early_stop: stop after so many epochs without a better held-out loss.
        best: keep the weights of the best held-out loss instead of the last.
        jit: let XLA compile the steps.
        precision: "float32", "mixed_float16" or "mixed_bfloat16"; None is "float32".
        cache: as `load_records`.
        pictures: a folder of pictures without sound, for a recipe with a picture autoencoder.
        command: kept in `config.json`.
        report: called with the values of every epoch.
        on_start: called with the configuration and the number of epochs already done, before training.
        callbacks: more Keras callbacks.
        report_autoencoder: called with (epoch, epochs, loss) of the picture autoencoder, where the recipe trains one.

    Returns:
        The trained model; it is also in `out/model.keras`.

    Raises:
        UsageError: if `out` holds a run and neither `resume` nor `overwrite` is set, the recipe takes sound and the
            records hold embeddings, or an argument is out of range.
        TrainingInterrupted: after Ctrl-C; the last whole epoch is saved.
        KerasA2IError: if the loss is no longer finite.
    """
    manifest = Manifest.read(records)
    folder = RunFolder(out)
    given = {
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "jit": jit,
        "precision": precision,
        "early_stop": early_stop,
        "best": best,
        "pictures": None if pictures is None else str(pictures),
    }
    given = {name: value for name, value in given.items() if value is not None}
    if resume and overwrite:
        raise UsageError("A run either goes on or is replaced. Received: both --resume and --overwrite")
    if resume:
        if recipe or overrides:
            raise UsageError("A run that goes on keeps its recipe. Leave the recipe and its settings out")
        config = dataclasses.replace(folder.read_config(), **given)
        _check_unchanged(folder.read_config(), config, manifest)
    else:
        name = choose_recipe(records) if recipe in (None, DEFAULT) else recipe
        chosen = get_recipe(name, **(overrides or {}))
        if chosen.input == "waveform" and manifest.features.embedding:
            raise UsageError(
                f"The recipe {chosen.name!r} takes sound. These records hold {manifest.features.description}: choose "
                "one that takes features, such as features, tiny or seed"
            )
        if "epochs" in (overrides or {}):
            passes = chosen.epochs
        else:
            passes = chosen.epochs_for(manifest.counts.get("train", 0), given.get("batch_size", chosen.batch_size))
        values = {
            "epochs": passes,
            "batch_size": chosen.batch_size,
            "seed": 0,
            "jit": False,
            "precision": "float32",
            "early_stop": None,
            "best": False,
            "pictures": None,
        }
        config = RunConfig(
            recipe=dataclasses.asdict(chosen),
            fingerprint=manifest.fingerprint,
            records=str(records),
            n_parameters=0,
            command=command,
            versions=library_versions("keras", "tensorflow", "numpy"),
            **(values | given),
        )
        _clear(folder, overwrite)
    if config.pictures and not config.recipe["autoencoder_epochs"]:
        raise UsageError(
            "Pictures without sound are for recipes with a picture autoencoder (autoencoder_epochs above 0). "
            f"Received: the recipe {config.recipe['name']!r}"
        )
    if (config.early_stop is not None or config.best) and "val" not in manifest.counts:
        raise UsageError("Stopping early and keeping the best weights need held-out pairs. These records have none")
    with _precision(config.precision):
        trainer = Trainer(folder, config, pathlib.Path(records), cache)
        return trainer.run(report, on_start, callbacks or [], report_autoencoder)


def _check_unchanged(before: RunConfig, config: RunConfig, manifest: Manifest) -> None:
    if before.fingerprint != manifest.fingerprint:
        raise UsageError(f"A run that goes on must have the records it began with ({before.records}). These are others")
    for name in ("batch_size", "seed", "precision", "pictures"):
        if getattr(before, name) != getattr(config, name):
            raise UsageError(
                f"A run that goes on must have the {name} it began with, {getattr(before, name)!r}. "
                f"Received: {getattr(config, name)!r}"
            )


def _clear(folder: RunFolder, overwrite: bool) -> None:
    if folder.path.is_file():
        raise UsageError(f"The run must go into a folder. Received: the file {folder.path}")
    if not folder.exists:
        if folder.path.is_dir() and any(folder.path.iterdir()):
            raise UsageError(
                f"The run must go into a new or empty folder. Received: {folder.path}, which holds other files"
            )
        return
    if not overwrite:
        raise UsageError(
            f"{folder.path} holds a run. Go on with --resume, replace it with --overwrite, or choose another folder"
        )
    for path in (folder.state, folder.samples, folder.tensorboard):
        shutil.rmtree(path, ignore_errors=True)
    for path in (folder.model, folder.history, folder.image_encoder):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _precision(policy: str) -> Iterator[None]:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)
