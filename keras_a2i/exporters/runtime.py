"""Running exported files: TFLite by the LiteRT runtime, SavedModel by TensorFlow."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_a2i.errors import ModelError
from keras_a2i.models.model_file import ModelMetadata, default_metadata, read_metadata

SIGNATURE = "serving_default"
Run = Callable[[np.ndarray], np.ndarray]


def load_saved_model(path: pathlib.Path) -> tuple[Run, ModelMetadata]:
    """A function from features to pictures for a SavedModel folder, and its metadata.

    Raises:
        ModelError: if it can't be loaded or isn't one this library wrote.
    """
    import tensorflow as tf

    try:
        # The loaded object must outlive its signature.
        loaded = tf.saved_model.load(path)
        signature = loaded.signatures[SIGNATURE]
        inputs = signature.structured_input_signature[1]["features"].shape
        outputs = signature.structured_outputs["image"].shape
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise ModelError(f"{path.name} isn't a SavedModel with the signature features -> image: {error}") from error

    def run(features: np.ndarray, _keep: Any = loaded) -> np.ndarray:
        return signature(features=tf.constant(features))["image"].numpy()

    return run, read_metadata(path) or default_metadata(inputs, outputs)


def load_tflite(path: pathlib.Path, threads: int = 1) -> tuple[Run, ModelMetadata]:
    """A function from features to pictures for a `.tflite` file, one pair at a time, and its metadata.

    Raises:
        ModelError: if it can't be loaded or isn't one this library wrote.
    """
    try:
        interpreter = _interpreter(path, threads)
        runner = interpreter.get_signature_runner(SIGNATURE)
        inputs, outputs = runner.get_input_details()["features"], runner.get_output_details()["image"]
    except (ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{path.name} isn't a TFLite model with the signature features -> image: {error}") from error

    def run(features: np.ndarray) -> np.ndarray:
        # The runner reuses its output buffer.
        return np.concatenate([runner(features=row[None])["image"].copy() for row in features])

    return run, read_metadata(path) or default_metadata(tuple(inputs["shape"]), tuple(outputs["shape"]))


def operators(path: pathlib.Path) -> list[str]:
    """Names of the operators that a `.tflite` file uses."""
    return sorted({details["op_name"] for details in _interpreter(path, 1)._get_ops_details()} - {"DELEGATE"})


def _interpreter(path: pathlib.Path, threads: int) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite import Interpreter
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter
