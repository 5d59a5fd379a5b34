"""TFLite files (LiteRT) of built-in operators, one input at a time: float32, float16 weights, or int8."""

import contextlib
import dataclasses
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import ExportError, MissingPackageError, ModelError, UsageError
from keras_a2i.exporters.formats import (
    ENCODE,
    GENERATE,
    IMAGE,
    LATENT,
    LOGITS,
    STYLE,
    Format,
    Limits,
    ServedModel,
    names_of_inputs,
    option,
    register,
)
from keras_a2i.exporters.quiet import quiet
from keras_a2i.models.model_file import ModelMetadata, default_metadata, embed_metadata, read_metadata
from keras_a2i.models.styles import draw_styles

if TYPE_CHECKING:
    import keras

SIGNATURE = "serving_default"
MAX_FLOAT_LAYERS = 4
_MARK = b"TFL3"
_INT16_SCALE = 1 / 32_768
_IMAGE_SCALE = 1 / 127


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFLiteOptions:
    """Options of a `.tflite` file.

    Attributes:
        quantize: "none", "float16" (weights), or "int8" (weights and activations; the front end and layer
            normalisations stay in float32). "int8" takes its ranges from calibration inputs.
        integer_io: with "int8": int8 images, int8 features and int16 audio samples in place of float32.
        float_layers: with "int8": number of kernels at the end that stay in float32, with everything after them; None
            is the smallest number from 0 to 4 with which the file agrees with the Keras model.
        latents: add the signatures "encode", from an input to its latent vector, and "generate", from that to its
            image. The weights are stored once. Not with "int8".
    """

    quantize: str = option(
        "none", "Weights in float16, or int8 arithmetic calibrated on records.", ("none", "float16", "int8")
    )
    integer_io: bool = option(False, "With int8: integer inputs (int16 audio, int8 features) and int8 images.")
    float_layers: int | None = option(
        None, "With int8: number of last kernels that stay in float32 (default: as few as agree with the Keras model)."
    )
    latents: bool = option(
        False,
        "Add the signatures encode (input to latent vector) and generate (that to an image). Not with int8.",
    )


@register
class TFLiteFormat(Format):
    """A TFLite file of built-in operators with the signature "serving_default".

    It accepts one "features" or "waveform" (1, n_inputs) and returns one "image" (1, size, size, channels). A model
    with a style accepts one as "style" (1, style_units), zeros for the usual image; a model that classifies returns
    label "logits" (1, n_labels).
    """

    id = "tflite"
    title = "TFLite"
    suffix = ".tflite"
    Options = TFLiteOptions

    def check(self, options: TFLiteOptions) -> None:
        """Refuses the options of int8 for another quantisation."""
        for name in ("integer_io", "float_layers"):
            value = getattr(options, name)
            if value not in (False, None) and options.quantize != "int8":
                raise UsageError(
                    f"{name} must be left out unless quantize='int8'. "
                    f"Received: {name}={value!r} with quantize={options.quantize!r}"
                )
        if options.float_layers is not None and options.float_layers < 0:
            raise UsageError(f"float_layers must be 0 or more. Received: float_layers={options.float_layers}")
        if options.latents and options.quantize == "int8":
            raise UsageError(
                "latents must be left out with quantize='int8', which is calibrated on whole models. Received: "
                "latents=True. Use quantize='float16'"
            )

    def check_model(self, metadata: ModelMetadata, options: TFLiteOptions) -> None:
        """Refuses int8 for a model with a reference image, and latent vectors."""
        int8 = options.quantize == "int8"
        if metadata.reference and (int8 or options.latents):
            rule = "quantize must be 'none' or 'float16'" if int8 else "latents must be left out"
            received = "quantize='int8'" if int8 else "latents=True"
            raise UsageError(f"{rule} for a model with a reference image. Received: {received}")

    def needs_calibration(self, options: TFLiteOptions) -> bool:
        """With int8."""
        return options.quantize == "int8"

    def attempts(self, options: TFLiteOptions) -> Iterator[TFLiteOptions]:
        """With int8, more and more of the last kernels stay in float32: they hold a hundredth of the weights, and an
        error in them is seen directly."""
        if options.quantize != "int8" or options.float_layers is not None:
            yield options
            return
        for number in range(MAX_FLOAT_LAYERS + 1):
            yield dataclasses.replace(options, float_layers=number)

    def limits(self, options: TFLiteOptions) -> Limits:
        """By the quantisation: a maximum of 1e-4 for float32, a mean of 0.002 for float16, and a mean of 0.02 with an
        SSIM of 0.97 for int8."""
        return {
            "none": Limits(max=1e-4),
            "float16": Limits(mean=2e-3),
            "int8": Limits(mean=0.02, ssim=0.97),
        }[options.quantize]

    def write(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        metadata: ModelMetadata,
        options: TFLiteOptions,
        calibration: np.ndarray | None = None,
    ) -> None:
        """Writes the file, its metadata in an archive behind the model."""
        content, metadata = convert(model, metadata, options, calibration)
        path.write_bytes(content)
        embed_metadata(path, metadata)

    def can_load(self, path: pathlib.Path) -> bool:
        """Whether a path is a file that ends in .tflite."""
        return path.suffix.lower() == self.suffix and path.is_file()

    def load(self, path: pathlib.Path, threads: int = 1) -> tuple[ServedModel, ModelMetadata]:
        """Loads a file by LiteRT, without TensorFlow; integer inputs and outputs are converted from and to float32."""
        metadata = read_metadata(path)
        name = metadata.input if metadata else "features"
        try:
            interpreter = make_interpreter(path, threads)
            runner = interpreter.get_signature_runner(SIGNATURE)
            inputs, outputs = runner.get_input_details(), runner.get_output_details()
            shapes, dtype = (tuple(inputs[name]["shape"]), tuple(outputs[IMAGE]["shape"])), inputs[name]["dtype"]
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelError(f"{path.name} isn't a TFLite model with the signature {name} -> image: {error}") from error
        metadata = metadata or default_metadata(*shapes)
        scales = metadata.quantization

        def run(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            if "input" in scales:
                values = values | {name: to_integers(values[name], *scales["input"], dtype)}
            results = _by_row(runner, values)
            if "output" in scales:
                scale, zero = scales["output"]
                results[IMAGE] = (results[IMAGE].astype(np.float32) - zero) * np.float32(scale)
            return results

        halves = {}
        if {ENCODE, GENERATE} <= set(interpreter.get_signature_list()):
            encoder, generator = (interpreter.get_signature_runner(key) for key in (ENCODE, GENERATE))
            halves = {
                "encode_fn": lambda values: _by_row(encoder, {name: values})[LATENT],
                "decode_fn": lambda latents: _by_row(generator, {LATENT: latents})[IMAGE],
            }
        return ServedModel(run, metadata, inputs, outputs, **halves), metadata

    def is_export(self, path: pathlib.Path) -> bool:
        """Whether a file is a TFLite model, whatever its name."""
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(8)[4:] == _MARK

    def notes(self, path: pathlib.Path, options: TFLiteOptions) -> list[str]:
        """Names the operators, and the kernels that int8 left in float32."""
        notes = [f"operators, all built in: {', '.join(operators(path))}"]
        if options.float_layers:
            notes.insert(0, f"the last {options.float_layers} kernels stay in float32: int8 differed too much in them")
        return notes


def convert(
    model: "keras.Model", metadata: ModelMetadata, options: TFLiteOptions, calibration: np.ndarray | None = None
) -> tuple[bytes, ModelMetadata]:
    """Converts a model to the form that is fastest on a CPU core.

    Args:
        model: a functional model from features or a waveform to images.
        metadata: of the model.
        options: of the file, `float_layers` being a number with "int8".
        calibration: real inputs (n, n_inputs) for "int8".

    Returns:
        The file's bytes and its metadata, with the scales of integers.

    Raises:
        ExportError: if the model can't be expressed in built-in operators.
    """
    from tensorflow.lite.python.convert_phase import ConverterError

    from keras_a2i.exporters.depth_to_space import to_depth_to_space
    from keras_a2i.exporters.serving_model import find_style_units

    scales: dict[str, tuple[float, int]] = {}
    if options.integer_io:
        assert calibration is not None
        largest = _INT16_SCALE if metadata.input == "waveform" else float(np.abs(calibration).max()) / 127
        scales = {"input": (largest, 0), "output": (_IMAGE_SCALE, 0)}
    try:
        # Models of several signatures are read from the folder while they are converted.
        with quiet(), tempfile.TemporaryDirectory(prefix="keras-a2i-") as folder:
            converter = _make_converter(to_depth_to_space(model), metadata, options, scales, folder)
            content = converter.convert()
            if options.quantize == "int8":
                assert calibration is not None
                if any(details["op_name"] == "WHILE" for details in make_interpreter(content)._get_ops_details()):
                    raise ExportError(
                        "quantize='int8' needs a model without loops, on which the converter fails. Received: a model "
                        "with a loop. Use quantize='float16' or 'none'"
                    )
                if scales:
                    calibration = to_integers(calibration, *scales["input"], _input_dtype(metadata, scales))
                rows = _calibration_rows(calibration, metadata, find_style_units(model))
                content = _quantize(converter, content, model, rows, options.float_layers or 0)
    except ExportError:
        raise
    except (ConverterError, RuntimeError, ValueError) as error:
        foreign = re.search(r"(?:(?:Flex|Custom) ops: |'tf\.)([\w, ]+)", str(error))
        raise ExportError(
            f"The model must consist of built-in TFLite operators. Received: {foreign[1] if foreign else error}. "
            "Replace the layers that need others, or export it as saved-model"
        ) from error
    return content, dataclasses.replace(metadata, quantization=scales)


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


@contextlib.contextmanager
def _unrolled(model: "keras.Model") -> Iterator[None]:
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


def _input_dtype(metadata: ModelMetadata, scales: dict[str, tuple[float, int]]) -> type:
    if not scales:
        return np.float32
    return np.int16 if metadata.input == "waveform" else np.int8


def _by_row(runner: Any, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs a signature on every row of its inputs, and returns its outputs in one batch."""
    rows = []
    for i in range(len(next(iter(values.values())))):
        found = runner(**{name: array[i : i + 1] for name, array in values.items()})
        # The runner reuses its output buffers.
        rows.append({name: array.copy() for name, array in found.items()})
    return {name: np.concatenate([row[name] for row in rows]) for name in runner.get_output_details()}


def _make_converter(
    model: "keras.Model",
    metadata: ModelMetadata,
    options: TFLiteOptions,
    scales: dict[str, tuple[float, int]],
    folder: str,
) -> Any:
    import tensorflow as tf

    from keras_a2i.exporters.serving_model import to_halves, to_serving

    serving = to_serving(model, len(metadata.labels))
    dtype, module = tf.as_dtype(_input_dtype(metadata, scales)), tf.Module()
    with _unrolled(serving) if options.quantize == "int8" else contextlib.nullcontext():
        module.whole = _trace(serving, names_of_inputs(metadata), dtype, scales)
        # Traced while the layers are unrolled.
        whole = module.whole.get_concrete_function()
    if options.latents:
        halves = to_halves(model)
        module.encode = _trace(halves[ENCODE], [metadata.input])
        module.generate = _trace(halves[GENERATE], [LATENT])
        # No attribute may be named serve: the converter would take it for the only signature.
        signatures = {SIGNATURE: module.whole, ENCODE: module.encode, GENERATE: module.generate}
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
    else:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([whole], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if options.quantize == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter


def _trace(
    model: "keras.Model", names: list[str], dtype: Any = "float32", scales: dict[str, tuple[float, int]] | None = None
) -> Any:
    """Returns a model of single inputs as a function of TensorFlow; `dtype` is that of the first input."""
    import tensorflow as tf

    # Weights as constants: the converter leaves Keras 3's variables unread otherwise, and images come out as NaN.
    trainable = [variable.numpy() for variable in model.trainable_variables]
    others = [variable.numpy() for variable in model.non_trainable_variables]
    dtypes = [dtype, *[tf.float32] * (len(names) - 1)]
    specs = [tf.TensorSpec((1, *each.shape[1:]), dtypes[i], name=names[i]) for i, each in enumerate(model.inputs)]

    @tf.function(input_signature=specs, autograph=False)
    def serve(first, *more):
        if scales:
            first = tf.cast(first, tf.float32) * scales["input"][0]
        outputs, _ = model.stateless_call(
            [tf.constant(value) for value in trainable],
            [tf.constant(value) for value in others],
            [first, *more],
            training=False,
        )
        outputs = {name: tf.cast(values, tf.float32) for name, values in outputs.items()}
        if scales:
            outputs[IMAGE] = tf.cast(tf.round(outputs[IMAGE] / scales["output"][0]), tf.int8)
        return outputs

    return serve


def _calibration_rows(
    calibration: np.ndarray, metadata: ModelMetadata, style_units: int
) -> list[dict[str, np.ndarray]]:
    """Returns the inputs of single calls by name; every other one of a model with a style has a drawn style."""
    if not style_units:
        return [{metadata.input: row[None]} for row in calibration]
    styles = draw_styles(style_units, len(calibration), 1.0, 0)
    styles[::2] = 0
    return [{metadata.input: row[None], STYLE: style[None]} for row, style in zip(calibration, styles, strict=True)]


def _quantize(
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
