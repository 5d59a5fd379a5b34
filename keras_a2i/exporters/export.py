"""Export to SavedModel and TFLite: written, read back, compared, and only then said to be done."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from keras_a2i.errors import ExportError, UsageError
from keras_a2i.exporters.runtime import load_saved_model, load_tflite
from keras_a2i.models.model_file import METADATA_NAME, ModelMetadata, default_metadata, embed_metadata, load_model

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

FORMATS = ("saved-model", "tflite")
TOLERANCE = {"saved-model": 1e-5, "tflite": 1e-4}
"""Largest difference from the Keras model that an export may have, on pictures in [-1, 1]."""

_N_COMPARED = 16
_TFLITE_MARK = b"TFL3"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """An export that was read back and agrees.

    Attributes:
        path: the file or folder.
        size: bytes.
        max_difference, mean_difference: from the Keras model, on pictures in [-1, 1].
    """

    path: pathlib.Path
    size: int
    max_difference: float
    mean_difference: float


def export(
    model: "keras.Model | str | pathlib.Path",
    path: str | pathlib.Path,
    *,
    format: str = "tflite",
    metadata: ModelMetadata | None = None,
    overwrite: bool = False,
) -> Exported:
    """Writes a model for serving, reads it back and compares it with the Keras model.

    A TFLite file takes one feature vector at a time, (1, n_features), and uses built-in operators only; a SavedModel
    takes any batch. Both have the signature "serving_default" with the input "features" and the output "image".

    Args:
        model: a model of this library, a `.keras` file or a run folder.
        path: the file (tflite) or folder (saved-model) to write.
        format: "tflite" or "saved-model".
        metadata: configurations to put inside, for a model that isn't in a file; None takes the file's own.
        overwrite: replace what stands at `path`.

    Returns:
        What was written and how far it differs.

    Raises:
        UsageError: if the format isn't known, or `path` exists and `overwrite` is False or it isn't an earlier export.
        ExportError: if the model can't be converted or what was written doesn't agree with it; nothing is left behind.
    """
    path = pathlib.Path(path)
    if format not in FORMATS:
        raise UsageError(f"The format must be one of {', '.join(FORMATS)}. Received: {format!r}")
    if not path.name or path.name == "..":
        raise UsageError(f"An export needs a name of its own. Received: {path}")
    if path.exists():
        if not overwrite:
            raise UsageError(f"{path} exists already. Choose another path, or replace it with --overwrite")
        if not _is_export(path):
            raise UsageError(f"Only an earlier export is replaced. Received: {path}, which is something else")
    if isinstance(model, str | pathlib.Path):
        file = pathlib.Path(model)
        model, metadata = load_model(file / "model.keras" if file.is_dir() else file)
    metadata = metadata or default_metadata(model.input_shape, model.output_shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    _remove(temporary)
    try:
        with _quiet():
            write = _write_tflite if format == "tflite" else _write_saved_model
            write(model, temporary)
        embed_metadata(temporary, metadata)
        largest, mean = _compare(model, temporary, format, metadata)
        _remove(path)
        temporary.replace(path)
    finally:
        _remove(temporary)
    return Exported(path=path, size=_size(path), max_difference=largest, mean_difference=mean)


def _is_export(path: pathlib.Path) -> bool:
    if path.is_dir():
        known = {"saved_model.pb", "fingerprint.pb", METADATA_NAME, "variables", "assets"}
        return (path / METADATA_NAME).is_file() and {file.name for file in path.iterdir()} <= known
    with path.open("rb") as file:
        return file.read(8)[4:] == _TFLITE_MARK


def _write_saved_model(model: "keras.Model", path: pathlib.Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[_input_spec(model, None)])
    def serve(features):
        return {"image": tf.cast(model(features, training=False), tf.float32)}

    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    module.serve = serve
    tf.saved_model.save(module, path, signatures=serve)


def _write_tflite(model: "keras.Model", path: pathlib.Path) -> None:
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    # Weights as constants: the converter leaves Keras 3's variables unread otherwise, and pictures come out as NaN.
    trainable = [variable.numpy() for variable in model.trainable_variables]
    others = [variable.numpy() for variable in model.non_trainable_variables]

    @tf.function(input_signature=[_input_spec(model, 1)])
    def serve(features):
        image, _ = model.stateless_call(
            [tf.constant(value) for value in trainable],
            [tf.constant(value) for value in others],
            features,
            training=False,
        )
        return {"image": tf.cast(image, tf.float32)}

    module = tf.Module()
    module.serve = serve
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        path.write_bytes(converter.convert())
    except (ConverterError, RuntimeError, ValueError) as error:
        raise ExportError(
            f"The model must be made of built-in TFLite operators. The converter says: {error}"
        ) from error


def _input_spec(model: "keras.Model", batch: int | None) -> "tf.TensorSpec":
    import tensorflow as tf

    return tf.TensorSpec((batch, model.input_shape[1]), tf.float32, name="features")


def _compare(model: "keras.Model", path: pathlib.Path, format: str, metadata: ModelMetadata) -> tuple[float, float]:
    run, _ = load_tflite(path) if format == "tflite" else load_saved_model(path)
    features = _probe(metadata)
    differences = np.abs(run(features) - np.asarray(model.predict_on_batch(features), np.float32))
    largest, mean = float(differences.max()), float(differences.mean())
    if not largest <= TOLERANCE[format]:
        raise ExportError(
            f"The exported model must agree with the Keras model to {TOLERANCE[format]:g}. "
            f"It differs by up to {largest:.2g}; nothing was written"
        )
    return largest, mean


def _probe(metadata: ModelMetadata) -> np.ndarray:
    """Feature vectors distributed like the training features, (16, n_features)."""
    n_features = metadata.features.n_features
    normal = np.random.default_rng(0).standard_normal((_N_COMPARED, n_features))
    mean = np.array(metadata.feature_mean or np.zeros(n_features))
    std = np.array(metadata.feature_std or np.full(n_features, 15.0))
    return (mean + std * normal).astype(np.float32)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the converter's C++ log from the terminal."""
    saved = os.dup(2)
    with pathlib.Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
