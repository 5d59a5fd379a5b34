"""`fit`: from a records folder to a trained model in a run folder."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_a2i.errors import UsageError
from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.models.dtype_policy import dtype_policy as dtype_policy_scope
from keras_a2i.models.model_file import load_model
from keras_a2i.objectives import Objective
from keras_a2i.objectives.objective import list_objectives
from keras_a2i.recipes import get_recipe, recipe_names
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.recipes.settings import change
from keras_a2i.records.records import Records
from keras_a2i.remote.address import Location, local_path
from keras_a2i.training.plan import check_model, check_options, plan_run
from keras_a2i.training.process_group import ProcessGroup, current_group
from keras_a2i.training.run_folder import RunConfig, RunFolder, read_recipe
from keras_a2i.training.shared_fit import STEP_TIMEOUT, send_finished, train_along
from keras_a2i.training.trainer import Trainer

BACKENDS = ("tensorflow", "jax", "torch")


def fit(
    records: str | Location | Records,
    out: str | Location,
    *,
    recipe: str | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    model: AudioToImage | None = None,
    objectives: Sequence[Objective | str | keras.losses.Loss] | None = None,
    metrics: Sequence[keras.metrics.Metric] = (),
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    monitor: str | None = None,
    patience: int | None = None,
    restore_best_weights: bool | None = None,
    jit_compile: bool | str | None = None,
    dtype_policy: str | None = None,
    cache: bool | str | int = "auto",
    image_folder: str | pathlib.Path | None = None,
    devices: str | None = None,
    data_parts: int | None = None,
    step_timeout: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    progress: Callable[[str, int, int], None] | None = None,
    command: str = "",
) -> AudioToImage:
    """Trains a model on records and writes a run folder.

    The same seed yields the same model on one CPU; on a GPU the last digits may differ. A resumed run has the same
    result as an uninterrupted one (if `cache` and `epochs` don't change).

    Args:
        records: the records folder, its address in an object store, or `Records`.
        out: the run folder to create, or its address in an object store.
        recipe: name of a recipe or a `Recipe`; None chooses one that suits the records, see `choose_recipe`.
        settings: settings of the recipe to change, as in `get_recipe`.
        model: a custom or trained model to train in place of the recipe's network. It is trained as in `recipe`; by
            default as in the recipe that it was built or trained with, if that suits the records, else as in "scenes".
        objectives: objectives in place of the recipe's: instances of classes of `keras_a2i.objectives` or of custom
            subclasses of `Objective`, ids such as "ssim" for objectives with their default arguments, or Keras losses
            that compare images.
        metrics: custom Keras metrics of real and generated images, in [-1, 1]. history.csv, the callbacks and `monitor`
            have their held-out values as "val_<name>". They aren't stored: pass them again to resume a run. They must
            be left out with `devices`.
        epochs: epochs over the training pairs; None is the recipe's number, or more if that is needed for its
            `min_steps`, up to its `max_epochs`.
        batch_size: pairs per step; None is the recipe's.
        seed: random seed of weights, shuffling and dropout; None is 0.
        resume: continue the run in `out`. Arguments that are None keep their values; those that define the model or
            its training can't change.
        overwrite: replace a run in `out`.
        monitor: the held-out value that `patience` and `restore_best_weights` compare, a column of history.csv such as
            "val_mse", "val_ssim" or "val_loss"; None is the recipe's. A metric that is monitored states by an attribute
            `_direction`, "up" or "down", which of its values are better, as Keras' own metrics do.
        patience: stop after this number of epochs without an improvement of `monitor`; None never stops.
        restore_best_weights: keep the weights of the epoch with the best `monitor` instead of the last.
        jit_compile: compile the training steps with XLA; None is False, except on JAX, which always compiles. "auto",
            for TensorFlow, trains a few steps without and with XLA before a new training begins, undoes them, and uses
            the faster way. A resumed run keeps this choice.
        dtype_policy: "float32", "mixed_float16" or "mixed_bfloat16"; None is "float32".
        cache: as for `Records.dataset`.
        image_folder: a folder of images without audio, for a recipe that trains an image autoencoder first.
        devices: "all" trains on all devices of this process, or of all processes that `join_processes` connected, which
            must all call `fit` with the same arguments. It needs Keras' JAX backend. None trains on one device.
        data_parts: number of parts into which the shards of the training pairs are divided. Every batch has the same
            number of pairs of each part, and every process reads its own parts. The order of the pairs depends on this
            number and not on the number of processes, so that a run may be resumed by another number of processes,
            which must divide it. None is the number of processes.
        step_timeout: seconds without a step after which a process that trains with others stops with an error; None is
            300. It needs `devices`, and has no effect if this process is the only one.
        callbacks: additional Keras callbacks. With several processes they run in the first one, on a copy of the model
            that is updated at the end of every epoch.
        verbose: as for `keras.Model.fit`.
        progress: called as progress(stage, done, total) for the epochs of the image autoencoder.
        command: stored in `config.json`.

    Returns:
        The trained model, which is also in `out/model.keras`.

    Raises:
        LockedError: if another process is writing into `out`.
        RemoteError: if an object store can't be read or written to. If the last upload fails, the trained model is kept
            in a local folder, which the message names.
        UsageError: if `out` contains a run and neither `resume` nor `overwrite` is set, the recipe requires audio and
            the records contain embeddings, or an argument is out of range.
        TrainingInterrupted: after Ctrl-C; the last complete epoch is saved.
        ProcessesError: if another process of the training stops or is lost; the last complete epoch is saved.
        KerasA2IError: if the loss is no longer finite.

    Example:
        >>> import keras_a2i as a2i
        >>> model = a2i.fit("records", "run", recipe="features", epochs=20)  # doctest: +SKIP
        >>> model = a2i.fit("records", "run", resume=True, epochs=40)  # doctest: +SKIP
    """
    check_model(model)
    objectives = None if objectives is None else list_objectives(objectives)
    records = records if isinstance(records, Records) else Records(records)
    folder = RunFolder(out)
    group = _find_group(devices, step_timeout)
    if group is not None and metrics:
        raise UsageError(
            "metrics must be left out with devices='all', where only the losses of a step are joined. Received: "
            f"{len(metrics)} of them. Evaluate the model after its training"
        )
    step_timeout = step_timeout or STEP_TIMEOUT
    if group is not None and not group.is_first:
        return train_along(group, folder, records, cache, model, objectives, step_timeout)
    with _failures_sent(group):
        given: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": batch_size,
            "seed": seed,
            "monitor": monitor,
            "patience": patience,
            "restore_best_weights": restore_best_weights,
            "jit_compile": jit_compile,
            "dtype_policy": dtype_policy,
            "image_folder": None if image_folder is None else str(local_path(image_folder, "image_folder")),
            "data_parts": data_parts,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if resume and (model is not None or objectives is not None):
            raise UsageError(
                "A resumed run keeps its model and objectives. Received: one of them with resume=True. Leave them out"
            )
        folder.check_start(resume=resume, overwrite=overwrite)
        with folder.opened(resume=resume):
            if resume:
                before = folder.read_config()
                read_recipe(before)
                config = dataclasses.replace(before, **given)
                check_recipe_unchanged(before, recipe, settings or {})
                check_unchanged(before, config, records)
                check_options(config, records, group)
                if config.finished and config == before and folder.model.is_file():
                    finished = load_model(folder.model)[0]
                    if group is not None:
                        send_finished(group, config, finished, records)
                    return finished
            else:
                folder.check_free(overwrite=overwrite, is_locked=True)
                if group is not None:
                    given.setdefault("data_parts", group.n_processes)
                config = plan_run(
                    records,
                    recipe=recipe,
                    settings=settings,
                    model=model,
                    objectives=objectives,
                    command=command,
                    options=given,
                )
                check_options(config, records, group)
            with dtype_policy_scope(config.dtype_policy):
                trainer = Trainer(
                    *(folder, config, records, cache, model, objectives, metrics),
                    resume=resume,
                    group=group,
                    step_timeout=step_timeout,
                )
                return trainer.run(callbacks, verbose, progress)


def check_recipe_unchanged(before: RunConfig, recipe: str | Recipe | None, settings: Mapping[str, Any]) -> None:
    """Raises a UsageError if a run would be resumed with another recipe or other settings than its own."""
    own = Recipe.from_dict(before.recipe)
    name = recipe.name if isinstance(recipe, Recipe) else recipe
    if (name is not None and name != own.name) or (isinstance(recipe, Recipe) and recipe.to_dict() != own.to_dict()):
        raise UsageError(
            f"A resumed run keeps its recipe, {own.name!r}. Received: the recipe {name!r}. Leave it out (--recipe)"
        )
    if "size" in settings and own.name not in recipe_names():
        raise UsageError(
            "size must be left out to resume a run whose recipe isn't one of this version's. Received: "
            f"size={settings['size']!r} with the recipe {own.name!r}. Leave it out (--size)"
        )
    others = {name: settings[name] for name in settings if name != "size"}
    expected = own.resized(get_recipe(own.name), settings["size"]) if "size" in settings else own
    if change(expected, others).to_dict() != own.to_dict():
        raise UsageError(
            f"A resumed run keeps its settings. Received: {dict(settings)!r}, of which one or more are others. "
            "Leave them out (--set, --size, --input, --no-augment)"
        )


def check_unchanged(before: RunConfig, config: RunConfig, records: Records) -> None:
    """Raises a UsageError if a run would be resumed on other records, or with another value of what can't change."""
    if before.fingerprint != records.fingerprint:
        raise UsageError(
            f"A run can only be resumed on the records that it was trained on ({before.records}). Received: "
            f"{records.path}, which has different contents. Pass the original records, or start a new run"
        )
    backend, trained_on = keras.backend.backend(), [name for name in BACKENDS if name in before.versions]
    if trained_on and backend not in trained_on:
        raise UsageError(
            "A run must be resumed on the backend of Keras that it was trained on, whose optimizer and random numbers "
            f"it stores. Received: {backend} instead of {trained_on[0]}. Set KERAS_BACKEND={trained_on[0]}"
        )
    for name in ("batch_size", "seed", "dtype_policy", "image_folder", "data_parts"):
        if getattr(before, name) != getattr(config, name):
            raise UsageError(
                f"{name} of a resumed run must stay {getattr(before, name)!r}. "
                f"Received: {name}={getattr(config, name)!r}"
            )


def _find_group(devices: str | None, step_timeout: float | None) -> ProcessGroup | None:
    """The processes that train together, None for one device."""
    if devices not in (None, "all"):
        raise UsageError(f"devices must be 'all' or None. Received: devices={devices!r}")
    group = None if devices is None else current_group()
    if step_timeout is not None and (group is None or step_timeout <= 0):
        raise UsageError(
            "step_timeout must be a number of seconds above 0, for a training with devices='all'. "
            f"Received: step_timeout={step_timeout}, devices={devices!r}"
        )
    return group


def _failures_sent(group: ProcessGroup | None) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if group is None else group.failures_sent()
