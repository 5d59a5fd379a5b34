"""The functions that a predictor calls: of Keras models and exports, with checks of what they receive and return."""

import functools
import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import MissingPackageError, ModelError, UsageError
from keras_a2i.exporters.formats import PredictFn
from keras_a2i.media.conversion import from_uint8
from keras_a2i.media.image import read_image
from keras_a2i.models.model_file import (
    ModelMetadata,
    check_fit,
    default_metadata,
    read_metadata,
    refuse_other_metadata,
)
from keras_a2i.models.prediction import predict_batch
from keras_a2i.models.shipped import find_model
from keras_a2i.serving.model_inputs import BATCH

if TYPE_CHECKING:
    import keras

ReferenceFn = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A function from float32 inputs or latent vectors (batch, n) and reference images to images, in [-1, 1]."""


def join_batches(batches: Iterable[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Joins batches of arrays of a shape into one; float32 (0, *shape) where there are none."""
    parts = list(batches)
    return np.concatenate(parts) if parts else np.zeros((0, *shape), np.float32)


def in_batches(function: Callable[..., np.ndarray], shape: tuple[int, ...], *inputs: np.ndarray) -> np.ndarray:
    """Calls a function of inputs (n, ...) with up to 32 rows at a time; returns its results (n, *shape) together."""
    starts = range(0, len(inputs[0]), BATCH)
    return join_batches((function(*(each[i : i + BATCH] for each in inputs)) for i in starts), shape)


def finite(predict_fn: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Raises a ModelError where a model generates NaN, which would be drawn as black."""

    def predict(*inputs: np.ndarray) -> np.ndarray:
        images = predict_fn(*inputs)
        if not np.isfinite(images).all():
            raise ModelError(
                "A model must generate finite images. Received: NaN or infinite pixels. Its weights may not be finite "
                "either: train it again with a lower learning_rate"
            )
        return images

    return predict


def refuse_without_reference(*_: Any) -> Any:
    raise UsageError(
        "reference must be an image for this model, which changes a reference image, such as a face, by the audio. "
        "Received: none"
    )


def no_latents() -> UsageError:
    return UsageError(
        "Latent vectors need a model with an encoder and a generator: a run folder, a .keras file of this library, an "
        "AudioToImage, or a .tflite file that was exported with latents=True. Received: another"
    )


def no_labels() -> UsageError:
    return UsageError(
        "Labels need a model that classifies, such as those of the recipes words-exemplars and words-adversarial. "
        "Received: another one. Export it again if it is a file of an older version"
    )


def no_reference() -> UsageError:
    return UsageError(
        "reference must be left out for a model without a reference image. Received: one. The recipe talking trains "
        "models with a reference image"
    )


def no_style() -> UsageError:
    return UsageError(
        "samples need a run folder, a .keras file or an export with the input style. Received: an export of a model "
        "with a style that doesn't accept one. Export it again"
    )


def describe_predictor(metadata: ModelMetadata, abilities: Sequence[str]) -> str:
    """Describes in one line what a predictor accepts and returns, and what it can do besides."""
    recipe = f"{metadata.recipe!r}: " if metadata.recipe else ""
    shape = f"{metadata.input} (n, {metadata.n_inputs}) to images {('n', *metadata.image.shape)}".replace("'", "")
    reference = ", with a reference image" if metadata.reference else ""
    return f"Predictor({recipe}{shape}{reference}{'; ' if abilities else ''}{', '.join(abilities)})"


def read_reference(reference: np.ndarray | str | pathlib.Path, metadata: ModelMetadata) -> np.ndarray:
    """A reference image as float32 (size, size, channels) in [-1, 1]."""
    if isinstance(reference, str | pathlib.Path):
        return from_uint8(read_image(pathlib.Path(reference), metadata.image))
    image = np.asarray(reference)
    if image.shape != metadata.image.shape or not np.isfinite(image).all():
        raise UsageError(
            f"reference must be a finite image of the shape {metadata.image.shape}, as the model's. Received: shape "
            f"{image.shape}. Pass a file to have it cropped and scaled"
        )
    return from_uint8(image) if image.dtype == np.uint8 else np.clip(image.astype(np.float32), -1, 1)


def keras_predict_fn(model: "keras.Model") -> PredictFn:
    return functools.partial(predict_batch, model)


def keras_reference_fn(model: "keras.Model") -> ReferenceFn:
    return lambda values, references: predict_batch(model, (values, references))


def check_shapes(model: "keras.Model", metadata: ModelMetadata) -> None:
    """Raises a ModelError if the input or the output of a model doesn't fit its metadata, where both are defined."""
    try:
        shapes = model.input_shape, model.output_shape
    except (AttributeError, ValueError):
        return
    check_fit(model.name, metadata, *shapes)


def split_model(model: "keras.Model") -> "tuple[keras.Model | None, keras.Model | None]":
    """Returns the encoder and the generator of a model that has both."""
    import keras

    encoder, generator = getattr(model, "encoder", None), getattr(model, "generator", None)
    if isinstance(encoder, keras.Model) and isinstance(generator, keras.Model):
        return encoder, generator
    return None, None


def file_without_metadata(model: str | pathlib.Path) -> pathlib.Path | None:
    """Returns the `.keras` file of a path that `load` accepts if it holds no metadata, such as one of `model.save`."""
    path = find_model(model, "model.tflite")
    path = path / "model.keras" if path.is_dir() else path
    return path if path.suffix == ".keras" and path.is_file() and read_metadata(path) is None else None


def is_keras_model(model: Any) -> bool:
    # Nobody can have made a Keras model without importing Keras.
    return sys.modules.get("keras") is not None and isinstance(model, sys.modules["keras"].Model)


def find_metadata(
    model: Callable, metadata: ModelMetadata | None, input: str | None, sample_rate: int | None
) -> ModelMetadata:
    """Returns the given metadata of a function or a Keras model in memory, or those that the model holds or states.

    Raises:
        UsageError: if there are none, or `input` or `sample_rate` differ from them.
    """
    if metadata is None and not is_keras_model(model):
        raise UsageError(
            "metadata must be given with a function, whose inputs and images aren't known otherwise. Received: "
            f"{getattr(model, '__name__', type(model).__name__)} without metadata"
        )
    found = metadata or _infer_metadata(model, input, sample_rate)
    refuse_other_options(found, None, input, sample_rate)
    if not is_keras_model(model):
        return found
    from keras_a2i.models.classifier import name_labels

    return name_labels(model, found)


def refuse_other_options(
    own: ModelMetadata, metadata: ModelMetadata | None, input: str | None, sample_rate: int | None
) -> None:
    """Raises a UsageError if options are given that say otherwise than the metadata of a model."""
    refuse_other_metadata(metadata, own)
    known = {"input": (own.input, input), "sample_rate": (own.features.sample_rate, sample_rate)}
    for name, (value, given) in known.items():
        if given not in (None, value):
            raise UsageError(
                f"{name} must be left out for a model whose {name} is known, {value!r}. Received: {name}={given!r}"
            )


def _infer_metadata(model: Any, input: str | None, sample_rate: int | None) -> ModelMetadata:
    known = getattr(model, "metadata", None)
    if isinstance(known, ModelMetadata):
        return known
    try:
        shapes, name = (model.input_shape, model.output_shape), model.inputs[0].name
    except (AttributeError, ValueError, TypeError, IndexError):
        raise UsageError(
            "metadata must be given with a Keras model whose input isn't defined yet. "
            f"Received: {type(model).__name__}. Build it, or make it a functional model: keras.Model(inputs, outputs)"
        ) from None
    return default_metadata(*shapes, name, input=input, sample_rate=sample_rate)


def missing_tensorflow(error: ModuleNotFoundError, path: pathlib.Path) -> Exception:
    package = (error.name or "").partition(".")[0]
    return MissingPackageError(package, None, f"Loading {path.name}") if package in ("keras", "tensorflow") else error
