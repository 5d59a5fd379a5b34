"""int8 arithmetic of TFLite files, with ranges of activations that are calibrated on real inputs."""

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.exporters.formats import LOGITS, STYLE
from keras_a2i.exporters.interpreter import make_interpreter
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.models.styles import draw_styles

if TYPE_CHECKING:
    import keras


@contextlib.contextmanager
def unrolled(model: "keras.Model") -> Iterator[None]:
    """Has recurrent layers traced without a loop, on which the int8 converter crashes."""
    import keras

    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN) and not layer.unroll]
    for layer in layers:
        layer.unroll = True
    try:
        yield
    finally:
        for layer in layers:
            layer.unroll = False


def calibration_rows(calibration: np.ndarray, metadata: ModelMetadata, style_units: int) -> list[dict[str, np.ndarray]]:
    """Returns the inputs of single calls by name; every other one of a model with a style has a drawn style."""
    if not style_units:
        return [{metadata.input: row[None]} for row in calibration]
    styles = draw_styles(style_units, len(calibration), 1.0, 0)
    styles[::2] = 0
    return [{metadata.input: row[None], STYLE: style[None]} for row, style in zip(calibration, styles, strict=True)]


def quantize_calibrated(
    converter: Any, content: bytes, model: "keras.Model", rows: list[dict[str, np.ndarray]], float_layers: int
) -> bytes:
    """Returns the int8 form of a converted model; `content` is its float32 form."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter(rows)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, *converter.target_spec.supported_ops]
    # The converter itself quantises everything or nothing; the debugger's quantiser accepts a list of exceptions.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=_float_nodes(content, model, float_layers)
        ),
    )
    return bytes(debugger.get_nondebug_quantized_model())


def _float_nodes(content: bytes, model: "keras.Model", float_layers: int) -> list[str]:
    """Names the results that stay in float32: all before the first kernel, those of layer normalisations, of the
    layers that prepare mel frames and of logits, and all from one of the last kernels on.

    Spectral power spans about ten orders of magnitude and the squares of a normalisation three; int8 covers two.
    """
    import keras

    from keras_a2i.layers import CepstralNormalization, TimeAlign

    layers = list(_leaf_layers(model))
    kernels = [layer.name for layer in layers if getattr(layer, "kernel", None) is not None]
    wide = (keras.layers.LayerNormalization, TimeAlign, CepstralNormalization)
    norms = [LOGITS, *(layer.name for layer in layers if isinstance(layer, wide))]
    interpreter = make_interpreter(content)
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    results = [names[index] for op in interpreter._get_ops_details() for index in op["outputs"] if index in names]
    first = next((i for i, name in enumerate(results) if _is_of(name, kernels)), 0)
    late = kernels[len(kernels) - float_layers :]
    last = next((i for i, name in enumerate(results) if _is_of(name, late)), len(results))
    return results[:first] + [name for name in results[first:last] if _is_of(name, norms)] + results[last:]


def _leaf_layers(model: "keras.Model") -> "Iterator[keras.layers.Layer]":
    """Yields the layers of a model and of the models within it."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaf_layers(layer)
        else:
            yield layer


def _is_of(result: str, layers: list[str]) -> bool:
    """Whether a result of the graph belongs to one of the layers.

    Results are named by scopes, "model/layer/op"; fused ones are joined by semicolons, repeated ones numbered.
    """
    scopes = {scope for part in result.split(";") for scope in part.split("/")[:-1] or [part]}
    return any(re.fullmatch(rf"{re.escape(layer)}(_\d+)?", scope) for layer in layers for scope in scopes)
