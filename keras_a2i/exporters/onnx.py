"""ONNX files with any batch size, written by tf2onnx and run by ONNX Runtime."""

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import ExportError, MissingPackageError, ModelError
from keras_a2i.exporters.formats import IMAGE, Format, Limits, NoOptions, ServedModel, names_of_inputs, register
from keras_a2i.exporters.quiet import quiet
from keras_a2i.models.model_file import METADATA_NAME, ModelMetadata, default_metadata

if TYPE_CHECKING:
    import keras

OPSET = 17


@register
class OnnxFormat(Format):
    """An ONNX file with the input "features" or "waveform" and the output "image".

    A model with a style has the input "style" (batch, style_units), too; one that classifies the output "logits". The
    Fourier transforms of this library's feature layers are matrix products.
    """

    id = "onnx"
    title = "ONNX"
    suffix = ".onnx"

    def limits(self, options: NoOptions) -> Limits:
        """Differences of at most 1e-4."""
        return Limits(max=1e-4)

    def write(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        metadata: ModelMetadata,
        options: NoOptions,
        calibration: np.ndarray | None = None,
    ) -> None:
        """Writes the file, its metadata in a property of the model."""
        try:
            import onnx
            import tf2onnx
        except ImportError:
            raise MissingPackageError("tf2onnx", "onnx", "Writing ONNX") from None
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        from keras_a2i.exporters.depth_to_space import to_depth_to_space
        from keras_a2i.exporters.serving_model import to_serving
        from keras_a2i.layers.power_spectrum import fourier_by_products

        light = to_serving(to_depth_to_space(model), len(metadata.labels))
        names = names_of_inputs(metadata)
        outputs = list(light.output)
        specs = [
            tf.TensorSpec((None, *each.shape[1:]), tf.float32, name=name)
            for each, name in zip(light.inputs, names, strict=True)
        ]

        @tf.function(input_signature=specs, autograph=False)
        def serve(*inputs):
            found = light(list(inputs), training=False)
            return [tf.cast(found[name], tf.float32) for name in outputs]

        try:
            with quiet():
                # The converter has no equivalent of an FFT.
                with fourier_by_products():
                    concrete = serve.get_concrete_function()
                frozen = convert_variables_to_constants_v2(concrete)
                proto, _ = tf2onnx.convert.from_graph_def(
                    frozen.graph.as_graph_def(),
                    input_names=[tensor.name for tensor in frozen.inputs],
                    output_names=[tensor.name for tensor in frozen.outputs],
                    opset=OPSET,
                )
                # The converter doesn't notice operators that ONNX lacks, and neither does the checker.
                foreign = {node.op_type for node in proto.graph.node if not onnx.defs.has(node.op_type, node.domain)}
                if foreign:
                    raise ExportError(_foreign_message(foreign))
                tensors = [tensor.name for tensor in (*frozen.inputs, *frozen.outputs)]
                _rename(proto.graph, dict(zip(tensors, [*names, *outputs], strict=True)))
                onnx.helper.set_model_props(proto, {METADATA_NAME: metadata.to_json()})
                onnx.checker.check_model(proto)
        except ExportError:
            raise
        except (ValueError, RuntimeError, KeyError, NotImplementedError, onnx.checker.ValidationError) as error:
            raise ExportError(
                f"The model must consist of ONNX operators. The converter reports: {error}. Export it as tflite or "
                "saved-model"
            ) from error
        path.write_bytes(proto.SerializeToString())

    def can_load(self, path: pathlib.Path) -> bool:
        """Whether a path is a file that ends in .onnx."""
        return path.suffix.lower() == self.suffix and path.is_file()

    def load(self, path: pathlib.Path, threads: int = 1) -> tuple[ServedModel, ModelMetadata]:
        """Loads a file for CPU cores; one without metadata counts as accepting features."""
        try:
            import onnxruntime
        except ImportError:
            raise MissingPackageError("onnxruntime", "onnx", "Running an ONNX file") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # The runtime's errors have no common class of their own.
        except Exception as error:
            raise ModelError(f"{path.name} can't be loaded as an ONNX model: {error}") from error
        inputs = {each.name: each.shape for each in session.get_inputs()}
        outputs = {each.name: each.shape for each in session.get_outputs()}
        held = session.get_modelmeta().custom_metadata_map.get(METADATA_NAME)
        metadata = ModelMetadata.from_json(held) if held else None
        name = metadata.input if metadata else "features"
        if name not in inputs or IMAGE not in outputs:
            raise ModelError(
                f"{path.name} must have the input {name} and the output image. "
                f"Received: {', '.join(inputs)} and {', '.join(outputs)}"
            )
        metadata = metadata or default_metadata(tuple(inputs[name]), tuple(outputs[IMAGE]))

        def run(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return dict(zip(outputs, session.run(list(outputs), values), strict=True))

        return ServedModel(run, metadata, inputs, outputs), metadata

    def is_export(self, path: pathlib.Path) -> bool:
        """Whether a file ends in .onnx and holds the metadata of an export."""
        return self.can_load(path) and METADATA_NAME.encode() in path.read_bytes()


def _foreign_message(foreign: set[str]) -> str:
    hint = "Export it as tflite or saved-model"
    if any("FFT" in name for name in foreign):
        hint = (
            "The converter tf2onnx has no equivalent of a Fourier transform; the layers LogMel and MFCC of this "
            "library do without. Compute the spectrum by one of them, or export it as tflite or saved-model"
        )
    return f"The model must consist of ONNX operators. Received: {', '.join(sorted(foreign))}. {hint}"


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Renames values of a graph wherever they are used."""
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
