"""A Keras model as the bytes of a `.tflite` file: float32, float16 weights, or int8."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import ExportError
from keras_a2i.exporters.depth_to_space import to_depth_to_space
from keras_a2i.exporters.runtime import make_interpreter, to_integers
from keras_a2i.models.model_file import ModelMetadata

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

QUANTIZATIONS = ("none", "float16", "int8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFLiteOptions:
    """How a `.tflite` file is made.

    Attributes:
        quantize: "none", "float16" (weights) or "int8" (weights and what is computed with them; the front end and layer
            normalisations stay in float32).
        float_layers: with "int8", so many kernels at the end, and what follows them, stay in float32 too.
        integer_io: the picture as int8, features as int8 and sound as int16 samples; with "int8" only.
        allow_flex: operators of TensorFlow itself where TFLite has none.
        calibration: real inputs (n, n_inputs) that "int8" takes its ranges from.
    """

    quantize: str = "none"
    float_layers: int = 0
    integer_io: bool = False
    allow_flex: bool = False
    calibration: np.ndarray | None = None


def convert(model: "keras.Model", metadata: ModelMetadata, options: TFLiteOptions) -> tuple[bytes, ModelMetadata]:
    """Converts a model to the form that is fastest on a CPU core.

    Args:
        model: from features or sound to pictures.
        metadata: of the model.
        options: of the file.

    Returns:
        The file's bytes and its metadata, with the scales of integers.

    Raises:
        ExportError: if the model can't be made of built-in operators.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    scales = {"input": _input_scale(metadata, options), "output": (1 / 127, 0)} if options.integer_io else {}
    module, function = _trace(to_depth_to_space(model), metadata, scales)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if options.allow_flex:
        converter.target_spec.supported_ops.append(tf.lite.OpsSet.SELECT_TF_OPS)
    if options.quantize == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    try:
        with quiet():
            content = converter.convert()
            if options.quantize == "int8":
                content = _quantize(converter, content, model, scales, options)
    except (ConverterError, RuntimeError, ValueError) as error:
        foreign = re.search(r"(?:(?:Flex|Custom) ops: |'tf\.)([\w, ]+)", str(error))
        raise ExportError(
            f"The model must be made of built-in TFLite operators. Received: {foreign[1] if foreign else error}. "
            "--allow-flex admits TensorFlow's own operators, which few runtimes hold"
        ) from error
    return content, dataclasses.replace(metadata, quantization=scales)


def _trace(
    model: "keras.Model", metadata: ModelMetadata, scales: dict[str, tuple[float, int]]
) -> "tuple[tf.Module, Any]":
    import tensorflow as tf

    # Weights as constants: the converter leaves Keras 3's variables unread otherwise, and pictures come out as NaN.
    trainable = [variable.numpy() for variable in model.trainable_variables]
    others = [variable.numpy() for variable in model.non_trainable_variables]
    integer = tf.int16 if metadata.input == "waveform" else tf.int8
    dtype = integer if scales else tf.float32

    @tf.function(input_signature=[tf.TensorSpec((1, metadata.n_inputs), dtype, name=metadata.input)])
    def serve(inputs):
        if scales:
            inputs = tf.cast(inputs, tf.float32) * scales["input"][0]
        image, _ = model.stateless_call(
            [tf.constant(value) for value in trainable],
            [tf.constant(value) for value in others],
            inputs,
            training=False,
        )
        image = tf.cast(image, tf.float32)
        return {"image": tf.cast(tf.round(image / scales["output"][0]), tf.int8) if scales else image}

    module = tf.Module()
    module.serve = serve
    return module, serve.get_concrete_function()


def _input_scale(metadata: ModelMetadata, options: TFLiteOptions) -> tuple[float, int]:
    """Scale and zero point of integer inputs: 16-bit samples, or features up to the largest that was seen."""
    if metadata.input == "waveform":
        return 1 / 32_768, 0
    return float(np.abs(options.calibration).max()) / 127, 0


def _quantize(
    converter: Any,
    content: bytes,
    model: "keras.Model",
    scales: dict[str, tuple[float, int]],
    options: TFLiteOptions,
) -> bytes:
    """The int8 form of a converted model; `content` is its float32 form."""
    import tensorflow as tf

    inputs = to_integers(options.calibration, *scales["input"]) if scales else options.calibration
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in inputs)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, *converter.target_spec.supported_ops]
    # The converter itself quantises everything or nothing; the debugger's quantiser takes a list of exceptions.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=_float_nodes(content, model, options.float_layers)
        ),
    )
    return bytes(debugger.get_nondebug_quantized_model())


def _float_nodes(content: bytes, model: "keras.Model", float_layers: int) -> list[str]:
    """Results that stay in float32: all before the first kernel, layer normalisations and what prepares mel frames, and
    all from a late kernel on.

    Powers of sound span ten decades and the squares of a normalisation three: int8 has two.
    """
    import keras

    from keras_a2i.layers import CepstralNormalization, TimeAlign

    kernels = [layer.name for layer in model.layers if getattr(layer, "kernel", None) is not None]
    wide = (keras.layers.LayerNormalization, TimeAlign, CepstralNormalization)
    norms = [layer.name for layer in model.layers if isinstance(layer, wide)]
    interpreter = make_interpreter(content)
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    results = [names[index] for op in interpreter._get_ops_details() for index in op["outputs"]]
    first = next((i for i, name in enumerate(results) if _is_of(name, kernels)), 0)
    late = kernels[len(kernels) - float_layers :]
    last = next((i for i, name in enumerate(results) if _is_of(name, late)), len(results))
    return results[:first] + [name for name in results[first:last] if _is_of(name, norms)] + results[last:]


def _is_of(result: str, layers: list[str]) -> bool:
    """Whether a result of the graph (scopes joined by semicolons, repeated ones numbered) is of one of the layers."""
    scopes = [part.split("/")[0] for part in result.split(";")]
    return any(re.fullmatch(rf"{re.escape(layer)}(_\d+)?", scope) for layer in layers for scope in scopes)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what converters log and warn of from the terminal."""
    saved = os.dup(2)
    with pathlib.Path(os.devnull).open("w") as null, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(null.fileno(), 2)
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
            os.dup2(saved, 2)
            os.close(saved)
