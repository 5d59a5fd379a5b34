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
    """A function from features or sound to pictures for a SavedModel folder, and its metadata.

    Raises:
        ModelError: if it can't be loaded or isn't one this library wrote.
    """
    import tensorflow as tf

    metadata = read_metadata(path)
    name = metadata.input if metadata else "features"
    try:
        # The loaded object must outlive its signature.
        loaded = tf.saved_model.load(path)
        signature = loaded.signatures[SIGNATURE]
        inputs = signature.structured_input_signature[1][name].shape
        outputs = signature.structured_outputs["image"].shape
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise ModelError(f"{path.name} isn't a SavedModel with the signature {name} -> image: {error}") from error

    def run(values: np.ndarray, _keep: Any = loaded) -> np.ndarray:
        return signature(**{name: tf.constant(values)})["image"].numpy()

    return run, metadata or default_metadata(inputs, outputs)


def load_tflite(path: pathlib.Path, threads: int = 1) -> tuple[Run, ModelMetadata]:
    """A function from features or sound to pictures for a `.tflite` file, one pair at a time, and its metadata.

    What the file takes or gives as integers is float32 here too.

    Raises:
        ModelError: if it can't be loaded or isn't one this library wrote.
    """
    metadata = read_metadata(path)
    name = metadata.input if metadata else "features"
    try:
        runner = make_interpreter(path, threads).get_signature_runner(SIGNATURE)
        inputs, outputs = runner.get_input_details()[name], runner.get_output_details()["image"]
    except (ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{path.name} isn't a TFLite model with the signature {name} -> image: {error}") from error
    metadata = metadata or default_metadata(tuple(inputs["shape"]), tuple(outputs["shape"]))
    scales = metadata.quantization

    def run(values: np.ndarray) -> np.ndarray:
        if "input" in scales:
            values = to_integers(values, *scales["input"])
        # The runner reuses its output buffer.
        images = np.concatenate([runner(**{name: row[None]})["image"].copy() for row in values])
        if "output" in scales:
            scale, zero = scales["output"]
            images = (images.astype(np.float32) - zero) * np.float32(scale)
        return images

    return run, metadata


def operators(path: pathlib.Path) -> list[str]:
    """Names of the operators that a `.tflite` file uses; TensorFlow's own begin with Flex."""
    return sorted({details["op_name"] for details in _interpreter(path, 1)._get_ops_details()} - {"DELEGATE"})


def make_interpreter(model: pathlib.Path | bytes, threads: int = 1) -> Any:
    """An interpreter of a `.tflite` file or its content, ready to run."""
    interpreter = _interpreter(model, threads)
    interpreter.allocate_tensors()
    return interpreter


def _interpreter(model: pathlib.Path | bytes, threads: int) -> Any:
    """LiteRT's interpreter, or TensorFlow's own where that isn't installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    return Interpreter(**source, num_threads=threads)


def to_integers(values: np.ndarray, scale: float, zero: int) -> np.ndarray:
    """Numbers as the integers that stand for them: int16 for sound (scale 1/32768), else int8."""
    dtype = np.int16 if scale == 1 / 32_768 else np.int8
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(dtype)
