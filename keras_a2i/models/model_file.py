"""Model files that know what they are made for: the configurations travel inside the file.

`.keras` and `.tflite` files take a small zip archive at their end without minding (a `.keras` file is one), so the same
few lines serve both; a SavedModel folder holds the file as it is.
"""

import dataclasses
import json
import pathlib
import zipfile
from typing import TYPE_CHECKING, Any

from keras_a2i.config import MAX_EMBEDDING, FeatureConfig, ImageConfig
from keras_a2i.errors import KerasA2IError, ModelError, UsageError

if TYPE_CHECKING:
    import keras

METADATA_NAME = "keras_a2i.json"
INPUTS = ("features", "waveform")
_SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """What a model takes and gives.

    Attributes:
        features: how its input is made from sound: rate, length and, unless it takes the sound itself, coefficients;
            or that it takes embeddings.
        image: the picture it gives.
        input: "features" (batch, n_features), or "waveform" (batch, n_samples) in [-1, 1].
        recipe: the recipe it was made from, "" if unknown.
        feature_mean, feature_std: of the training features, one value a feature; () if unknown.
        labels: of the pairs it was trained on, sorted; () where they had none.
        style_units: numbers at the end of its latent vector that stand for what the sound doesn't say; 0 for none.
        license: under which the model is given on, "" if nothing was said.
        quantization: how integers stand for numbers, "input" and "output" -> (scale, zero point): number = scale x
            (integer - zero point); {} for a model that takes and gives float32.
    """

    features: FeatureConfig = dataclasses.field(default_factory=FeatureConfig)
    image: ImageConfig = dataclasses.field(default_factory=ImageConfig)
    input: str = "features"
    recipe: str = ""
    feature_mean: tuple[float, ...] = ()
    feature_std: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    style_units: int = 0
    license: str = ""
    quantization: dict[str, tuple[float, int]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.input not in INPUTS:
            raise ModelError(f"A model's input must be one of {', '.join(INPUTS)}. Received: {self.input!r}")
        if self.input == "waveform":
            self.require_audio()

    def require_records(self, features: FeatureConfig, image: ImageConfig) -> None:
        """Raises a UsageError unless records of these configurations hold what the model takes and draws."""
        if not self.features.is_like(features):
            names = [config.description for config in (self.features, features)]
            wanted, received = names if names[0] != names[1] else (self.features, features)
            raise UsageError(f"The records must have the model's features, {wanted}. Received: {received}")
        if self.image.shape != image.shape:
            raise UsageError(
                f"The records must have pictures as the model draws them, {_shape(self.image)}. "
                f"Received: {_shape(image)}"
            )

    def require_audio(self, received: str = "") -> None:
        """Raises a UsageError if the model takes embeddings, which sound can't be turned into here.

        Args:
            received: what it was given, for the message.
        """
        if self.features.embedding:
            raise UsageError(
                f"This model takes {self.features.description}, not sound. Received: {received or 'sound'}. Give it "
                "vectors of the model that made those it was trained on, as a .npy file or an array"
            )

    @property
    def n_inputs(self) -> int:
        """Length of one input: features, or samples of sound."""
        return self.features.n_features if self.input == "features" else self.features.n_samples

    def to_json(self) -> str:
        """The metadata as JSON text."""
        values = dataclasses.asdict(self) | {"features": self.features.to_dict()}
        return json.dumps(values | {"schema_version": _SCHEMA_VERSION})

    @classmethod
    def from_json(cls, text: str | bytes) -> "ModelMetadata":
        """Reads `to_json`'s text.

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
            return cls(**values)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, KerasA2IError):
                raise
            raise ModelError(f"{METADATA_NAME} isn't model metadata of this version: {error!r}") from error


def embed_metadata(path: pathlib.Path, metadata: ModelMetadata) -> None:
    """Puts metadata into a `.keras` or `.tflite` file, or a SavedModel folder, that has none yet."""
    if path.is_dir():
        (path / METADATA_NAME).write_text(metadata.to_json(), encoding="utf-8")
        return
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(METADATA_NAME), metadata.to_json())


def read_metadata(path: pathlib.Path) -> ModelMetadata | None:
    """The metadata of a model file or SavedModel folder, or None where it holds none."""
    if path.is_dir():
        file = path / METADATA_NAME
        return ModelMetadata.from_json(file.read_bytes()) if file.is_file() else None
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return ModelMetadata.from_json(archive.read(METADATA_NAME)) if METADATA_NAME in archive.namelist() else None


def _shape(image: ImageConfig) -> str:
    return f"{image.size} x {image.size} with {image.channels} channel{'s' if image.channels > 1 else ''}"


def save_model(model: "keras.Model", path: pathlib.Path, metadata: ModelMetadata) -> None:
    """Writes a `.keras` file with its metadata and without the optimizer, whole or not at all.

    Args:
        model: the model.
        path: a file name ending in .keras.
        metadata: what it takes and gives.
    """
    import keras

    temporary = path.with_name(f".{path.stem}.tmp.keras")
    # The same layers in a model that isn't compiled: a compiled one takes its optimizer along, twice its own size.
    keras.Model(model.inputs, model.outputs, name=model.name).save(temporary)
    embed_metadata(temporary, metadata)
    temporary.replace(path)


def load_model(
    path: pathlib.Path, *, input: str | None = None, sample_rate: int | None = None
) -> "tuple[keras.Model, ModelMetadata]":
    """Reads a `.keras` file, not compiled, with Keras' safe mode on.

    The metadata of a file without any (saved by plain `model.save`) is inferred by `default_metadata`.

    Args:
        path: the file.
        input, sample_rate: as for `default_metadata`; they count only where the file holds no metadata.

    Raises:
        ModelError: if the file isn't a Keras model, or its sizes don't fit its metadata.
    """
    import keras

    import keras_a2i.layers  # noqa: F401  Keras knows the layers by then.

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, KerasA2IError):
            raise
        raise ModelError(f"{path.name} can't be loaded as a Keras model: {error}") from error
    metadata = read_metadata(path) or default_metadata(
        model.input_shape, model.output_shape, model.inputs[0].name, input=input, sample_rate=sample_rate
    )
    check_fit(path.name, metadata, model.input_shape, model.output_shape)
    return model, metadata


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
    if len(input_shape) != 2 or len(output_shape) != 4 or output_shape[1] != output_shape[2]:
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
    received = (input_shape[1] or metadata.n_inputs, tuple(output_shape[1:]))
    if wanted != received:
        what = "features" if metadata.input == "features" else "samples"
        raise ModelError(
            f"The model must take {wanted[0]} {what} and give pictures {wanted[1]}, as its feature and image "
            f"configurations say. Received: {name} with {received[0]} and {received[1]}"
        )
