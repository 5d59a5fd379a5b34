"""A Keras model of features as an ONNX file, by tf2onnx."""

import pathlib
from typing import TYPE_CHECKING

import numpy as np

from keras_a2i.errors import ExportError, MissingPackageError
from keras_a2i.exporters.depth_to_space import to_depth_to_space
from keras_a2i.exporters.runtime import Run
from keras_a2i.exporters.tflite import quiet
from keras_a2i.models.model_file import METADATA_NAME, ModelMetadata

if TYPE_CHECKING:
    import keras

OPSET = 17


def write_onnx(model: "keras.Model", path: pathlib.Path, metadata: ModelMetadata) -> None:
    """Writes a model with any batch size, the input "features" and the output "image", its metadata inside.

    Raises:
        ExportError: if the model takes sound, or holds what ONNX can't.
        MissingPackageError: without tf2onnx.
    """
    if metadata.input == "waveform":
        raise ExportError(
            "An ONNX file takes features, not sound: the converter writes the Fourier transform as an operator that "
            "ONNX doesn't have. Export a model of features with --input features, or sound as TFLite or SavedModel"
        )
    try:
        import onnx
        import tf2onnx
    except ImportError:
        raise MissingPackageError("tf2onnx", "onnx", "Writing ONNX") from None
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    light = to_depth_to_space(model)
    serve = tf.function(
        lambda features: tf.cast(light(features, training=False), tf.float32),
        input_signature=[tf.TensorSpec((None, metadata.n_inputs), tf.float32, name="features")],
    )
    try:
        with quiet():
            frozen = convert_variables_to_constants_v2(serve.get_concrete_function())
            names = {frozen.inputs[0].name: "features", frozen.outputs[0].name: "image"}
            proto, _ = tf2onnx.convert.from_graph_def(
                frozen.graph.as_graph_def(),
                input_names=[frozen.inputs[0].name],
                output_names=[frozen.outputs[0].name],
                opset=OPSET,
            )
            _rename(proto.graph, names)
            onnx.helper.set_model_props(proto, {METADATA_NAME: metadata.to_json()})
            onnx.checker.check_model(proto)
    except (ValueError, RuntimeError, KeyError, NotImplementedError, onnx.checker.ValidationError) as error:
        raise ExportError(f"The model must be made of what ONNX holds. The converter says: {error}") from error
    path.write_bytes(proto.SerializeToString())


def _rename(graph: "object", names: dict[str, str]) -> None:
    """Gives values of a graph other names, wherever they stand."""
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def load_onnx(path: pathlib.Path) -> Run:
    """A function from features to pictures for an ONNX file, on one core.

    Raises:
        MissingPackageError: without onnxruntime.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingPackageError("onnxruntime", "onnx", "Reading ONNX back") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(features: np.ndarray) -> np.ndarray:
        return session.run(["image"], {"features": features})[0]

    return run
