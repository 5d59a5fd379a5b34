"""The runtime of `.tflite` files: LiteRT, or TensorFlow where that is missing."""

import pathlib
from typing import Any

import numpy as np

from keras_a2i.errors import MissingPackageError


def operators(path: pathlib.Path) -> list[str]:
    """Names of the operators that a `.tflite` file uses, sorted."""
    return sorted({details["op_name"] for details in _interpreter(path, 1)._get_ops_details()} - {"DELEGATE"})


def make_interpreter(model: pathlib.Path | bytes, threads: int = 1) -> Any:
    """Returns an interpreter of a `.tflite` file or of its content, ready to run.

    Raises:
        MissingPackageError: if neither LiteRT nor TensorFlow is installed.
    """
    interpreter = _interpreter(model, threads)
    interpreter.allocate_tensors()
    return interpreter


def _interpreter(model: pathlib.Path | bytes, threads: int) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            import tensorflow as tf
        except ImportError:
            raise MissingPackageError("ai-edge-litert", "edge", "Running a .tflite file") from None
        Interpreter = tf.lite.Interpreter
    source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    return Interpreter(**source, num_threads=threads)


def to_integers(values: np.ndarray, scale: float, zero: int, dtype: Any) -> np.ndarray:
    """Converts numbers to the integers of a type that stand for them: number = scale * (integer - zero)."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(dtype)
