"""A generator that composes images from stored training images."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_a2i.config import flag, number, whole
from keras_a2i.datasets.foreign_audio import foreign_audio
from keras_a2i.errors import ConfigError, UsageError
from keras_a2i.features.mfcc import mfcc
from keras_a2i.layers import ExemplarAttention, PatchDecoder
from keras_a2i.layers.stored_exemplars import StoredExemplars
from keras_a2i.models.storing_generator import StoringGenerator

_MAX_CLIPS, _MAX_TRAINING_CLIPS, _MIN_CLIPS, _MEASURED_SAMPLES, _BATCH = 240, 1000, 60, 8_000_000, 30
"""Clips, rendered and of the training, that are measured: as many as have so many samples together, within bounds."""
_FIRST_SEED = 1_000_000
"""Of these clips; `evaluate` renders others, with its own small seed."""


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ExemplarGenerator(StoringGenerator):
    """Selects among the stored training images by the latent vector.

    A generated image consists of regions of the exemplars to which the audio is most similar. So it is sharp for any
    audio, but contains nothing that isn't in the training images.

    Args:
        n_exemplars, components, width, blocks, label_sharpness: see `StoringGenerator`.
        sharpness, spread, field_size, field_frequency, subtract_hubness: see `keras_a2i.layers.ExemplarAttention`.
            `fit` measures the hubness at its end (not for embeddings), and how clips of a label differ; in your own
            training loop, call `measure_hubness` and `measure_variation`.
        label_first: whether a label is selected first, and then an exemplar of that label; for labelled clips.
            `field_size` must then be 1.
        balance_labels: whether audio that is unlike the training data selects all labels equally often; this needs
            `label_first` and the objective `familiarity`.

    Raises:
        ConfigError: if an argument is out of range.
    """

    sharpness: float = number(100.0, 0, 1e6, above=True)
    spread: float = number(0.06, 0, 1e3)
    field_size: int = whole(4)
    field_frequency: float = number(0.0, 0, 1e3)
    subtract_hubness: bool = flag(False)
    label_first: bool = flag(False)
    balance_labels: bool = flag(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_first and self.field_size != 1:
            raise ConfigError(f"field_size must be 1 with label_first. Received: field_size={self.field_size}")
        if self.balance_labels and not self.label_first:
            raise ConfigError("balance_labels needs label_first. Received: label_first=False")

    @property
    def learns_familiarity(self) -> bool:
        return self.balance_labels

    def make_exemplars(self, grid_size: int, components: int, style_units: int, n_labels: int) -> ExemplarAttention:
        label_first = self.label_first and n_labels > 1
        return ExemplarAttention(
            self.n_exemplars,
            grid_size,
            components,
            sharpness=self.sharpness,
            spread=self.spread,
            field_size=self.field_size,
            field_frequency=self.field_frequency,
            style_units=style_units,
            subtract_hubness=self.subtract_hubness,
            n_labels=n_labels if label_first else 0,
            balance_labels=self.balance_labels and label_first,
            name="exemplars",
        )


def find_exemplars(model: keras.Model) -> tuple[StoredExemplars, PatchDecoder] | None:
    """Returns the layer of exemplars and the decoder of a model whose generator stores exemplars, or None."""
    found = getattr(model, "generator", model).layers
    exemplars = next((layer for layer in found if isinstance(layer, StoredExemplars)), None)
    decoder = next((layer for layer in found if isinstance(layer, PatchDecoder)), None)
    return None if exemplars is None or decoder is None else (exemplars, decoder)


def has_exemplars(model: keras.Model) -> bool:
    """Whether a model stores images: false before `adapt_exemplars`, and for a model without exemplars."""
    parts = find_exemplars(model)
    return parts is not None and bool(np.any(keras.ops.convert_to_numpy(parts[0].codes)))


def adapt_exemplars(
    model: keras.Model, images: np.ndarray, labels: np.ndarray | None = None, sources: np.ndarray | None = None
) -> None:
    """Stores training images in a model whose generator composes exemplars.

    Args:
        model: an `AudioToImage` with an `ExemplarGenerator` or a `MosaicGenerator`.
        images: float32 (n_exemplars, size, size, channels) in [-1, 1].
        labels: numbers of their labels, int (n_exemplars,), or None if the generator doesn't select labels first.
        sources: numbers of the recordings that the images are moments of, int (n_exemplars,), for a `MosaicGenerator`;
            None if every image is from a different recording.

    Raises:
        UsageError: if the model has no exemplars, or another number of them than there are images, or labels are
            missing.
    """
    parts = find_exemplars(model)
    if parts is None:
        raise UsageError("The model must have a generator with exemplars, such as ExemplarGenerator. Received: another")
    exemplars, decoder = parts
    if len(images) != exemplars.n_exemplars:
        raise UsageError(
            f"There must be {exemplars.n_exemplars} images, one for each exemplar. Received: {len(images)}. Build the "
            f"model with n_exemplars={len(images)}"
        )
    decoder.adapt(images)
    codes = [keras.ops.convert_to_numpy(decoder.encode(image[None])) for image in images]
    exemplars.adapt(np.concatenate(codes), labels, sources)


def reset_measured(model: keras.Model) -> None:
    """Resets the values measured at the end of an earlier training: hubness, the balance of labels, and variation."""
    parts = find_exemplars(model)
    for name in ("hubness", "label_balance", "waves"):
        variable = getattr(parts[0], name, None) if parts is not None else None
        if variable is not None:
            variable.assign(keras.ops.zeros(variable.shape, variable.dtype))


def measure_variation(model: Any, inputs: np.ndarray, labels: np.ndarray | None = None) -> bool:
    """Measures how clips of a label differ, for a generator with `field_frequency`, which selects exemplars by it.

    Args:
        model: an `AudioToImage` whose generator stores exemplars.
        inputs: of training clips, float32 (n, n_inputs); a few hundred are enough.
        labels: numbers of their labels, int (n,), or None for clips without labels.

    Returns:
        Whether the generator has a `field_frequency`, so that something was measured.
    """
    parts = find_exemplars(model)
    if parts is None or not parts[0].field_frequency:
        return False
    latents = [model.encode(inputs[i : i + _BATCH]) for i in range(0, len(inputs), _BATCH)]
    parts[0].assign_waves(np.concatenate(latents)[:, : parts[0].content_dim], labels)
    return True


def clips_to_measure(n_samples: int, maximum: int = _MAX_TRAINING_CLIPS) -> int:
    """Returns how many clips of so many samples are measured: without more, the training clips of variation."""
    return min(maximum, max(_MIN_CLIPS, _MEASURED_SAMPLES // n_samples))


def rendered_clips(n_samples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Renders the audio of all kinds that hubness is measured with, and familiarity trained.

    Args:
        n_samples: length of a clip; of long ones there are fewer.
        seed: seed of the audio.

    Yields:
        Batches of 30, since long clips take much memory: float32 (30, n_samples) in [-1, 1], 60 to 240 clips together.
    """
    for i in range(clips_to_measure(n_samples, _MAX_CLIPS) // _BATCH):
        yield foreign_audio(_BATCH, n_samples, _FIRST_SEED + _MAX_CLIPS * seed + i)


def measure_hubness(model: Any, seed: int = 0) -> bool:
    """Measures how similar each exemplar is to audio of all kinds, for a mosaic or a generator with `subtract_hubness`.

    For a generator with `balance_labels`, the function measures the balance of the labels with the same audio.

    The function renders the audio: tones, noise, clicks, sweeps, vowels and syllables at all levels.

    Args:
        model: an `AudioToImage` from audio, whose generator stores exemplars.
        seed: seed of the audio.

    Returns:
        Whether something was measured: this needs an encoder of audio, and a mosaic or a generator with
        `subtract_hubness` or `balance_labels`.
    """
    parts = find_exemplars(model)
    if parts is None or model.features.embedding:
        return False
    exemplars, _ = parts
    if not (exemplars.subtract_hubness or exemplars.balance_labels):
        return False
    latents = []
    for waveforms in rendered_clips(model.features.n_samples, seed):
        inputs = waveforms if model.input_kind == "waveform" else mfcc(waveforms, model.features)
        latents.append(model.encode(inputs))
    contents = np.concatenate(latents)[:, : exemplars.content_dim]
    if exemplars.subtract_hubness:
        exemplars.assign_hubness(contents)
    if exemplars.balance_labels:
        exemplars.assign_label_balance(contents)
    return True
