"""One training: data, model and callbacks put together, run, and saved whatever happens."""

import dataclasses
import importlib.util
import math
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_a2i.errors import KerasA2IError, UsageError
from keras_a2i.losses import BatchScaledMSE
from keras_a2i.models.halves import LATENT
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.models.network import encoder_generator
from keras_a2i.models.optimizer import make_optimizer
from keras_a2i.models.presets import Preset
from keras_a2i.pipeline import feature_statistics, load_records
from keras_a2i.records.manifest import Manifest
from keras_a2i.training.callbacks import (
    BestWeights,
    Checkpoint,
    HeldOutScores,
    History,
    SampleSheets,
    assign_variables,
)
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
        self.preset = Preset(**config.preset)
        self._reading = {"batch_size": config.batch_size, "cache": cache, "features": self.preset.input}
        preset = self.preset
        self.train = load_records(
            records,
            seed=config.seed,
            epoch=self.epoch,
            augmentation=preset.augmentation if preset.input == "waveform" else None,
            labels=preset.label_weight > 0,
            shuffle_within_label=preset.shuffle_within_label,
            **self._reading,
        )
        self.val = None
        if "val" in self.counts:
            self.val = load_records(records, "val", **self._reading)
        self.pictures, self.metadata = self._build(manifest)
        self.model = self._compile(self.metadata.labels)
        if variables:
            self.model.optimizer.build(self.model.trainable_variables)
            assign_variables(self.model, variables)
        self.best = BestWeights(folder, config.early_stop, state.get("best", math.inf), state.get("best_epoch", 0))
        self.history = [row for row in folder.read_history() if row["epoch"] <= self.first_epoch]

    def _build(self, manifest: Manifest) -> tuple[keras.Model, ModelMetadata]:
        preset = self.preset
        mean, std = feature_statistics(self.records)
        metadata = ModelMetadata(
            features=manifest.features,
            image=manifest.image,
            input=preset.input,
            preset=preset.name,
            labels=tuple(sorted(manifest.label_counts)) if set(manifest.label_counts) != {""} else (),
            feature_mean=tuple(mean.tolist()),
            feature_std=tuple(std.tolist()),
        )
        model = encoder_generator(
            preset,
            sound=manifest.features,
            image_size=manifest.image.size,
            channels=manifest.image.channels,
            normalization=(mean, std**2),
        )
        return model, metadata

    def _compile(self, labels: tuple[str, ...]) -> keras.Model:
        """The model that is trained: pictures, and beside them labels where the preset learns them."""
        preset, model = self.preset, self.pictures
        loss, weights = BatchScaledMSE(self.config.batch_size), None
        if preset.label_weight:
            if len(labels) < 2:
                raise UsageError(
                    f"The preset {preset.name!r} learns labels with the pictures: the records must have two or more. "
                    f"Received: {list(labels)}. Build them from a pairs.csv with labels, or choose another preset"
                )
            named = keras.layers.Dense(len(labels), name="label")(model.get_layer(LATENT).output)
            model = keras.Model(model.input, [model.output, named], name=model.name)
            loss = [loss, keras.losses.SparseCategoricalCrossentropy(from_logits=True)]
            weights = [1.0, preset.label_weight]
        steps = math.ceil(self.counts["train"] / self.config.batch_size) * self.config.epochs
        model.compile(
            optimizer=make_optimizer(preset, steps), loss=loss, loss_weights=weights, jit_compile=self.config.jit
        )
        return model

    def run(
        self,
        report: Callable[[dict[str, float]], None] | None,
        on_start: Callable[[RunConfig, int], None] | None,
        extra: list[keras.callbacks.Callback],
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
        save_model(self.pictures, self.folder.model, self.metadata)
        return self.pictures

    def _draw(self, inputs: np.ndarray) -> np.ndarray:
        found = self.model.predict_on_batch(inputs)
        return found[0] if self.preset.label_weight else found

    def _interrupted(self, checkpoint: Checkpoint) -> TrainingInterrupted:
        if checkpoint.epoch == 0:
            return TrainingInterrupted("Stopped before the first epoch was finished: nothing is saved")
        checkpoint.save()
        save_model(self.pictures, self.folder.model, self.metadata)
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
