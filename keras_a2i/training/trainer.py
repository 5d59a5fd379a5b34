"""One training: data, model and callbacks are put together, run, and saved whatever happens."""

import dataclasses
import importlib.util
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_a2i.errors import ModelError, UsageError, did_you_mean
from keras_a2i.media.conversion import from_uint8
from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.models.classifier import name_labels
from keras_a2i.models.exemplar_generator import (
    adapt_exemplars,
    clips_to_measure,
    find_exemplars,
    has_exemplars,
    measure_hubness,
    measure_variation,
    reset_measured,
)
from keras_a2i.models.model_file import ModelMetadata, load_model, save_model
from keras_a2i.models.prediction import predict_batch
from keras_a2i.objectives import TrainingModel
from keras_a2i.records.decoded_split import DecodedSplit
from keras_a2i.records.orders import Shuffled
from keras_a2i.records.records import Records
from keras_a2i.training.balanced_rows import balanced_rows
from keras_a2i.training.calibrate import calibrate, can_calibrate
from keras_a2i.training.callbacks import SCORED_AT_ONCE, SCORES, BestWeights, Checkpoint, HeldOutScores, History
from keras_a2i.training.custom_metrics import check_metrics, higher_is_better
from keras_a2i.training.early_end import assign_state, check_finite, records_read, save_interrupted
from keras_a2i.training.interruption import Interruption
from keras_a2i.training.networks import (
    Epoch,
    build_autoencoder,
    build_network,
    build_training_model,
    training_data,
    uses_labels,
)
from keras_a2i.training.pretrain import read_image_folder, train_autoencoder
from keras_a2i.training.process_group import ProcessGroup
from keras_a2i.training.run_folder import AUTO, RunConfig, RunFolder, read_recipe
from keras_a2i.training.sample_sheets import N_SAMPLES, SampleSheets, epochs_between_sheets
from keras_a2i.training.shared_fit import STEP_TIMEOUT, SharedFit, check_parts, send_finished, send_result, send_start
from keras_a2i.training.step_times import measure_step_times

_CANDIDATES = 4
MIN_SCORED, MAX_SCORED = 32, 256
"""Held-out pairs scored after every epoch: a sixteenth of the training pairs, within these bounds."""


class Trainer:
    """Everything of one training, new or resumed from the state in its folder.

    Args:
        folder: the run folder.
        config: what to do.
        records: the records.
        cache: as for `Records.dataset`.
        model: a custom model instead of the recipe's network, or None.
        objectives: custom objectives instead of the recipe's, or None.
        metrics: custom metrics beside the values of every training.
        resume: whether to continue from the state in the folder; otherwise `run` clears it first.
        group: the processes that train together, of which this is the first; None trains in this process alone.
        step_timeout: seconds without a step after which a process of the group ends.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        records: Records,
        cache: bool | str | int,
        model: AudioToImage | None = None,
        objectives: Sequence[Any] | None = None,
        metrics: Sequence[keras.metrics.Metric] = (),
        *,
        resume: bool = False,
        group: ProcessGroup | None = None,
        step_timeout: float = STEP_TIMEOUT,
    ):
        self.group, self._step_timeout = group, step_timeout
        self.folder, self.config, self.records, self.cache = folder, config, records, cache
        keras.utils.set_random_seed(config.seed)
        self._resume = resume
        state, variables = folder.read_state() if resume else ({}, [])
        self.first_epoch = state.get("epoch", 0)
        self.epoch = Epoch(self.first_epoch)
        self.recipe = read_recipe(config)
        # A state holds the exemplars, too.
        self.model = self._build_model(model, adapt=not variables)
        # A custom model may have been calibrated with other weights.
        self.model.calibration = None
        self.model.recipe = self.recipe.name
        self.metadata = self._build_metadata()
        # Read before anything is trained or written: a mistyped folder is reported at once.
        self.extra_images = (
            read_image_folder(pathlib.Path(config.image_folder), records.image) if config.image_folder else None
        )
        self.autoencoder = build_autoencoder(self.model, self.recipe, config, records.labels, objectives)
        self.training_model = build_training_model(
            self.model, self.autoencoder, self.recipe, config, records.counts["train"], objectives, metrics
        )
        self.metrics = metrics
        check_metrics(metrics, self.training_model, state.get("history", []))
        is_highest = check_monitor(config.monitor, self.training_model, metrics)
        self.config = dataclasses.replace(config, highest_is_best=is_highest)
        check_parts(self.training_model, config, is_shared=group is not None)
        if variables:
            assign_state(self.training_model, variables, folder)
        earlier = state.get("best"), state.get("best_epoch", 0)
        self.best = BestWeights(folder, config.monitor, config.patience, *earlier, is_highest)
        self.history: list[dict[str, float]] = state.get("history", [])

    def run(
        self,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: str | int = 0,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> AudioToImage:
        """Trains and saves; see `fit`."""
        self.config = config = dataclasses.replace(
            self.config, n_parameters=count_trainable(self.model), finished=False
        )
        if not self._resume:
            self.folder.clear()
        self.folder.create(config)
        if config.own_model and self.first_epoch == 0:
            save_model(self.model, self.folder.model, self.metadata)
        checkpoint = Checkpoint(self.folder, self.first_epoch, self._state_of_callbacks)
        sheets = self._sample_sheets()
        try:
            if self.first_epoch == 0:
                self._train_autoencoder(verbose, progress)
            is_over = self.first_epoch >= config.epochs or self.best.is_over(self.first_epoch)
            if not is_over:
                self._choose_jit()
                self._fit(self._callbacks(checkpoint, sheets, callbacks), checkpoint, verbose)
        except KeyboardInterrupt:
            stopped = save_interrupted(
                checkpoint, self._save_unfinished, command="fit", records=self.records, epochs=config.epochs
            )
            sheets.complete(checkpoint.epoch, is_interrupted=True)
            raise stopped from None
        check_finite(self.history, "Lower learning_rate, or look for damaged features with keras-a2i inspect")
        checkpoint.save()
        kept = self._keep_weights(checkpoint)
        if self._measure_exemplars() or kept is not None:
            sheets.write(checkpoint.epoch if kept is None else kept, is_kept=True)
        else:
            sheets.complete(checkpoint.epoch)
        if can_calibrate(self.model, self.records):
            self.metadata = self.metadata.with_calibration(calibrate(self.model, self.records, seed=config.seed))
        self._save()
        self.folder.create(dataclasses.replace(self.config, finished=True))
        if self.group is not None:
            if is_over:
                send_finished(self.group, config, self.model, self.records)
            else:
                send_result(self.group, self.model)
        return self.model

    def _keep_weights(self, checkpoint: Checkpoint) -> int | None:
        """Assigns the weights that are kept; returns their epoch, None where they are simply those of the last one."""
        if self.config.restore_best_weights:
            self.best.restore(self.training_model)
            return self.best.best_epoch
        if self.training_model.optimizer.use_ema:
            # Only what is kept is averaged: a resumed training continues from the weights themselves.
            self.training_model.optimizer.finalize_variable_values(self.training_model.trainable_variables)
            return checkpoint.epoch
        return None

    def _choose_jit(self) -> None:
        """Measures once, in a run that is to use XLA where it is faster, and compiles the model accordingly."""
        config = self.config
        if config.jit_compile != AUTO or config.step_milliseconds or keras.backend.backend() != "tensorflow":
            return
        inputs, _, targets = self._batch("train", config.batch_size)
        interruption = Interruption()
        with interruption.noted():
            times = measure_step_times(self.training_model, self.recipe, inputs, targets, self.metrics)
        interruption.check()
        self.config = dataclasses.replace(config, step_milliseconds=times)
        self.folder.create(self.config)

    def _fit(self, callbacks: Sequence[keras.callbacks.Callback], checkpoint: Checkpoint, verbose: str | int) -> None:
        """Trains in this process alone, or in all processes of the group."""
        config, group = self.config, self.group
        if group is None:
            parts = range(config.data_parts or 0)
            data = training_data(
                self.training_model, self.recipe, config, self.records, self.epoch, self.cache, parts=parts
            )
            interruption = Interruption()
            with records_read(), interruption.noted():
                self.training_model.fit(
                    data,
                    initial_epoch=self.first_epoch,
                    epochs=config.epochs,
                    callbacks=[
                        keras.callbacks.LambdaCallback(on_epoch_begin=self.epoch.set),
                        *(interruption, *callbacks),
                    ],
                    shuffle=False,
                    verbose=verbose,
                )
            return
        send_start(group, config, self.first_epoch, self.training_model, self.records)
        shared = SharedFit(group, self.training_model, config, self.records, self.cache, self._step_timeout)
        group.on_end = lambda: self._give_up(checkpoint)
        shared.fit(self.epoch, callbacks, verbose)
        group.on_end = lambda: ""
        group.note_waiting()

    def _give_up(self, checkpoint: Checkpoint) -> str:
        """Saves the last complete epoch before this process is ended from another thread; says so."""
        try:
            return checkpoint.write()
        finally:
            self.folder.release()

    def _build_model(self, model: AudioToImage | None, adapt: bool) -> AudioToImage:
        records = self.records
        if self.config.own_model and model is None:
            if not self.folder.model.is_file():
                raise ModelError(
                    f"{self.folder.location} must hold model.keras to be resumed. Received: a run without one"
                )
            model, _ = load_model(self.folder.model)
        if model is not None:
            ModelMetadata(features=model.features, image=model.image, input=model.input_kind).require_records(
                records.features, records.image
            )
            self._adapt(model, adapt and not has_exemplars(model))
            if adapt:
                reset_measured(model)
            return model
        built = build_network(self.recipe, records, records.feature_statistics())
        self._adapt(built, adapt)
        return built

    def _adapt(self, model: AudioToImage, adapt: bool) -> None:
        """Stores training images in a model with exemplars that has none yet."""
        parts = find_exemplars(model)
        if parts is not None and adapt:
            n, has_labels = parts[0].n_exemplars, bool(self.records.labels)
            # Of more than are stored, so that rare labels are among them.
            pairs = self.records.sample_pairs("train", _CANDIDATES * n if has_labels else n)
            if has_labels:
                pairs = pairs[balanced_rows(pairs.label_numbers, n)]
            _, sources = np.unique(pairs.sources, return_inverse=True)
            labels = pairs.label_numbers if has_labels else None
            adapt_exemplars(model, from_uint8(pairs.images), labels, sources)

    def _build_metadata(self) -> ModelMetadata:
        mean, std = self.records.feature_statistics()
        metadata = dataclasses.replace(
            self.model.metadata,
            features=self.records.features,
            image=self.records.image,
            labels=tuple(self.records.labels),
            feature_mean=tuple(mean.tolist()),
            feature_std=tuple(std.tolist()),
        )
        # The records of a custom model may have other labels than those that it predicts.
        return name_labels(self.model, metadata)

    def _callbacks(
        self, checkpoint: Checkpoint, sheets: SampleSheets, callbacks: Sequence[keras.callbacks.Callback]
    ) -> list[keras.callbacks.Callback]:
        config, found = self.config, []
        if "val" in self.records.counts:
            found.append(HeldOutScores(self._predict, *self._held_out_sample()))
        found += [History(self.folder, self.history), keras.callbacks.TerminateOnNaN()]
        if config.restore_best_weights or config.patience:
            found.append(self.best)
        found += [checkpoint, sheets]
        if _logs_tensorboard():
            every = epochs_between_sheets(config.epochs)
            found.append(keras.callbacks.TensorBoard(self.folder.tensorboard, histogram_freq=every, write_graph=False))
        # The caller's come last: what they report is stored, whenever an interruption comes.
        return [*found, *callbacks]

    def _state_of_callbacks(self) -> dict[str, Any]:
        return {"best": self.best.best, "best_epoch": self.best.best_epoch, "history": list(self.history)}

    def _train_autoencoder(self, verbose: str | int, progress: Callable[[str, int, int], None] | None) -> None:
        if self.autoencoder is None:
            return
        seed, batch_size = self.config.seed, self.config.batch_size
        pairs = self.records.dataset(
            "train",
            batch_size,
            input=self.model.input_kind,
            order=Shuffled(seed),
            seed=seed,
            labels=True,
            cache=self.cache,
        )
        train_autoencoder(
            self.autoencoder,
            pairs,
            self.records.counts["train"],
            self.extra_images,
            epochs=max(1, self.recipe.autoencoder_epochs),
            batch_size=batch_size,
            learning_rate=self.recipe.learning_rate,
            seed=seed,
            verbose=verbose,
            progress=progress,
        )

    def _save_unfinished(self) -> None:
        # First as it is: the process may be about to be killed.
        self._save()
        if self._measure_exemplars():
            self._save()

    def _measure_exemplars(self) -> bool:
        """Measures what the selection of exemplars takes from the trained encoder; whether there was something."""
        measured = measure_hubness(self.model)
        parts = find_exemplars(self.model)
        if parts is not None and parts[0].field_frequency:
            n = clips_to_measure(self.metadata.n_inputs)
            pairs = self.records.sample_pairs("train", n, self.model.input_kind)
            measured |= measure_variation(
                self.model, pairs.inputs, pairs.label_numbers if self.records.labels else None
            )
        return measured

    def _save(self) -> None:
        save_model(self.model, self.folder.model, self.metadata)
        if self.autoencoder is not None and any(
            objective.aligns_images for objective in self.training_model.objectives
        ):
            self.folder.write_image_encoder(self.autoencoder.encoder)

    def _predict(self, inputs: Any) -> np.ndarray:
        # Padded to one size: TensorFlow would trace the network again for another.
        counts, count = self.records.counts, len(keras.tree.flatten(inputs)[0])
        missing = max(0, min(SCORED_AT_ONCE, counts.get("val", counts["train"])) - count)
        padded = keras.tree.map_structure(
            lambda values: np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1)), inputs
        )
        return predict_batch(self.model, padded)[:count]

    def _held_out_sample(self) -> tuple[Any, np.ndarray, Any]:
        """Inputs, images and targets of the held-out pairs that are scored after every epoch."""
        size = min(MAX_SCORED, max(MIN_SCORED, self.records.counts["train"] // 16))
        if self.config.restore_best_weights or self.config.patience:
            # The values that decide which weights are kept deserve more pairs.
            size = MAX_SCORED
        return self._batch("val", size)

    def _batch(self, split: str, size: int) -> tuple[Any, np.ndarray, Any]:
        """Inputs, images and targets of up to so many pairs, spread evenly over a split."""
        sample = self.records.sample_pairs(split, size, self.model.input_kind)
        images = from_uint8(sample.images)
        inputs, _ = self._inputs_of(split, sample)
        return (
            inputs,
            images,
            (images, sample.label_numbers) if uses_labels(self.training_model, self.records.labels) else images,
        )

    def _inputs_of(self, split: str, sample: DecodedSplit) -> tuple[Any, np.ndarray | None]:
        """The model's inputs of pairs, and their reference images as uint8, None for a model without."""
        if not self.model.has_reference:
            return sample.inputs, None
        references = self.records.reference_images(split, sample.sources)
        return (sample.inputs, from_uint8(references)), references

    def _sample_sheets(self) -> SampleSheets:
        split = "val" if "val" in self.records.counts else "train"
        sample = self.records.sample_pairs(split, N_SAMPLES, self.model.input_kind)
        inputs, references = self._inputs_of(split, sample)
        return SampleSheets(
            self.folder,
            self._predict,
            inputs,
            sample.images,
            epochs=self.config.epochs,
            references=references,
            logs_tensorboard=_logs_tensorboard(),
        )


def _logs_tensorboard() -> bool:
    return importlib.util.find_spec("tensorboard") is not None and keras.backend.backend() == "tensorflow"


def check_monitor(monitor: str, model: TrainingModel, metrics: Sequence[keras.metrics.Metric] = ()) -> bool | None:
    """Checks that a training will have the value that it monitors.

    Returns:
        Whether the highest value of a custom metric is the best; None for other values.

    Raises:
        UsageError: if it won't have the value, or compares values of a metric of which it isn't known which are better.
    """
    custom = {f"val_{metric.name}": metric for metric in metrics}
    known = ["val_loss", *(f"val_{name}" for name in (*SCORES, *model.loss_names)), *custom]
    if monitor not in known:
        hint = did_you_mean(monitor, known, "Pass a name from this list")
        raise UsageError(f"monitor must be one of {', '.join(known)}. Received: monitor={monitor!r}. {hint}")
    is_highest = higher_is_better(custom[monitor]) if monitor in custom else None
    if monitor in custom and is_highest is None:
        raise UsageError(
            f"monitor must be a value of which the highest or the lowest is the best. Received: monitor={monitor!r}, "
            "of a metric that doesn't state that. Set its attribute _direction to 'up' or 'down', as Keras' metrics do"
        )
    return is_highest


def count_trainable(model: keras.Model) -> int:
    """Returns the number of trainable parameters."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)
