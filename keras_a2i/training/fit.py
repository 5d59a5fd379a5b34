"""`fit`: from a records folder to a trained model in a run folder."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_a2i.errors import UsageError
from keras_a2i.media.folder_lock import folder_lock
from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.models.model_file import load_model
from keras_a2i.objectives import Objective
from keras_a2i.recipes import get_recipe
from keras_a2i.recipes.default_recipe import choose_recipe
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.records.records import Records
from keras_a2i.training.run_folder import RunConfig, RunFolder
from keras_a2i.training.trainer import Trainer
from keras_a2i.version import library_versions

OWN_MODEL_RECIPE = "scenes"
"""Training of an own model for which no recipe is given."""


def fit(
    records: str | pathlib.Path | Records,
    out: str | pathlib.Path,
    *,
    recipe: str | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    model: AudioToImage | None = None,
    objectives: Sequence[Objective | keras.losses.Loss] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    monitor: str | None = None,
    patience: int | None = None,
    restore_best_weights: bool | None = None,
    jit_compile: bool | None = None,
    dtype_policy: str | None = None,
    cache: bool | str | int = "auto",
    image_folder: str | pathlib.Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    progress: Callable[[str, int, int], None] | None = None,
    command: str = "",
) -> AudioToImage:
    """Trains a model on records and writes a run folder.

    The same seed gives the same model on one CPU; on a GPU the last digits may differ. Resuming an interrupted run
    gives the same result as an uninterrupted one (if `cache` and `epochs` don't change).

    Args:
        records: the records folder, or `Records`.
        out: the run folder to create.
        recipe: name of a recipe or a `Recipe`; None chooses by the records, see `choose_recipe`.
        settings: settings of the recipe to change, as in `get_recipe`.
        model: an own model to train in place of the recipe's network; its training follows `recipe`, "scenes" by
            default.
        objectives: what is optimised instead of the recipe's objectives; instances of `keras_a2i.objectives`, own
            subclasses of `Objective`, or Keras losses that compare images.
        epochs: epochs over the training pairs; None is the recipe's number, or more to reach its `min_steps`.
        batch_size: pairs per step; None is the recipe's.
        seed: random seed of weights, shuffling and dropout; None is 0.
        resume: continue the run in `out`. Arguments that are None keep their values; those that define the model or
            its training can't change.
        overwrite: replace a run in `out`.
        monitor: the held-out value that `patience` and `restore_best_weights` compare, a column of history.csv such as
            "val_mse", "val_ssim" or "val_loss"; None is the recipe's.
        patience: stop after this number of epochs without a better `monitor`; None never stops.
        restore_best_weights: keep the weights of the best `monitor` instead of the last.
        jit_compile: compile the steps with XLA.
        dtype_policy: "float32", "mixed_float16" or "mixed_bfloat16"; None is "float32".
        cache: as for `Records.dataset`.
        image_folder: a folder of images without audio, for a recipe that trains an image autoencoder first.
        callbacks: additional Keras callbacks.
        verbose: as for `keras.Model.fit`.
        progress: called as progress(stage, done, total) for the epochs of the image autoencoder.
        command: stored in `config.json`.

    Returns:
        The trained model, which is also in `out/model.keras`.

    Raises:
        LockedError: if another process is writing into `out`.
        UsageError: if `out` holds a run and neither `resume` nor `overwrite` is set, the recipe requires audio and the
            records hold embeddings, or an argument is out of range.
        TrainingInterrupted: after Ctrl-C; the last complete epoch is saved.
        KerasA2IError: if the loss is no longer finite.
    """
    records = records if isinstance(records, Records) else Records(records)
    folder = RunFolder(out)
    given: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "monitor": monitor,
        "patience": patience,
        "restore_best_weights": restore_best_weights,
        "jit_compile": jit_compile,
        "dtype_policy": dtype_policy,
        "image_folder": None if image_folder is None else str(image_folder),
    }
    given = {name: value for name, value in given.items() if value is not None}
    if resume and overwrite:
        raise UsageError(
            "resume and overwrite are mutually exclusive. Received: resume=True, overwrite=True. Choose one"
        )
    if resume and (recipe is not None or settings or model is not None or objectives is not None):
        raise UsageError(
            "A resumed run keeps its recipe, settings, model and objectives. Received: one of them with "
            "resume=True. Leave them out"
        )
    # Before the lock, which creates the folder.
    if resume:
        folder.read_config()
    else:
        folder.check_free(overwrite=overwrite)
    with folder_lock(folder.path):
        if resume:
            before = folder.read_config()
            config = dataclasses.replace(before, **given)
            _check_unchanged(before, config, records)
            if config.finished and config == before and folder.model.is_file():
                return load_model(folder.model)[0]
        else:
            folder.check_free(overwrite=overwrite, is_locked=True)
            chosen = _choose(records, recipe, settings or {}, model)
            config = _new_config(records, chosen, "epochs" in (settings or {}), model, objectives, command, given)
        _check_config(config, records)
        with _dtype_policy(config.dtype_policy):
            trainer = Trainer(folder, config, records, cache, model, objectives, resume=resume)
            return trainer.run(callbacks, verbose, progress)


def _new_config(
    records: Records,
    recipe: Recipe,
    fixed_epochs: bool,
    model: AudioToImage | None,
    objectives: Sequence[Any] | None,
    command: str,
    given: Mapping[str, Any],
) -> RunConfig:
    batch_size = given.get("batch_size", recipe.batch_size)
    epochs = recipe.epochs if fixed_epochs else recipe.epochs_for(records.counts.get("train", 0), batch_size)
    defaults = {"epochs": epochs, "batch_size": recipe.batch_size, "monitor": recipe.monitor}
    return RunConfig(
        recipe=recipe.to_dict(),
        own_model=model is not None,
        objectives=None if objectives is None else [_serialize(objective) for objective in objectives],
        records=str(records.path),
        fingerprint=records.fingerprint,
        command=command,
        versions=library_versions("keras", keras.backend.backend(), "numpy"),
        **{**defaults, **given},
    )


def _check_config(config: RunConfig, records: Records) -> None:
    if config.image_folder and not config.recipe["autoencoder_epochs"]:
        raise UsageError(
            "image_folder requires a recipe with an image autoencoder (autoencoder_epochs above 0). "
            f"Received: the recipe {config.recipe['name']!r}"
        )
    if (config.patience is not None or config.restore_best_weights) and "val" not in records.counts:
        raise UsageError(
            "patience and restore_best_weights require held-out pairs. Received: records without a split val"
        )


def _choose(
    records: Records, recipe: str | Recipe | None, settings: Mapping[str, Any], model: AudioToImage | None
) -> Recipe:
    """The recipe of a new run, checked against the records."""
    if recipe is None:
        recipe = choose_recipe(records)[0] if model is None else OWN_MODEL_RECIPE
    if isinstance(recipe, str):
        recipe = get_recipe(recipe, **settings)
    elif settings:
        from keras_a2i.recipes.settings import change

        recipe = change(recipe, settings)
    kind = recipe.encoder.input_kind if model is None else model.input_kind
    if kind == "waveform" and not records.has_waveform:
        raise UsageError(
            f"The recipe {recipe.name!r} requires audio. Received: records of {records.features.description} without "
            "audio. Choose one for features, such as features or paper"
        )
    return recipe


def _serialize(objective: Any) -> dict[str, Any]:
    try:
        return keras.saving.serialize_keras_object(objective)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UsageError(
            "objectives must have a get_config method, so that the run can be resumed. "
            f"Received: {type(objective).__name__} ({error})"
        ) from error


def _check_unchanged(before: RunConfig, config: RunConfig, records: Records) -> None:
    if before.fingerprint != records.fingerprint:
        raise UsageError(
            f"A run can only be resumed on the records that it was trained on ({before.records}). Received: "
            f"{records.path}, which has different contents. Pass the original records, or start a new run"
        )
    for name in ("batch_size", "seed", "dtype_policy", "image_folder"):
        if getattr(before, name) != getattr(config, name):
            raise UsageError(
                f"{name} of a resumed run must stay {getattr(before, name)!r}. "
                f"Received: {name}={getattr(config, name)!r}"
            )


@contextlib.contextmanager
def _dtype_policy(policy: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
