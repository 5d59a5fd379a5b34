"""What a training consists of: the network of its recipe, the model that fits its objectives, and the data it reads."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.objectives import ImageAutoencoder, TrainingModel
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.records.orders import Neighbours, Shuffled, WithinLabel
from keras_a2i.records.parts import Part
from keras_a2i.records.records import CACHE_BUDGET, Records
from keras_a2i.training.run_folder import RunConfig

if TYPE_CHECKING:
    import tensorflow as tf

_SEED_STRIDE = 1_000_003
_MIXTURE_SEED_OFFSET = 3


@dataclasses.dataclass
class Epoch:
    """Number of the current epoch, from which the data set derives its order and its augmentation."""

    value: int = 0

    def set(self, number: int, logs: dict[str, float] | None = None) -> None:
        """Sets the number; a function for `keras.callbacks.LambdaCallback(on_epoch_begin=...)`."""
        self.value = number


def steps_per_epoch(config: RunConfig, n_pairs: int) -> int:
    """Returns the number of steps of an epoch: with parts, every batch is whole."""
    if config.data_parts is None:
        return math.ceil(n_pairs / config.batch_size)
    return max(1, n_pairs // config.batch_size)


def build_network(recipe: Recipe, records: Records, statistics: tuple[np.ndarray, np.ndarray]) -> AudioToImage:
    """Builds the network of a recipe, with new weights.

    Args:
        recipe: the recipe.
        records: what it will be trained on.
        statistics: mean and standard deviation of every feature (n_features,).
    """
    mean, std = statistics
    generator = recipe.generator.for_pairs(records.counts["train"])
    return dataclasses.replace(recipe, generator=generator).build(
        records.features,
        image_size=records.image.size,
        channels=records.image.channels,
        labels=records.labels,
        normalization=(mean, std**2),
    )


def build_autoencoder(
    model: AudioToImage, recipe: Recipe, config: RunConfig, labels: Sequence[str], objectives: Sequence[Any] | None
) -> ImageAutoencoder | None:
    """Builds the image autoencoder around a model's generator, None where the objectives need none."""
    needed = recipe.autoencoder_epochs > 0
    if objectives is not None:
        needed = any(getattr(objective, "needs_autoencoder", False) for objective in objectives)
    if not needed:
        return None
    n_labels = len(labels) if len(labels) > 1 else 0
    return ImageAutoencoder(model.generator, n_labels, batch_size=config.batch_size, seed=config.seed)


def build_training_model(
    model: AudioToImage,
    autoencoder: ImageAutoencoder | None,
    recipe: Recipe,
    config: RunConfig,
    n_pairs: int,
    objectives: Sequence[Any] | None,
    metrics: Sequence[keras.metrics.Metric] = (),
) -> TrainingModel:
    """Builds and compiles the model that is fitted: with custom objectives, or with those of the recipe."""
    if objectives is None:
        objectives = config.make_objectives()
    if objectives is None:
        objectives = recipe.make_objectives(batch_size=config.batch_size, seed=config.seed)
    steps = steps_per_epoch(config, n_pairs) * config.epochs
    training_model = TrainingModel(
        model,
        objectives,
        total_steps=steps,
        freeze_encoder_after=recipe.freeze_encoder_after,
        autoencoder=autoencoder,
        seed=config.seed + _MIXTURE_SEED_OFFSET,
    )
    compile_training(training_model, recipe, config.uses_xla, metrics)
    return training_model


def compile_training(
    training_model: TrainingModel, recipe: Recipe, jit_compile: bool, metrics: Sequence[keras.metrics.Metric] = ()
) -> None:
    """Compiles a training model with a new optimizer; on JAX with XLA, without which it would compute step by step."""
    jit_compile = jit_compile or keras.backend.backend() == "jax"
    optimizer = recipe.make_optimizer(training_model.total_steps)
    training_model.compile(optimizer=optimizer, metrics=list(metrics) or None, jit_compile=jit_compile)


def uses_labels(training_model: TrainingModel, labels: Sequence[str]) -> bool:
    """Whether the objectives are fitted to images and labels, not to images alone."""
    return any(
        objective.needs_labels or (objective.needs_autoencoder and len(labels) > 1)
        for objective in training_model.objectives
    )


def training_data(
    training_model: TrainingModel,
    recipe: Recipe,
    config: RunConfig,
    records: Records,
    epoch: Any,
    cache: bool | str | int,
    parts: Sequence[int] = (),
) -> "tf.data.Dataset":
    """Returns the batches of one epoch, in an order that the seed and the number of the epoch decide.

    Args:
        training_model: what is fitted; its objectives decide the order.
        recipe: the recipe.
        config: the configuration of the run.
        records: the records.
        epoch: number of the epoch, as of `Shuffled`.
        cache: as for `Records.dataset`.
        parts: of `config.data_parts`, those that this process reads: its share of every batch has as many pairs of
            each. Pairs of a part that is smaller than the others occur twice in some epochs.
    """
    model: Any = training_model.model
    needing = [objective for objective in training_model.objectives if objective.needs_neighbours]

    def read(batch_size: int, seed: int, **options: Any) -> "tf.data.Dataset":
        order: Any = Shuffled(seed, epoch)
        if needing:
            start = min(objective.start for objective in needing)
            order = Neighbours(seed, epoch, int(start * config.epochs))
        elif recipe.shuffle_within_label and records.labels:
            order = WithinLabel(seed, epoch)
        return records.dataset(
            "train",
            batch_size,
            input=model.input_kind,
            order=order,
            seed=seed,
            labels=uses_labels(training_model, records.labels),
            references=model.has_reference,
            augmentation=recipe.augmentation if model.input_kind == "waveform" else None,
            cache=cache,
            **options,
        )

    n_parts = config.data_parts
    if n_parts is None:
        return read(config.batch_size, config.seed)
    if cache == "auto":
        cache = CACHE_BUDGET // len(parts)
    whole = {"repeat": True, "drop_remainder": True}
    return _join(
        [
            # Parts would else draw the same random numbers for their batches.
            read(config.batch_size // n_parts, config.seed + _SEED_STRIDE * i, part=Part(i, n_parts), **whole)
            for i in parts
        ],
        steps_per_epoch(config, records.counts["train"]),
    )


def _join(parts: "Sequence[tf.data.Dataset]", steps: int) -> "tf.data.Dataset":
    """Returns batches of the batches of all parts, in the order of the parts."""
    import tensorflow as tf

    if len(parts) == 1:
        return parts[0].take(steps)

    @tf.autograph.experimental.do_not_convert
    def concatenate(*batches: Any) -> Any:
        return keras.tree.map_structure(lambda *tensors: tf.concat(tensors, axis=0), *batches)

    return tf.data.Dataset.zip(tuple(parts)).map(concatenate).take(steps).prefetch(2)
