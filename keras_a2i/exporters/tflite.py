"""TFLite files (LiteRT) of built-in operators, one input at a time: float32, float16 weights, or int8."""

import contextlib
import dataclasses
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import ExportError, ModelError, UsageError
from keras_a2i.exporters.formats import (
    ENCODE,
    GENERATE,
    IMAGE,
    LATENT,
    Format,
    Limits,
    ServedModel,
    names_of_inputs,
    option,
    register,
)
from keras_a2i.exporters.int8 import calibration_rows, quantize_calibrated, unrolled
from keras_a2i.exporters.interpreter import make_interpreter, operators, to_integers
from keras_a2i.exporters.quiet import quiet
from keras_a2i.models.model_file import ModelMetadata, default_metadata, embed_metadata, read_metadata

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
            normalisations stay in float32).
        ranges: with "int8": where the ranges of activations come from. "calibrated" takes them from calibration inputs
            and computes with integers throughout; "dynamic" measures them in every input, kernel by kernel, and
            computes what is between the kernels in float32. None tries both in this order.
        integer_io: with "int8": int8 images, int8 features and int16 audio samples in place of float32.
        float_layers: with calibrated ranges: number of kernels at the end that stay in float32, with everything after
            them; None is the smallest number from 0 to 4 with which the file agrees with the Keras model.
        latents: add the signatures "encode", from an input to its latent vector, and "generate", from that to its
            image. The weights are stored once. Not with calibrated ranges.
    """

    quantize: str = option(
        "none", "Weights in float16, or weights and arithmetic in int8.", ("none", "float16", "int8")
    )
    ranges: str | None = option(
        None,
        "With int8: ranges of activations calibrated on records, or measured on every input (default: calibrated, or "
        "dynamic where that differs too much from the Keras model).",
        ("calibrated", "dynamic"),
    )
    integer_io: bool = option(False, "With int8: integer inputs (int16 audio, int8 features) and int8 images.")
    float_layers: int | None = option(
        None,
        "With calibrated ranges: number of last kernels that stay in float32 (default: the smallest that agrees with "
        "the Keras model).",
    )
    latents: bool = option(
        False,
        "Add the signatures encode (input to latent vector) and generate (latent vector to image). Not with int8, "
        "unless --ranges is dynamic.",
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
        for name in ("integer_io", "ranges", "float_layers"):
            value = getattr(options, name)
            if value not in (False, None) and options.quantize != "int8":
                raise UsageError(
                    f"{name} must be left out unless quantize='int8'. "
                    f"Received: {name}={value!r} with quantize={options.quantize!r}"
                )
        if options.float_layers is not None and options.float_layers < 0:
            raise UsageError(f"float_layers must be 0 or more. Received: float_layers={options.float_layers}")
        if options.float_layers is not None and options.ranges == "dynamic":
            raise UsageError(
                "float_layers must be left out with ranges='dynamic', because all kernels are int8 then. Received: "
                f"float_layers={options.float_layers}"
            )
        if options.latents and options.quantize == "int8" and options.ranges != "dynamic":
            raise UsageError(
                "latents must be left out with calibrated ranges, which are measured on whole models. Received: "
                f"latents=True with ranges={options.ranges!r}. Use ranges='dynamic', or quantize='float16'"
            )

    def check_model(self, metadata: ModelMetadata, options: TFLiteOptions) -> None:
        """Refuses int8 for a model with a reference image, and latent vectors."""
        int8 = options.quantize == "int8"
        if metadata.reference and (int8 or options.latents):
            rule = "quantize must be 'none' or 'float16'" if int8 else "latents must be left out"
            received = "quantize='int8'" if int8 else "latents=True"
            raise UsageError(f"{rule} for a model with a reference image. Received: {received}")

    def needs_calibration(self, options: TFLiteOptions) -> bool:
        """With int8, unless its ranges are dynamic and its inputs in float32."""
        return options.quantize == "int8" and (options.ranges != "dynamic" or options.integer_io)

    def attempts(self, options: TFLiteOptions) -> Iterator[TFLiteOptions]:
        """With int8, more and more of the last kernels stay in float32: they hold a hundredth of the weights, and an
        error in them is seen directly. Then ranges are dynamic."""
        if options.quantize != "int8" or options.ranges == "dynamic":
            yield options
            return
        numbers = range(MAX_FLOAT_LAYERS + 1) if options.float_layers is None else [options.float_layers]
        for number in numbers:
            yield dataclasses.replace(options, ranges="calibrated", float_layers=number)
        if options.ranges is None and options.float_layers is None:
            yield dataclasses.replace(options, ranges="dynamic")

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

        halves: dict[str, Any] = {}
        if {ENCODE, GENERATE} <= set(interpreter.get_signature_list()):
            encoder, generator = (interpreter.get_signature_runner(key) for key in (ENCODE, GENERATE))
            halves = {
                "encode_fn": lambda values: _by_row(encoder, {name: values})[LATENT],
                "decode_fn": lambda latents: _by_row(generator, {LATENT: latents})[IMAGE],
                "latent_dim": int(generator.get_input_details()[LATENT]["shape"][-1]),
            }
        return ServedModel(run, metadata, inputs, outputs, **halves), metadata

    def is_export(self, path: pathlib.Path) -> bool:
        """Whether a file is a TFLite model, whatever its name."""
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(8)[4:] == _MARK

    def notes(self, path: pathlib.Path, options: TFLiteOptions) -> list[str]:
        """Names the operators, and what int8 left in float32."""
        notes = [f"operators, all built in: {', '.join(operators(path))}"]
        if options.float_layers:
            notes.insert(0, f"the last {options.float_layers} kernels stay in float32: int8 differed too much in them")
        if options.ranges == "dynamic":
            notes.insert(0, "the ranges of activations are measured in every input")
        return notes


def convert(
    model: "keras.Model", metadata: ModelMetadata, options: TFLiteOptions, calibration: np.ndarray | None = None
) -> tuple[bytes, ModelMetadata]:
    """Converts a model to the form that is fastest on a CPU core.

    Args:
        model: a functional model from features or a waveform to images.
        metadata: of the model.
        options: of the file, as `TFLiteFormat.attempts` completes them.
        calibration: real inputs (n, n_inputs) for calibrated ranges.

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
            if options.ranges == "calibrated":
                assert calibration is not None
                if any(details["op_name"] == "WHILE" for details in make_interpreter(content)._get_ops_details()):
                    raise ExportError(
                        "int8 with calibrated ranges needs a model without loops, on which the converter fails. "
                        "Received: a model with a loop. Use ranges='dynamic', or quantize='float16' or 'none'"
                    )
                if scales:
                    calibration = to_integers(calibration, *scales["input"], _input_dtype(metadata, scales))
                rows = calibration_rows(calibration, metadata, find_style_units(model))
                content = quantize_calibrated(converter, content, model, rows, options.float_layers or 0)
    except ExportError:
        raise
    except (ConverterError, RuntimeError, ValueError) as error:
        foreign = re.search(r"(?:(?:Flex|Custom) ops: |'tf\.)([\w, ]+)", str(error))
        raise ExportError(
            f"The model must consist of built-in TFLite operators. Received: {foreign[1] if foreign else error}. "
            "Replace the layers that need others, or export it as saved-model"
        ) from error
    return content, dataclasses.replace(metadata, quantization=scales)


def _input_dtype(metadata: ModelMetadata, scales: dict[str, tuple[float, int]]) -> type:
    if not scales:
        return np.float32
    return np.int16 if metadata.input == "waveform" else np.int8


def _by_row(runner: Any, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs a signature on every row of its inputs, and returns its outputs in one batch.

    Raises:
        ModelError: if an operator fails, as a division by what int8 has rounded to 0.
    """
    rows = []
    for i in range(len(next(iter(values.values())))):
        try:
            found = runner(**{name: array[i : i + 1] for name, array in values.items()})
        except RuntimeError as error:
            raise ModelError(f"The TFLite file must run on this input. Received: {error}") from error
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
    with unrolled(serving) if options.ranges == "calibrated" else contextlib.nullcontext():
        serve = _trace(serving, names_of_inputs(metadata), dtype, scales)
        # Traced while the layers are unrolled.
        whole = serve.get_concrete_function()
    if options.latents:
        halves = to_halves(model)
        module.whole = serve
        module.encode = _trace(halves[ENCODE], [metadata.input])
        module.generate = _trace(halves[GENERATE], [LATENT])
        # No attribute may be named serve: the converter would take it for the only signature.
        signatures = {SIGNATURE: module.whole, ENCODE: module.encode, GENERATE: module.generate}
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
    else:
        # Without the function as an attribute, which would be traced once more: its weights are constants.
        converter = tf.lite.TFLiteConverter.from_concrete_functions([whole], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if options.quantize == "float16" or options.ranges == "dynamic":
        # Without a type: weights of int8, ranges of activations that the kernels measure.
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if options.quantize == "float16":
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
