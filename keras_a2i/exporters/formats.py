"""What a format that models are exported to must define, and the registry of all formats."""

import abc
import dataclasses
import math
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.models.model_file import ModelMetadata

if TYPE_CHECKING:
    import keras

PredictFn = Callable[[np.ndarray], np.ndarray]
"""A function from float32 inputs (batch, n_inputs) to float32 images (batch, size, size, channels) in [-1, 1]."""
IMAGE, STYLE, LOGITS, REFERENCE = "image", "style", "logits", "reference"
"""Names of an export's output, its second input if it has a style, its second output if it classifies, and its second
input if it needs a reference image."""
ENCODE, GENERATE, LATENT = "encode", "generate", "latent"
"""Names of the signatures from an input to a latent vector and from it to an image, and of the vector."""


class ServedModel:
    """An export that was loaded: a function from inputs, and a style where it accepts one, to images.

    Args:
        run: computes float32 arrays by the names of its outputs from float32 arrays by the names of its inputs, for any
            batch.
        metadata: of the export.
        inputs, outputs: names of the inputs that it accepts, and of the outputs that it returns.
        encode_fn: inputs to latent vectors (batch, latent_dim); None if it doesn't give them.
        decode_fn: latent vectors to images.
        latent_dim: length of the latent vectors.

    Attributes:
        has_style: whether it accepts a style, which files of older versions don't.
        has_logits: whether it returns the logits of labels.
        has_reference: whether it needs a reference image.

    Raises:
        ModelError: if the names aren't those of an export.
    """

    def __init__(
        self,
        run: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]],
        metadata: ModelMetadata,
        inputs: Collection[str],
        outputs: Collection[str],
        *,
        encode_fn: PredictFn | None = None,
        decode_fn: PredictFn | None = None,
        latent_dim: int | None = None,
    ):
        self.encode_fn, self.decode_fn, self.latent_dim = encode_fn, decode_fn, latent_dim
        self._run, self._metadata = run, metadata
        self.has_style, self.has_logits = STYLE in inputs, LOGITS in outputs
        self.has_reference = metadata.reference
        needed = set(names_of_inputs(metadata))
        # Files of older versions accept no style.
        if not needed - {STYLE} <= set(inputs) <= needed or IMAGE not in outputs:
            raise ModelError(
                f"An export must have the input {metadata.input}, a {STYLE} and a {REFERENCE} if its metadata state "
                f"one, and the output {IMAGE}. Received: {', '.join(inputs)} and {', '.join(outputs)}"
            )

    def __call__(
        self, inputs: np.ndarray, styles: np.ndarray | None = None, references: np.ndarray | None = None
    ) -> np.ndarray:
        """Generates images, float32 (batch, size, size, channels) in [-1, 1].

        Args:
            inputs: float32 (batch, n_inputs).
            styles: float32 (batch, style_units), for a model with `has_style`; None is zeros, the usual image.
            references: float32 (batch, size, size, channels) in [-1, 1], for a model with `has_reference`; None is
                zeros, a grey image.
        """
        return self._outputs(inputs, styles, references)[IMAGE]

    def change_references(self, inputs: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Generates images from reference images, as a call does."""
        return self(inputs, references=references)

    def classify(self, inputs: np.ndarray) -> np.ndarray:
        """Returns the logits of the labels, float32 (batch, n_labels), of a model with `has_logits`."""
        return self._outputs(inputs)[LOGITS]

    def _outputs(
        self, inputs: np.ndarray, styles: np.ndarray | None = None, references: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        values = {self._metadata.input: inputs}
        if self.has_reference:
            grey = np.zeros((len(inputs), *self._metadata.image.shape), np.float32)
            values[REFERENCE] = grey if references is None else references
        if self.has_style:
            zeros = np.zeros((len(inputs), self._metadata.style_units), np.float32)
            values[STYLE] = zeros if styles is None else styles
        return self._run(values)


def names_of_inputs(metadata: ModelMetadata) -> list[str]:
    """Names of the inputs of a model as it is exported, in their order."""
    return [metadata.input, *[REFERENCE] * metadata.reference, *[STYLE] * (metadata.style_units > 0)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How far the images of an export may be from those of the Keras model, on [-1, 1].

    Attributes:
        max, mean: the largest absolute difference, and the largest mean of the absolute differences.
        ssim: the smallest mean SSIM.
    """

    max: float = math.inf
    mean: float = math.inf
    ssim: float = -math.inf


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoOptions:
    """The options of a format that has none."""


def option(default: Any, help: str, choices: tuple[str, ...] = (), type: type = int) -> Any:
    """A field of a format's options, with the text, the choices and the type that the command line shows for it."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "type": type})


class Format(abc.ABC):
    """A file or folder format that a model can be exported to.

    Attributes:
        id: the name by which `export` knows the format.
        title: the name that people know it by.
        suffix: of the file's name, such as ".tflite"; "" for a folder. None is a format that no name chooses.
        input: the input that an export must have, "features" or "waveform"; None for either.
        cores: what the latency is measured on, in words.
        Options: a frozen dataclass of the format's own options, whose fields are made by `option`.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    suffix: ClassVar[str | None]
    input: ClassVar[str | None] = None
    cores: ClassVar[str] = "one core"
    Options: ClassVar[type] = NoOptions

    def check(self, options: Any) -> None:  # noqa: B027  Most formats have nothing to check.
        """Raises a UsageError if options exclude each other."""

    def check_model(self, metadata: ModelMetadata, options: Any) -> None:  # noqa: B027
        """Raises a UsageError if the format, or an option of it, isn't for models of this kind."""

    def needs_calibration(self, options: Any) -> bool:
        """Whether `write` needs real inputs to take ranges from."""
        return False

    def attempts(self, options: Any) -> Iterator[Any]:
        """Yields options to try in turn until what was written agrees with the Keras model."""
        yield options

    @abc.abstractmethod
    def limits(self, options: Any) -> Limits:
        """How far the images may be from those of the Keras model."""

    @abc.abstractmethod
    def write(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        metadata: ModelMetadata,
        options: Any,
        calibration: np.ndarray | None,
    ) -> None:
        """Writes a model with its metadata.

        Args:
            model: a functional model that isn't compiled.
            path: a path that doesn't exist.
            metadata: of the model.
            options: an `Options`.
            calibration: real inputs (n, n_inputs) where `needs_calibration` says so, else None.

        Raises:
            ExportError: if the model can't be expressed in the format.
            MissingPackageError: if a package that the format needs isn't installed.
        """

    @abc.abstractmethod
    def can_load(self, path: pathlib.Path) -> bool:
        """Whether a path looks like this format, judged by its name and kind alone."""

    @abc.abstractmethod
    def load(self, path: pathlib.Path) -> tuple[ServedModel, ModelMetadata]:
        """Loads what `write` wrote.

        Raises:
            ModelError: if it can't be loaded.
            MissingPackageError: if a package that the format needs isn't installed.
        """

    @abc.abstractmethod
    def is_export(self, path: pathlib.Path) -> bool:
        """Whether a file or folder is an export in this format, so that a new one may replace it."""

    def notes(self, path: pathlib.Path, options: Any) -> list[str]:
        """Sentences about what was written, for people."""
        return []


FORMATS: dict[str, Format] = {}
"""Every format by its id."""


def register(cls: type[Format]) -> type[Format]:
    """Adds a format to `FORMATS`."""
    FORMATS[cls.id] = cls()
    return cls


def find_format(format: str | None, path: pathlib.Path) -> Format:
    """Returns the format of an id, or of a path's suffix where the id is None.

    Raises:
        UsageError: if there is no such format, or the path lacks the suffix by which files in the format are loaded.
    """
    if format is None:
        found = next((each for each in FORMATS.values() if each.suffix == path.suffix.lower()), None)
        if found is None:
            named = [each for each in FORMATS.values() if each.suffix is not None]
            suffixes = ", ".join(f"{each.suffix or 'no suffix'} ({each.id})" for each in named)
            raise UsageError(
                f"path must end in the suffix of a format: {suffixes}. Received: {path}. Choose such a name, or pass "
                "format=..."
            )
        return found
    if format not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}. Received: format={format!r}")
    suffix = FORMATS[format].suffix
    if suffix and path.suffix.lower() != suffix:
        raise UsageError(
            f"path must end in {suffix} with format={format!r}: files are loaded and replaced by their suffix. "
            f"Received: {path}. Choose such a name, or leave out format"
        )
    return FORMATS[format]


def make_options(format: Format, given: Mapping[str, Any]) -> Any:
    """Returns the `Options` of a format.

    Args:
        format: the format.
        given: options by name.

    Raises:
        UsageError: if the format has no such option, a value isn't one of the choices, or options exclude each other.
    """
    fields = {field.name: field for field in dataclasses.fields(format.Options)}
    for name, value in given.items():
        if name not in fields:
            others = [
                each.id for each in FORMATS.values() if name in {f.name for f in dataclasses.fields(each.Options)}
            ]
            where = (
                f"an option of {', '.join(others)} only" if others else f"one of {', '.join(fields) or 'no options'}"
            )
            raise UsageError(f"{name} must be {where}. Received: {name}={value!r} with format={format.id!r}")
        choices = fields[name].metadata.get("choices")
        if choices and value not in (*choices, fields[name].default):
            raise UsageError(f"{name} must be one of {', '.join(choices)}. Received: {name}={value!r}")
    options = format.Options(**given)
    format.check(options)
    return options
