"""Export to SavedModel, TFLite and ONNX: written, read back, compared, and only then said to be done."""

import dataclasses
import pathlib
import shutil
from typing import TYPE_CHECKING

import numpy as np

from keras_a2i.errors import ExportError, ModelError, UsageError
from keras_a2i.exporters.runtime import Run, load_saved_model, load_tflite, operators
from keras_a2i.exporters.sample_inputs import N_CALIBRATED, N_COMPARED, make_inputs, read_inputs
from keras_a2i.exporters.tflite import QUANTIZATIONS, TFLiteOptions, convert
from keras_a2i.models.model_file import (
    INPUTS,
    METADATA_NAME,
    ModelMetadata,
    default_metadata,
    embed_metadata,
    load_model,
)

if TYPE_CHECKING:
    import keras

    from keras_a2i.exporters.agreement import Agreement

FORMATS = ("saved-model", "tflite", "onnx")
MAX_FLOAT_LAYERS = 4

_TFLITE_MARK = b"TFL3"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """An export that was read back and agrees.

    Attributes:
        path: the file or folder.
        size: bytes.
        agreement: how far it is from the Keras model, and how fast; None for a file with TensorFlow's own operators,
            which the runtimes of this machine may not hold.
        compared_on: what the two were compared on, in words.
        float_layers: last kernels that stay in float32 in an int8 file, because it would differ too much otherwise.
    """

    path: pathlib.Path
    size: int
    agreement: "Agreement | None"
    compared_on: str
    float_layers: int = 0


def export(
    model: "keras.Model | str | pathlib.Path",
    path: str | pathlib.Path,
    *,
    format: str = "tflite",
    input: str | None = None,
    quantize: str = "none",
    integer_io: bool = False,
    allow_flex: bool = False,
    records: str | pathlib.Path | None = None,
    license: str | None = None,
    metadata: ModelMetadata | None = None,
    overwrite: bool = False,
) -> Exported:
    """Writes a model for serving, reads it back and compares it with the Keras model.

    A TFLite file takes one feature vector or one window of sound at a time, (1, n_inputs); SavedModel and ONNX take any
    batch. All have the input "features" or "waveform" and the output "image" (signature "serving_default"), and their
    configurations inside. TFLite and ONNX compute transposed convolutions as sub-pixel convolutions.

    Args:
        model: a model of this library, a `.keras` file or a run folder.
        path: the file (tflite, onnx) or folder (saved-model) to write.
        format: "tflite", "saved-model" or "onnx".
        input: "features", or "waveform" for a file that takes sound itself; None takes what the model takes.
        quantize: "none", "float16" or "int8"; TFLite only.
        integer_io: integers in and out, with "int8" only: int8 pictures, int8 features or int16 sound. The metadata
            holds their scales.
        allow_flex: TensorFlow's own operators where TFLite has none; not compared where no runtime has them.
        records: a records folder to compare and calibrate on; None takes the run's own where they are still there.
        license: under which the file is given on; None keeps what the model says.
        metadata: configurations to put inside, for a model that isn't in a file; None takes the file's own.
        overwrite: replace what stands at `path`.

    Returns:
        What was written, how far it differs and how fast it runs.

    Raises:
        UsageError: if an option isn't known or doesn't go with the others, a model of embeddings is to take a waveform,
            int8 has no records to calibrate on, or `path` exists and `overwrite` is False or it is no earlier export.
        ExportError: if the model can't be converted or what was written doesn't agree with it; nothing is left behind.
        MissingPackageError: if "onnx" lacks its packages.
    """
    path = pathlib.Path(path)
    _check_options(format, input, quantize, integer_io, allow_flex)
    _check_path(path, overwrite)
    if isinstance(model, str | pathlib.Path):
        records = records or _records_of(pathlib.Path(model))
        model, metadata = load_model(_model_file(pathlib.Path(model)))
    metadata = metadata or default_metadata(model.input_shape, model.output_shape, model.inputs[0].name)
    model, metadata = _taking(model, metadata, input)
    metadata = dataclasses.replace(metadata, license=metadata.license if license is None else license)
    inputs, compared_on = _inputs(records, metadata)
    options = TFLiteOptions(
        quantize=quantize,
        integer_io=integer_io,
        allow_flex=allow_flex,
        calibration=_calibration(records, metadata) if quantize == "int8" else None,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    _remove(temporary)
    try:
        agreement, float_layers = _write_agreeing(model, temporary, format, metadata, options, inputs)
        _remove(path)
        temporary.replace(path)
    finally:
        _remove(temporary)
    return Exported(
        path=path, size=_size(path), agreement=agreement, compared_on=compared_on, float_layers=float_layers
    )


def _check_options(format: str, input: str | None, quantize: str, integer_io: bool, allow_flex: bool) -> None:
    if format not in FORMATS:
        raise UsageError(f"The format must be one of {', '.join(FORMATS)}. Received: {format!r}")
    if input is not None and input not in INPUTS:
        raise UsageError(f"The input must be one of {', '.join(INPUTS)}. Received: {input!r}")
    if quantize not in QUANTIZATIONS:
        raise UsageError(f"quantize must be one of {', '.join(QUANTIZATIONS)}. Received: {quantize!r}")
    if format != "tflite" and (quantize != "none" or allow_flex):
        what = "--allow-flex" if allow_flex else f"--quantize {quantize}"
        raise UsageError(
            f"Only TFLite files are quantised or hold TensorFlow's operators. Received: {what} for {format}"
        )
    if integer_io and quantize != "int8":
        raise UsageError(f"Integers in and out need --quantize int8. Received: --quantize {quantize}")


def _check_path(path: pathlib.Path, overwrite: bool) -> None:
    if not path.name or path.name == "..":
        raise UsageError(f"An export needs a name of its own. Received: {path}")
    if path.exists():
        if not overwrite:
            raise UsageError(f"{path} exists already. Choose another path, or replace it with --overwrite")
        if not _is_export(path):
            raise UsageError(f"Only an earlier export is replaced. Received: {path}, which is something else")


def _is_export(path: pathlib.Path) -> bool:
    if path.is_dir():
        known = {"saved_model.pb", "fingerprint.pb", METADATA_NAME, "variables", "assets"}
        return (path / METADATA_NAME).is_file() and {file.name for file in path.iterdir()} <= known
    content = path.read_bytes()
    return content[4:8] == _TFLITE_MARK or (path.suffix == ".onnx" and METADATA_NAME.encode() in content)


def _model_file(path: pathlib.Path) -> pathlib.Path:
    return path / "model.keras" if path.is_dir() else path


def _records_of(run: pathlib.Path) -> pathlib.Path | None:
    """The records that a run folder was trained on, where they still are."""
    from keras_a2i.records.manifest import Manifest
    from keras_a2i.training.run_folder import RunFolder

    folder = RunFolder(run)
    if not folder.exists:
        return None
    config = folder.read_config()
    records = pathlib.Path(config.records)
    there = (records / "records.json").is_file() and Manifest.read(records).fingerprint == config.fingerprint
    return records if there else None


def _taking(model: "keras.Model", metadata: ModelMetadata, input: str | None) -> "tuple[keras.Model, ModelMetadata]":
    """The model with the input asked for."""
    if input in (None, metadata.input):
        return model, metadata
    if input == "features":
        raise UsageError("This model takes sound, so its exports do too. Received: --input features")
    metadata.require_audio("--input waveform")
    from keras_a2i.models.frontend import with_frontend

    return with_frontend(model, metadata.features), dataclasses.replace(metadata, input="waveform")


def _inputs(records: str | pathlib.Path | None, metadata: ModelMetadata) -> tuple[np.ndarray, str]:
    if records is None:
        inputs = make_inputs(metadata)
        return inputs, f"{len(inputs)} made inputs"
    inputs = read_inputs(pathlib.Path(records), metadata, "val", N_COMPARED)
    return inputs, f"{len(inputs)} pairs of {records}"


def _calibration(records: str | pathlib.Path | None, metadata: ModelMetadata) -> np.ndarray:
    if records is None:
        raise UsageError(
            "int8 takes its ranges from real sounds: name the records with --records (a run's own are found by itself "
            "where they still are)"
        )
    return read_inputs(pathlib.Path(records), metadata, "train", N_CALIBRATED)


def _write_agreeing(
    model: "keras.Model",
    path: pathlib.Path,
    format: str,
    metadata: ModelMetadata,
    options: TFLiteOptions,
    inputs: np.ndarray,
) -> "tuple[Agreement | None, int]":
    """Writes, reads back and compares; an int8 file that differs too much gets its last layers in float32.

    The last kernels hold a hundredth of the weights, and what they make is what is looked at.
    """
    from keras_a2i.exporters.agreement import compare

    kind = format if options.quantize == "none" else f"{format} {options.quantize}"
    most = MAX_FLOAT_LAYERS if options.quantize == "int8" else 0
    try:
        run = _write(model, path, format, metadata, options)
    except ModelError:
        if any(name.startswith("Flex") for name in operators(path)):
            return None, 0
        raise
    try:
        return compare(model, run, inputs, kind), options.float_layers
    except ExportError:
        if options.float_layers == most:
            raise
    _remove(path)
    options = dataclasses.replace(options, float_layers=options.float_layers + 1)
    return _write_agreeing(model, path, format, metadata, options, inputs)


def _write(
    model: "keras.Model", path: pathlib.Path, format: str, metadata: ModelMetadata, options: TFLiteOptions
) -> Run:
    """Writes the export and returns it as it is read back."""
    if format == "onnx":
        from keras_a2i.exporters.onnx import load_onnx, write_onnx

        write_onnx(model, path, metadata)
        return load_onnx(path)
    if format == "saved-model":
        _write_saved_model(model, path, metadata)
        embed_metadata(path, metadata)
        return load_saved_model(path)[0]
    content, metadata = convert(model, metadata, options)
    path.write_bytes(content)
    embed_metadata(path, metadata)
    return load_tflite(path)[0]


def _write_saved_model(model: "keras.Model", path: pathlib.Path, metadata: ModelMetadata) -> None:
    import tensorflow as tf

    from keras_a2i.exporters.tflite import quiet

    @tf.function(input_signature=[tf.TensorSpec((None, metadata.n_inputs), tf.float32, name=metadata.input)])
    def serve(inputs):
        return {"image": tf.cast(model(inputs, training=False), tf.float32)}

    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    module.serve = serve
    with quiet():
        tf.saved_model.save(module, path, signatures=serve)


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
