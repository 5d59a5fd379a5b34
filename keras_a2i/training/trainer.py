"""One training: data, model and callbacks put together, run, and saved whatever happens."""

import dataclasses
import importlib.util
import math
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_a2i.errors import KerasA2IError
from keras_a2i.models.latent_split import split_at_latent
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.models.network import encoder_generator
from keras_a2i.models.optimizer import make_optimizer
from keras_a2i.models.recipe import Recipe
from keras_a2i.objectives import ImageAutoencoder, TrainingModel
from keras_a2i.records.dataset import feature_statistics, load_records
from keras_a2i.records.manifest import Manifest
from keras_a2i.training.callbacks import (
    BestWeights,
    Checkpoint,
    HeldOutScores,
    History,
    SampleSheets,
    assign_variables,
)
from keras_a2i.training.make_objectives import check_labels, make_objectives, needs_labels
from keras_a2i.training.pretrain import read_extra_images, train_autoencoder
from keras_a2i.training.run_folder import RunConfig, RunFolder

N_SAMPLES = 8
MAX_SHEETS = 20
LEAST_SCORED, MOST_SCORED = 32, 256
"""Held-out pairs scored after every epoch: a sixteenth as many as are trained on, within these."""


class TrainingInterrupted(KerasA2IError):
    """Training was stopped by Ctrl-C; what was finished is saved."""


class Trainer:
    """Everything of one training, new or going on from the state in its folder.

    Args:
        folder: the run folder.
        config: what to do.
        records: the records folder.
        cache: as `load_records`.
    """

    def __init__(self, folder: RunFolder, config: RunConfig, records: pathlib.Path, cache: bool | str | int):
        self.folder, self.config, self.records = folder, config, records
        keras.utils.set_random_seed(config.seed)
        manifest = Manifest.read(records)
        self.counts = manifest.counts
        state, variables = folder.read_state()
        self.first_epoch = state.get("epoch", 0)
        self.epoch = tf.Variable(self.first_epoch, dtype=tf.int64, trainable=False)
        self.recipe = Recipe(**config.recipe)
        self._reading = {"batch_size": config.batch_size, "cache": cache, "features": self.recipe.input}
        self.pictures, self.metadata = self._build(manifest)
        self.train = self._load_train()
        self.val = None
        if "val" in self.counts:
            self.val = load_records(records, "val", **self._reading)
        # Read before anything is trained or written: a mistyped folder shows at once.
        self.more_pictures = (
            read_extra_images(pathlib.Path(config.pictures), manifest.image) if config.pictures else None
        )
        self.autoencoder = self._make_autoencoder()
        self.model = self._compile()
        if variables:
            self.model.optimizer.build(self.model.trainable_variables)
            assign_variables(self.model, variables)
        self.best = BestWeights(folder, config.early_stop, state.get("best", math.inf), state.get("best_epoch", 0))
        self.history = [row for row in folder.read_history() if row["epoch"] <= self.first_epoch]

    def _build(self, manifest: Manifest) -> tuple[keras.Model, ModelMetadata]:
        recipe = self.recipe
        mean, std = feature_statistics(self.records)
        metadata = ModelMetadata(
            features=manifest.features,
            image=manifest.image,
            input=recipe.input,
            recipe=recipe.name,
            style_units=recipe.style_units,
            labels=tuple(sorted(manifest.label_counts)) if set(manifest.label_counts) != {""} else (),
            feature_mean=tuple(mean.tolist()),
            feature_std=tuple(std.tolist()),
        )
        check_labels(recipe, metadata.labels)
        model = encoder_generator(
            recipe,
            sound=manifest.features,
            image_size=manifest.image.size,
            channels=manifest.image.channels,
            n_labels=len(metadata.labels),
            normalization=(mean, std**2),
        )
        return model, metadata

    def _load_train(self) -> tf.data.Dataset:
        recipe = self.recipe
        return load_records(
            self.records,
            seed=self.config.seed,
            epoch=self.epoch,
            augmentation=recipe.augmentation if recipe.input == "waveform" else None,
            labels=needs_labels(recipe, self.metadata.labels),
            shuffle_within_label=recipe.shuffle_within_label,
            neighbours=recipe.objectives.temporal > 0,
            **self._reading,
        )

    def _make_autoencoder(self) -> ImageAutoencoder | None:
        if not self.recipe.autoencoder_epochs:
            return None
        labels = self.metadata.labels
        return ImageAutoencoder(
            split_at_latent(self.pictures)[1],
            len(labels) if len(labels) > 1 else 0,
            self.config.batch_size,
            self.config.seed,
        )

    def _compile(self) -> TrainingModel:
        """The model that is trained: the one of pictures, and what its objectives learn beside it."""
        recipe, config = self.recipe, self.config
        objectives = make_objectives(
            recipe, self.metadata, self.pictures, config.batch_size, config.seed, self.autoencoder
        )
        steps = math.ceil(self.counts["train"] / config.batch_size) * config.epochs
        model = TrainingModel(self.pictures, objectives, steps, recipe.freeze_encoder_after)
        model.compile(optimizer=make_optimizer(recipe, steps), jit_compile=config.jit)
        return model

    def run(
        self,
        report: Callable[[dict[str, float]], None] | None,
        on_start: Callable[[RunConfig, int], None] | None,
        extra: list[keras.callbacks.Callback],
        report_autoencoder: Callable[[int, int, float], None] | None = None,
    ) -> keras.Model:
        """Trains and saves; as `fit`."""
        config = dataclasses.replace(self.config, n_parameters=count_trainable(self.pictures))
        self.folder.create(config)
        if on_start:
            on_start(config, self.first_epoch)
        best = self.best
        checkpoint = Checkpoint(
            self.folder, self.first_epoch, lambda: {"best": best.best, "best_epoch": best.best_epoch}
        )
        sheets = self._sample_sheets()
        callbacks = [
            keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: self.epoch.assign(epoch)),
            *([HeldOutScores(self._draw, *self._held_out_sample(), config.batch_size)] if self.val is not None else []),
            History(self.folder, self.history),
            keras.callbacks.TerminateOnNaN(),
            *([best] if config.best or config.early_stop else []),
            checkpoint,
            sheets,
            *self._tensorboard(),
            # Last: what is reported is kept, whenever an interruption comes.
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: report and report(self.history[-1])),
            *extra,
        ]
        try:
            if self.first_epoch == 0:
                self._train_autoencoder(report_autoencoder)
            if self.first_epoch < config.epochs:
                self.model.fit(
                    self.train,
                    initial_epoch=self.first_epoch,
                    epochs=config.epochs,
                    callbacks=callbacks,
                    shuffle=False,
                    verbose=0,
                )
        except KeyboardInterrupt:
            raise self._interrupted(checkpoint) from None
        self._check_finite()
        checkpoint.save()
        if config.best:
            best.restore()
            sheets.draw(best.best_epoch)
        elif self.model.optimizer.use_ema:
            # Only what is kept is averaged: a training that goes on goes on from the weights themselves.
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
            sheets.draw(checkpoint.epoch)
        self._save()
        return self.pictures

    def _train_autoencoder(self, report: Callable[[int, int, float], None] | None) -> None:
        if self.autoencoder is None:
            return
        epochs = self.recipe.autoencoder_epochs
        train_autoencoder(
            self.autoencoder,
            load_records(self.records, seed=self.config.seed, labels=True, **self._reading),
            self.counts["train"],
            self.more_pictures,
            epochs=epochs,
            batch_size=self.config.batch_size,
            learning_rate=self.recipe.learning_rate,
            seed=self.config.seed,
            report=report and (lambda epoch, loss: report(epoch, epochs, loss)),
        )

    def _save(self) -> None:
        save_model(self.pictures, self.folder.model, self.metadata)
        if self.recipe.objectives.alignment:
            self.folder.write_image_encoder(self.autoencoder.encoder)

    def _draw(self, inputs: np.ndarray) -> np.ndarray:
        return self.model.predict_on_batch(inputs)

    def _interrupted(self, checkpoint: Checkpoint) -> TrainingInterrupted:
        if checkpoint.epoch == 0:
            return TrainingInterrupted("Stopped before the first epoch was finished: nothing is saved")
        checkpoint.save()
        self._save()
        return TrainingInterrupted(
            f"Stopped after epoch {checkpoint.epoch} of {self.config.epochs}, which is saved. Go on with: "
            f"keras-a2i fit {self.records} --out {self.folder.path} --resume"
        )

    def _check_finite(self) -> None:
        last = self.history[-1] if self.history else {"loss": 0.0}
        if not math.isfinite(last["loss"]):
            raise KerasA2IError(
                f"The loss must stay finite. It became {last['loss']} in epoch {last['epoch']:g}. Lower the learning "
                "rate (--set learning_rate=...) or look for broken features with keras-a2i inspect"
            )

    def _held_out_sample(self) -> tuple[np.ndarray, np.ndarray]:
        size = min(MOST_SCORED, max(LEAST_SCORED, self.counts["train"] // 16))
        if self.config.best or self.config.early_stop:
            # What decides which weights are kept is worth its time.
            size = MOST_SCORED
        return spread_pairs(self.val, self.counts["val"], size)

    def _sample_sheets(self) -> SampleSheets:
        split, dataset = "val", self.val
        if dataset is None:
            split, dataset = "train", load_records(self.records, "train", shuffle=False, **self._reading)
        inputs, images = spread_pairs(dataset, self.counts[split], N_SAMPLES)
        every = max(1, math.ceil(self.config.epochs / MAX_SHEETS))
        return SampleSheets(self.folder, self._draw, inputs, images, every, self.config.epochs)

    def _tensorboard(self) -> list[keras.callbacks.Callback]:
        if importlib.util.find_spec("tensorboard") is None:
            return []
        return [keras.callbacks.TensorBoard(self.folder.tensorboard, write_graph=False)]


def spread_pairs(dataset: tf.data.Dataset, count: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Up to `n` pairs spread evenly over a data set of `count` pairs that isn't shuffled: inputs and pictures."""
    rows = np.unique(np.linspace(0, count - 1, n).astype(int))
    inputs, images, start = [], [], 0
    for x, y in dataset.as_numpy_iterator():
        here = rows[(rows >= start) & (rows < start + len(x))] - start
        inputs.append(x[here])
        images.append(y[here])
        start += len(x)
    return np.concatenate(inputs), np.concatenate(images)


def count_trainable(model: keras.Model) -> int:
    """Number of trainable parameters."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)
