"""What the trainings beside `fit` share: a run folder that is new or resumed, checkpoints, an interruption, the end."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import keras

from keras_a2i.errors import UsageError
from keras_a2i.media.durable import written_whole
from keras_a2i.recipes.default_recipe import NEEDS_TRAINING_PAIRS
from keras_a2i.records.records import Records
from keras_a2i.training.callbacks import Checkpoint, History
from keras_a2i.training.early_end import assign_state, check_finite, records_read, save_interrupted
from keras_a2i.training.fit import check_unchanged
from keras_a2i.training.interruption import Interruption
from keras_a2i.training.networks import Epoch
from keras_a2i.training.run_folder import OTHER_FITS, RunConfig, RunFolder
from keras_a2i.training.sample_sheets import Sheets
from keras_a2i.training.trainer import count_trainable
from keras_a2i.version import library_versions

MAX_SCORED = 128
"""Held-out pairs whose loss is computed after every epoch."""


class RunTraining:
    """One training into a run folder, new or resumed from the state in it; a base class.

    Args:
        folder: the run folder.
        config: what to do.
        records: the records.
        resume: whether to continue from the state in the folder; otherwise `run` clears it first.

    Attributes:
        recipe_name: name of the recipe in `config.json`, one of `OTHER_FITS`.
        batch_size, min_epochs, min_steps: defaults of a new run; it has more epochs where it needs them to reach
            `min_steps`.
        model: what is saved as `model.keras`.
        network: the compiled model around it that is fitted.
    """

    recipe_name: ClassVar[str]
    batch_size: ClassVar[int] = 32
    min_epochs: ClassVar[int] = 20
    min_steps: ClassVar[int] = 1500
    model: keras.Model
    network: keras.Model

    def __init__(self, folder: RunFolder, config: RunConfig, records: Records, resume: bool):
        self.folder, self.config, self.records = folder, config, records
        keras.utils.set_random_seed(config.seed)
        state, variables = folder.read_state() if resume else ({}, [])
        self.epoch, self._resume = Epoch(state.get("epoch", 0)), resume
        self.build()
        self.config = dataclasses.replace(config, n_parameters=count_trainable(self.model), finished=False)
        if variables:
            assign_state(self.network, variables, folder)
        self.history: list[dict[str, float]] = state.get("history", [])

    @classmethod
    def default_recipe(cls, records: Records) -> dict[str, Any]:
        """Returns the settings of a new run that the caller doesn't give."""
        raise NotImplementedError

    def build(self) -> None:
        """Sets `model` and `network`."""
        raise NotImplementedError

    def pairs(self) -> Any:
        """Returns the data set that the network is fitted to."""
        raise NotImplementedError

    def held_out(self) -> Any:
        """Returns the validation data, or None without held-out pairs."""
        raise NotImplementedError

    def sheets(self) -> Sheets:
        """Returns the callback that writes `samples/epoch_*.png`."""
        raise NotImplementedError

    def save_model(self, path: pathlib.Path) -> None:
        """Writes the model."""
        self.model.save(path)

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return math.ceil(self.records.counts["train"] / self.config.batch_size) * self.config.epochs

    def run(self, callbacks: Sequence[keras.callbacks.Callback], verbose: str | int) -> Self:
        """Trains and saves the model; returns the training."""
        first = self.epoch.value
        if not self._resume:
            self.folder.clear()
        self.folder.create(self.config)
        interruption, sheets = Interruption(), self.sheets()
        checkpoint = Checkpoint(self.folder, first, lambda: {"history": list(self.history)})
        try:
            if first < self.config.epochs:
                with records_read(), interruption.noted():
                    self.network.fit(
                        self.pairs(),
                        validation_data=self.held_out(),
                        validation_batch_size=self.config.batch_size,
                        initial_epoch=first,
                        epochs=self.config.epochs,
                        callbacks=[*self._callbacks(checkpoint), sheets, interruption, *callbacks],
                        shuffle=False,
                        verbose=verbose,
                    )
        except KeyboardInterrupt:
            stopped = save_interrupted(
                checkpoint,
                self._save,
                command=f"fit-{self.recipe_name}",
                records=self.records,
                epochs=self.config.epochs,
            )
            sheets.complete(checkpoint.epoch, is_interrupted=True)
            raise stopped from None
        check_finite(self.history, "Lower learning_rate")
        checkpoint.save()
        sheets.complete(checkpoint.epoch)
        self._save()
        self.folder.create(dataclasses.replace(self.config, finished=True))
        return self

    def _callbacks(self, checkpoint: Checkpoint) -> list[keras.callbacks.Callback]:
        return [
            keras.callbacks.LambdaCallback(on_epoch_begin=self.epoch.set),
            History(self.folder, self.history),
            keras.callbacks.TerminateOnNaN(),
            checkpoint,
        ]

    def _save(self) -> None:
        with written_whole(self.folder.model, temporary=".model.tmp.keras") as temporary:
            self.save_model(temporary)


T = TypeVar("T", bound=RunTraining)


def train_into(
    folder: RunFolder,
    kind: type[T],
    records: Records,
    *,
    options: Mapping[str, Any],
    recipe: Mapping[str, Any],
    resume: bool,
    overwrite: bool,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: str | int,
    command: str,
) -> T:
    """Starts or resumes a training, and returns it when it is over.

    Args:
        folder: the run folder.
        kind: the training.
        records: what is trained on.
        options: epochs, batch_size and seed; None keeps the default, or the value of a resumed run.
        recipe: settings of the recipe, likewise.
        resume, overwrite, callbacks, verbose, command: as for `fit`.

    Raises:
        UsageError: if the folder holds a run and neither `resume` nor `overwrite` is set, or a resumed run is of
            another kind, of other records or of other settings.
        LockedError, TrainingInterrupted, KerasA2IError: as `fit`.
    """
    options = {name: value for name, value in options.items() if value is not None}
    recipe = {name: value for name, value in recipe.items() if value is not None}
    folder.check_start(resume=resume, overwrite=overwrite)
    with folder.opened(resume=resume):
        if resume:
            before = folder.read_config()
            config = dataclasses.replace(before, **options, recipe=before.recipe | recipe)
            _check_unchanged(before, config, records, kind.recipe_name)
        else:
            folder.check_free(overwrite=overwrite, is_locked=True)
            config = _new_config(kind, records, options, recipe, command)
        return kind(folder, config, records, resume).run(callbacks, verbose)


def _new_config(
    kind: type[RunTraining], records: Records, options: Mapping[str, Any], recipe: Mapping[str, Any], command: str
) -> RunConfig:
    records.require_split("train", NEEDS_TRAINING_PAIRS)
    batch_size = options.get("batch_size", kind.batch_size)
    steps = math.ceil(records.counts["train"] / max(1, batch_size))
    epochs = max(kind.min_epochs, math.ceil(kind.min_steps / max(1, steps)))
    return RunConfig(
        recipe={"name": kind.recipe_name, **kind.default_recipe(records), **recipe},
        records=str(records.path),
        fingerprint=records.fingerprint,
        monitor="val_loss",
        command=command,
        versions=library_versions("keras", keras.backend.backend(), "numpy"),
        **{"epochs": epochs, "batch_size": batch_size, **options},
    )


def _check_unchanged(before: RunConfig, config: RunConfig, records: Records, recipe_name: str) -> None:
    name = before.recipe.get("name")
    if name != recipe_name:
        raise UsageError(
            f"This run is resumed by {OTHER_FITS.get(name or '', 'fit')}. Received: one of the recipe {name!r}"
        )
    check_unchanged(before, config, records)
    for name, value in config.recipe.items():
        if before.recipe.get(name) != value:
            raise UsageError(
                f"{name} of a resumed run must stay {before.recipe.get(name)!r}. Received: {name}={value!r}"
            )
