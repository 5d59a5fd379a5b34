"""Export of a model: it is written, read back and compared with the Keras model, and removed if they disagree."""

import dataclasses
import pathlib
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import (
    ExportError,
    KerasA2IError,
    MissingPackageError,
    ModelError,
    RecordsError,
    RemoteError,
    UsageError,
)
from keras_a2i.exporters.formats import FORMATS, Format, find_format, make_options
from keras_a2i.exporters.sample_inputs import (
    N_CALIBRATED,
    N_COMPARED,
    check_inputs,
    make_inputs,
    make_references,
    read_inputs,
    read_references,
)
from keras_a2i.media.durable import naming_output
from keras_a2i.models.model_file import (
    INPUTS,
    ModelMetadata,
    default_metadata,
    is_audio_token,
    load_model,
    token_error,
    without_training,
)
from keras_a2i.models.shipped import find_model
from keras_a2i.models.stored_model import local_model
from keras_a2i.remote.address import Address, Location, as_location, local_path

if TYPE_CHECKING:
    import keras

    from keras_a2i.exporters.agreement import Agreement


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """An export that was read back and agrees with its Keras model.

    Attributes:
        path: the file or folder.
        format: its id, such as "tflite".
        options: the format's options that it was written with.
        size: bytes.
        agreement: the differences from the Keras model, and the speed.
        compared_on: a description of the inputs of the comparison.
        notes: sentences of the format about what was written.
    """

    path: pathlib.Path
    format: str
    options: Any
    size: int
    agreement: "Agreement"
    compared_on: str
    notes: list[str]

    def __repr__(self) -> str:
        size, agreement = f"{self.size / 1e6:.1f} MB", self.agreement
        return (
            f"Exported({str(self.path)!r}: {self.format}, {size}; {1000 * agreement.latency:.1f} ms per image, "
            f"largest difference {agreement.max:.2g})"
        )


def export(
    model: "keras.Model | str | pathlib.Path",
    path: str | pathlib.Path,
    *,
    format: str | None = None,
    input: str | None = None,
    sample_rate: int | None = None,
    calibration: np.ndarray | None = None,
    records: str | Location | None = None,
    license: str | None = None,
    metadata: ModelMetadata | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Exported:
    """Writes a model for serving, reads it back and compares it with the Keras model.

    Every format has the input "features" or "waveform" and the output "image", and contains the model's configurations.
    A model with a reference image has a second input "reference"; a model with a style has a second input "style", for
    which zeros yield the usual image; a model that classifies has a second output "logits", with one value per label.
    All inputs and outputs are included in the comparison.

    Exports compute in float32; an `AudioToImage` of half precision is converted to float32 for the comparison. A TFLite
    file accepts one feature vector or one clip of audio at a time, (1, n_inputs); SavedModel and ONNX accept any batch.
    TFLite and ONNX compute transposed convolutions as sub-pixel convolutions; ONNX computes the Fourier transforms of
    `LogMel` and `MFCC` as matrix products.

    Args:
        model: a model of this library; any functional or sequential `keras.Model` from feature vectors or waveforms to
            images in [-1, 1]; a `.keras` file; a run folder; the address of either in an object store; or the name of
            a shipped model.
        path: the file or folder to write.
        format: "tflite", "saved-model", "onnx" or "web" (a folder with a page for browsers); None chooses by the suffix
            of `path`: .tflite, none, or .onnx.
        input: "features", or "waveform" for a file whose input is audio; the feature layers are then added in front of
            a model of features. None keeps the model's input, except for "web", whose input is a waveform.
        sample_rate: Hz of the waveform that your own model expects; None is 16,000. Models of this library contain
            their sample rate.
        calibration: real inputs (n, n_inputs) for int8 and for the comparison: features, or audio as float in [-1, 1]
            or int16.
        records: a records folder, or its address in an object store, for the comparison and the calibration; None uses
            the records of the run, if they still exist.
        license: the licence of the exported model; None keeps the model's.
        metadata: configurations of a model in memory, or of a file without configurations, such as one that plain
            `model.save` wrote; None uses those of the model, or infers them from its input and output.
        overwrite: replace an earlier export at `path`.
        **options: options of the format. TFLite: `quantize` ("none", "float16" or "int8"), `integer_io` (with "int8":
            int8 images, int8 features or int16 audio; the metadata holds their scales), `float_layers` and `latents`
            (signatures from inputs to latent vectors and from them to images). A page: `runtime`, the folder of the npm
            package @litertjs/core 2.5.3, and `quantize`.

    Returns:
        The export, its differences from the Keras model and its speed.

    Raises:
        UsageError: if an option is unknown or excludes another, a file contains other metadata than the argument, a
            model of embeddings is exported for waveforms, int8 has no inputs for its calibration, or `path` exists and
            `overwrite` is False or it isn't an earlier export.
        ExportError: if the model can't be converted or the export doesn't agree with it.
        ModelError: if a file isn't a model, or the model's input or output has the wrong shape.
        MissingPackageError: if a package that the format needs isn't installed.

    Example:
        >>> import keras_a2i as a2i
        >>> done = a2i.export("run", "model.tflite", input="waveform", quantize="int8")  # doctest: +SKIP
    """
    if isinstance(model, str | pathlib.Path):
        model = local_model(model)
        if is_audio_token(model):
            raise token_error(str(model))
    path = local_path(path, "path")
    chosen = find_format(format, path)
    made_options = make_options(chosen, options)
    if input is not None and input not in INPUTS:
        raise UsageError(f"input must be one of {', '.join(INPUTS)}. Received: input={input!r}")
    if chosen.input is not None and input not in (None, chosen.input):
        raise UsageError(f"input must be {chosen.input!r} with format={chosen.id!r}. Received: input={input!r}")
    input = input or chosen.input
    _check_path(path, overwrite)
    if isinstance(model, pathlib.Path):
        records = records or _records_of_run(model)
    graph, metadata = _prepare(model, metadata, input, sample_rate)
    metadata = dataclasses.replace(metadata, license=metadata.license if license is None else license)
    chosen.check_model(metadata, made_options)
    if calibration is not None:
        calibration = check_inputs(calibration, metadata)
    inputs, compared_on = _comparison_inputs(records, calibration, metadata)
    references = _comparison_references(records, metadata, len(inputs)) if metadata.reference else None
    ranges = None
    if chosen.needs_calibration(made_options):
        ranges = _calibration_inputs(records, calibration, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, and with the suffix by which some writers choose the format.
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    _remove(temporary)
    try:
        with naming_output(path, temporary):
            agreement, made_options = _write_agreeing(
                graph, temporary, chosen, metadata, made_options, ranges, inputs, references
            )
            _remove(path)
            temporary.replace(path)
    finally:
        _remove(temporary)
    return Exported(
        path=path,
        format=chosen.id,
        options=made_options,
        size=path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file()),
        agreement=agreement,
        compared_on=compared_on,
        notes=chosen.notes(path, made_options),
    )


def _check_path(path: pathlib.Path, overwrite: bool) -> None:
    if not path.name or path.name == "..":
        raise UsageError(f"path must end in a name. Received: {path}")
    if path.exists():
        if not overwrite:
            raise UsageError(f"path must not exist. Received: {path}. Choose another, or pass overwrite=True")
        if not any(each.is_export(path) for each in FORMATS.values()):
            raise UsageError(
                f"path must be free or an earlier export, which overwrite=True replaces. Received: {path}, which is "
                "something else"
            )


def _records_of_run(run: pathlib.Path) -> Location | None:
    """Returns the records that a run folder was trained on, where they still exist and can be read."""
    from keras_a2i.records.manifest import Manifest
    from keras_a2i.training.run_folder import RunFolder

    folder = RunFolder(run)
    if not folder.exists:
        return None
    config = folder.read_config()
    records = as_location(config.records)
    if isinstance(records, Address):
        try:
            return records if Manifest.read(records).fingerprint == config.fingerprint else None
        except (RecordsError, RemoteError, MissingPackageError):
            return None
    unchanged = (records / "records.json").is_file() and Manifest.read(records).fingerprint == config.fingerprint
    return records if unchanged else None


def _prepare(
    model: "keras.Model | str | pathlib.Path",
    metadata: ModelMetadata | None,
    input: str | None,
    sample_rate: int | None,
) -> "tuple[keras.Model, ModelMetadata]":
    """Returns the graph to export, which has the wanted input and isn't compiled, and its metadata."""
    import keras

    from keras_a2i.exporters.inference_model import to_float32, to_graph
    from keras_a2i.exporters.serving_model import find_style_units
    from keras_a2i.models.classifier import name_labels

    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            "Export needs Keras' TensorFlow backend, whose converters it uses. "
            f"Received: {keras.backend.backend()}. Save the model, and export the file with KERAS_BACKEND=tensorflow"
        )
    if isinstance(model, str | pathlib.Path):
        path = find_model(model)
        file = path / "model.keras" if path.is_dir() else path
        model, metadata = load_model(file, input=input, sample_rate=sample_rate, metadata=metadata)
    model = to_float32(without_training(model))
    graph = to_graph(model)
    metadata = metadata or getattr(model, "metadata", None)
    if metadata is None:
        metadata = default_metadata(
            graph.input_shape, graph.output_shape, graph.inputs[0].name, input=input, sample_rate=sample_rate
        )
    if sample_rate not in (None, metadata.features.sample_rate):
        raise UsageError(
            f"sample_rate must be left out for a model that knows its own, {metadata.features.sample_rate} Hz. "
            f"Received: sample_rate={sample_rate}"
        )
    metadata = dataclasses.replace(name_labels(model, metadata), style_units=find_style_units(graph))
    if input in (None, metadata.input):
        return graph, metadata
    if input == "features":
        raise UsageError("input must be 'waveform' for a model whose input is a waveform. Received: input='features'")
    metadata.require_audio("input='waveform'")
    from keras_a2i.models.frontend import with_frontend

    return with_frontend(graph, metadata.features), dataclasses.replace(metadata, input="waveform")


def _comparison_inputs(
    records: str | Location | None, calibration: np.ndarray | None, metadata: ModelMetadata
) -> tuple[np.ndarray, str]:
    if records is not None:
        inputs = read_inputs(as_location(records), metadata, "val", N_COMPARED)
        return inputs, f"{len(inputs)} pairs of {records}"
    if calibration is not None:
        return calibration[:N_COMPARED], f"{len(calibration[:N_COMPARED])} calibration inputs"
    inputs = make_inputs(metadata)
    return inputs, f"{len(inputs)} synthetic inputs"


def _comparison_references(records: str | Location | None, metadata: ModelMetadata, count: int) -> np.ndarray:
    """Reference images for the inputs that are compared: of the records where there are as many, else made ones."""
    if records is not None:
        found = read_references(as_location(records), metadata, "val", N_COMPARED)
        if len(found) == count:
            return found
    return make_references(metadata, count)


def _calibration_inputs(
    records: str | Location | None, calibration: np.ndarray | None, metadata: ModelMetadata
) -> np.ndarray:
    if calibration is not None:
        return calibration
    if records is None:
        raise UsageError(
            "calibration or records must be given with quantize='int8', which measures ranges on real inputs, "
            "unless ranges='dynamic'. Received: neither, and no run folder whose records still exist"
        )
    return read_inputs(as_location(records), metadata, "train", N_CALIBRATED)


def _write_agreeing(
    model: "keras.Model",
    path: pathlib.Path,
    format: Format,
    metadata: ModelMetadata,
    options: Any,
    ranges: np.ndarray | None,
    inputs: np.ndarray,
    references: np.ndarray | None,
) -> "tuple[Agreement, Any]":
    """Writes, reads back and compares, with the first of the format's attempts that runs and agrees."""
    from keras_a2i.exporters import agreement

    failure: KerasA2IError | None = None
    for attempt in format.attempts(options):
        _remove(path)
        limits = format.limits(attempt)
        try:
            format.write(model, path, metadata, attempt, ranges)
            served, _ = format.load(path)
            found = agreement.compare(model, served, inputs, limits, references)
            agreement.compare_styles_and_labels(model, served, inputs, limits, metadata)
            return found, attempt
        except (ExportError, ModelError) as error:
            failure = error
    assert failure is not None
    raise failure


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
