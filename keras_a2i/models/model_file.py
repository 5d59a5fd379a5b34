"""Model files that contain the configurations of their input and output.

Readers of `.keras` and `.tflite` files tolerate a small zip archive at the end of the file (a `.keras` file is one), so
both hold the metadata in the same way; a SavedModel folder holds it as a file.
"""

import dataclasses
import json
import pathlib
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from keras_a2i.config import MAX_EMBEDDING, FeatureConfig, ImageConfig
from keras_a2i.errors import KerasA2IError, ModelError, UsageError
from keras_a2i.media.durable import written_whole
from keras_a2i.models.half_precision import round_weights
from keras_a2i.models.label_calibration import LabelCalibration
from keras_a2i.models.stored_model import local_model
from keras_a2i.serialization import register

if TYPE_CHECKING:
    import keras

METADATA_NAME = "keras_a2i.json"
INPUTS = ("features", "waveform")
AUDIO_TOKEN = "audio-token"
"""The recipe's name in the files of `fit_audio_token`."""
_SCHEMA_VERSION = 1
_MAX_METADATA = 8 << 20
# Keras itself doesn't compress.
_MAX_UNPACKED, _MAX_RATIO = 16 << 20, 8
_BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, KeyError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """Input and output of a model.

    Attributes:
        features: sample rate, duration and features of the audio, or the length of an embedding.
        image: the image that it returns.
        input: "features" (batch, n_features), or "waveform" (batch, n_samples) in [-1, 1].
        recipe: the recipe it was trained with, "" if unknown.
        feature_mean, feature_std: statistics of the training features, one value per feature; () if unknown.
        labels: labels of the training pairs, sorted; () if they had none.
        style_units: length of the style at the end of the latent vector; 0 for none.
        reference: whether it needs a reference image, of the size and the channels of its images, beside the audio.
        license: licence of the model, "" if unknown.
        quantization: "input" and "output" -> (scale, zero point) of a model of integers, where value = scale x
            (integer - zero point); {} for a model of float32.
        calibration: of the class probabilities of a model that classifies; None if it wasn't calibrated.
    """

    features: FeatureConfig = dataclasses.field(default_factory=FeatureConfig)
    image: ImageConfig = dataclasses.field(default_factory=ImageConfig)
    input: str = "features"
    recipe: str = ""
    feature_mean: tuple[float, ...] = ()
    feature_std: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    style_units: int = 0
    reference: bool = False
    license: str = ""
    quantization: dict[str, tuple[float, int]] = dataclasses.field(default_factory=dict)
    calibration: LabelCalibration | None = None

    def __post_init__(self) -> None:
        if self.input not in INPUTS:
            raise ModelError(f"input must be one of {', '.join(INPUTS)}. Received: {self.input!r}")
        if self.input == "waveform":
            self.require_audio()

    def require_records(self, features: FeatureConfig, image: ImageConfig) -> None:
        """Raises a UsageError unless records of these configurations fit the model's input and output."""
        if not self.features.is_like(features):
            names = [config.description for config in (self.features, features)]
            wanted, received = names if names[0] != names[1] else (self.features, features)
            raise UsageError(f"The records must have the model's features, {wanted}. Received: {received}")
        if self.image.shape != image.shape:
            raise UsageError(
                f"The records must have images of the model's size, {_shape(self.image)}. Received: {_shape(image)}"
            )

    def require_audio(self, received: str = "") -> None:
        """Raises a UsageError if the model accepts embeddings, which can't be computed from audio here.

        Args:
            received: the given input, for the message.
        """
        if self.features.embedding:
            raise UsageError(
                f"The input of this model must be {self.features.description}, not audio. Received: "
                f"{received or 'audio'}. Pass vectors of the model that computed its training vectors, as a .npy file "
                "or an array"
            )

    def with_calibration(self, calibration: LabelCalibration | None) -> "ModelMetadata":
        """Returns a copy with another calibration."""
        return dataclasses.replace(self, calibration=calibration)

    @property
    def n_inputs(self) -> int:
        """Length of one input: features, or samples of a waveform."""
        return self.features.n_features if self.input == "features" else self.features.n_samples

    def to_json(self) -> str:
        """Returns the metadata as JSON text."""
        values = dataclasses.asdict(self) | {"features": self.features.to_dict()}
        return json.dumps(values | {"schema_version": _SCHEMA_VERSION})

    @classmethod
    def from_json(cls, text: str | bytes) -> "ModelMetadata":
        """Reads the text of `to_json`.

        Raises:
            ModelError: if it isn't metadata of this version.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            version = values.pop("schema_version")
            if version != _SCHEMA_VERSION:
                raise ModelError(f"Model metadata must have schema version {_SCHEMA_VERSION}. Received: {version}")
            values["features"] = FeatureConfig.from_dict(values["features"])
            values["image"] = ImageConfig.from_dict(values["image"])
            values["feature_mean"] = tuple(values["feature_mean"])
            values["feature_std"] = tuple(values["feature_std"])
            values["labels"] = tuple(values.get("labels", ()))
            quantization = values.get("quantization", {})
            values["quantization"] = {name: (float(scale), int(zero)) for name, (scale, zero) in quantization.items()}
            calibration = values.get("calibration")
            values["calibration"] = None if calibration is None else LabelCalibration(**calibration)
            return cls(**values)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, KerasA2IError):
                raise
            raise ModelError(f"{METADATA_NAME} isn't model metadata of this version: {error!r}") from error


def is_audio_token(path: str | pathlib.Path) -> bool:
    """Whether a path is a run of `fit_audio_token` or its `.keras` file, by its metadata, without loading it."""
    path = local_model(path)
    path = path / "model.keras" if path.is_dir() else path
    if path.suffix != ".keras" or not path.is_file():
        return False
    metadata = read_metadata(path)
    return metadata is not None and metadata.recipe == AUDIO_TOKEN


def token_error(name: str) -> UsageError:
    """Why a model of the recipe audio-token can't stand alone."""
    return UsageError(
        f"The model must contain the network that generates its images. Received: {name} of the recipe {AUDIO_TOKEN}, "
        "which embeds audio as a token for a Stable Diffusion 3 model of several gigabytes. No exported file could "
        "hold that model, and no phone or web page could run it. Generate from the run folder (keras-a2i generate, "
        "AudioToken.from_preset)"
    )


def embed_metadata(path: pathlib.Path, metadata: ModelMetadata) -> None:
    """Adds metadata to a `.keras` or `.tflite` file, or a SavedModel folder, that has none yet."""
    if path.is_dir():
        (path / METADATA_NAME).write_text(metadata.to_json(), encoding="utf-8")
        return
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(METADATA_NAME), metadata.to_json())


def read_metadata(path: pathlib.Path) -> ModelMetadata | None:
    """Returns the metadata of a model file or SavedModel folder, or None if it holds none."""
    if path.is_dir():
        file = path / METADATA_NAME
        return ModelMetadata.from_json(file.read_bytes()) if file.is_file() else None
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if METADATA_NAME not in archive.namelist():
                return None
            size = archive.getinfo(METADATA_NAME).file_size
            if size > _MAX_METADATA:
                raise ModelError(
                    f"{METADATA_NAME} may have at most {_MAX_METADATA:,} bytes. Received: {path.name} with {size:,}"
                )
            return ModelMetadata.from_json(archive.read(METADATA_NAME))
    except _BAD_ARCHIVE as error:
        raise ModelError(f"The metadata in {path.name} can't be read: {error}") from error


def check_archive(path: pathlib.Path) -> None:
    """Checks by the directory of a `.keras` file, before anything is unpacked, how much it would unpack to.

    Raises:
        ModelError: if it is no archive, or would unpack to far more bytes than it has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
    except (*_BAD_ARCHIVE, OSError) as error:
        raise ModelError(f"{path.name} can't be loaded as a Keras model: {error}") from error
    if total > _MAX_UNPACKED + _MAX_RATIO * path.stat().st_size:
        raise ModelError(
            f"A .keras file may unpack to at most {_MAX_RATIO} times its size. Received: {path.name}, which would "
            f"unpack to {total:,} bytes"
        )


def _shape(image: ImageConfig) -> str:
    return f"{image.size} x {image.size} with {image.channels} channel{'s' if image.channels > 1 else ''}"


def save_model(
    model: "keras.Model", path: pathlib.Path, metadata: ModelMetadata, *, half_precision: bool = False
) -> None:
    """Writes a `.keras` file with its metadata and without the optimizer, whole or not at all.

    Args:
        model: the model.
        path: a file name ending in .keras.
        metadata: its input and output.
        half_precision: store large weights as float16, in half the bytes; see `keras_a2i.models.half_precision`.
    """
    with written_whole(path, temporary=f".{path.stem}.tmp.keras", durable=False) as temporary:
        _without_compilation(model).save(temporary)
        if half_precision:
            round_weights(temporary)
        embed_metadata(temporary, metadata)


def _without_compilation(model: "keras.Model") -> "keras.Model":
    """A copy that isn't compiled: a compiled model stores its optimizer, twice the size of the weights."""
    import keras

    if not model.compiled:
        return model
    if type(model).get_config is keras.Model.get_config or not hasattr(model, "metadata"):
        return keras.Model(model.inputs, model.outputs, name=model.name)
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    return copy


def load_model(
    path: pathlib.Path,
    *,
    input: str | None = None,
    sample_rate: int | None = None,
    metadata: ModelMetadata | None = None,
) -> "tuple[keras.Model, ModelMetadata]":
    """Reads a `.keras` file, not compiled, with Keras' safe mode on.

    The metadata of a file without any (saved by plain `model.save`) is inferred by `default_metadata`. An
    `AudioToImage` takes over the licence, the recipe and the names that the metadata of its file states.

    Args:
        path: the file.
        input, sample_rate: as for `default_metadata`; they count only where the file holds no metadata.
        metadata: for a file that holds none.

    Raises:
        UsageError: if the file holds other metadata than these.
        ModelError: if the file isn't a Keras model, its sizes don't fit its metadata, its weights aren't finite, or it
            would take much more memory than it has bytes.
    """
    model = read_model(path)
    found, given = read_metadata(path), metadata
    if getattr(model, "embeds_tokens", False) or (found is None and given is None):
        found = metadata_of(model, input=input, sample_rate=sample_rate)
    elif found is None:
        found, given = given, None
    assert found is not None
    check_fit(path.name, found, model.input_shape, model.output_shape)
    if hasattr(model, "adopt_metadata"):
        found = model.adopt_metadata(found)
    refuse_other_metadata(given, found)
    return model, found


def refuse_other_metadata(given: ModelMetadata | None, own: ModelMetadata) -> None:
    """Raises a UsageError if metadata are given for a model that holds others of its own."""
    if given in (None, own):
        return
    names = [field.name for field in dataclasses.fields(own) if getattr(own, field.name) != getattr(given, field.name)]
    raise UsageError(
        "metadata must be left out for a model that holds its own, or be equal to them. "
        f"Received: metadata that differ in {', '.join(names)}"
    )


def without_training(model: Any) -> Any:
    """Returns the model that a `TrainingModel` trains; any other model as it is."""
    return model.model if getattr(model, "trains_model", False) else model


def read_model(path: pathlib.Path) -> "keras.Model":
    """Reads a `.keras` file of any kind of model, not compiled, with Keras' safe mode on.

    Of a `TrainingModel`, it is the model within.

    Raises:
        ModelError: if the file isn't a Keras model, its weights aren't finite, or it would take much more memory than
            it has bytes.
    """
    import keras
    import numpy as np

    register()
    check_archive(path)
    try:
        model = without_training(keras.saving.load_model(path, compile=False, safe_mode=True))
    except (ValueError, OSError, TypeError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, KerasA2IError):
            raise
        raise ModelError(f"{path.name} can't be loaded as a Keras model: {error}") from error
    for variable in model.weights:
        values = keras.ops.convert_to_numpy(variable)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelError(
                f"The weights of a model must be finite. Received: {path.name} with NaN or infinite values in "
                f"{variable.path}. Train it again with a lower learning_rate"
            )
    return model


def metadata_of(model: "keras.Model", *, input: str | None = None, sample_rate: int | None = None) -> ModelMetadata:
    """Returns the metadata of a model in memory: its own, or what `default_metadata` infers from its shapes.

    Raises:
        ModelError: if the model doesn't accept vectors or doesn't return square images.
        UsageError: if it generates audio from images, or is only the first part of what generates images.
    """
    if getattr(model, "generates_audio", False):
        raise UsageError(
            f"The model must turn audio into images. Received: {model.name}, which turns images into audio. Its "
            "network ends at a spectrogram, from which Griffin-Lim computes the audio in NumPy, so that no exported "
            "file could hold it. Use it with generate_audio (keras-a2i generate-audio)"
        )
    if getattr(model, "embeds_tokens", False):
        raise token_error(model.name)
    own = getattr(model, "metadata", None)
    if isinstance(own, ModelMetadata):
        return own
    return default_metadata(
        model.input_shape, model.output_shape, model.inputs[0].name, input=input, sample_rate=sample_rate
    )


def default_metadata(
    input_shape: tuple,
    output_shape: tuple,
    input_name: str = "features",
    *,
    input: str | None = None,
    sample_rate: int | None = None,
) -> ModelMetadata:
    """Infers the metadata of a model that carries none from its input and its output.

    The input is a waveform if `input` or `sample_rate` says so, if it is named "waveform", or if its length is that of
    a second at 16 kHz or too long for an embedding. Otherwise it is the default features if there are as many, else an
    embedding.

    Args:
        input_shape: (None, n_inputs).
        output_shape: (None, size, size, channels).
        input_name: name of the model's input.
        input: "features" or "waveform", where it is known.
        sample_rate: Hz of the waveform; None is 16,000.

    Raises:
        ModelError: if the model doesn't accept vectors or doesn't return square images.
    """
    is_vector = not isinstance(input_shape, list) and len(input_shape) == 2
    if not is_vector or len(output_shape) != 4 or output_shape[1] != output_shape[2]:
        raise ModelError(
            "A model must accept features (batch, n_features) or waveforms (batch, n_samples), and return images "
            f"(batch, size, size, channels). Received: {tuple(input_shape)} and {tuple(output_shape)}"
        )
    features, length = FeatureConfig(), input_shape[1]
    image = ImageConfig(size=int(output_shape[1]), channels=int(output_shape[3]))
    is_named = sample_rate is not None or input_name == "waveform"
    is_long = length is not None and (length == features.n_samples or length > MAX_EMBEDDING)
    is_stated = input == "waveform" and length != features.n_features
    if input != "features" and (is_named or is_long or is_stated):
        rate = sample_rate or features.sample_rate
        duration = (length or features.n_samples) / rate
        features = FeatureConfig(
            sample_rate=rate,
            duration=duration,
            frame=min(features.frame, duration),
            hop=min(features.hop, duration),
        )
        return ModelMetadata(features=features, image=image, input="waveform")
    if length not in (None, features.n_features):
        # No audio yields vectors of this length by default: another model made them.
        features = FeatureConfig(embedding=int(length))
    return ModelMetadata(features=features, image=image)


def check_fit(name: str, metadata: ModelMetadata, input_shape: tuple, output_shape: tuple) -> None:
    """Raises a ModelError unless a model of these shapes accepts and returns what its metadata says."""
    wanted = (metadata.n_inputs, metadata.image.shape)
    shapes = input_shape if isinstance(input_shape, list) else [input_shape]
    received = (shapes[0][1] or metadata.n_inputs, tuple(output_shape[1:]))
    if [tuple(shape[1:]) for shape in shapes[1:]] != [metadata.image.shape] * metadata.reference:
        raise ModelError(
            f"The model must have {'a second input for' if metadata.reference else 'no'} reference images, as its "
            f"configurations state. Received: {name} with inputs of the shapes {shapes}"
        )
    if wanted != received:
        what = "features" if metadata.input == "features" else "samples"
        raise ModelError(
            f"The input of the model must be {wanted[0]} {what} and its output images {wanted[1]}, as its "
            f"configurations state. Received: {name} with {received[0]} and {received[1]}"
        )
