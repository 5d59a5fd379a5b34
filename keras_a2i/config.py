"""Configurations as frozen dataclasses that validate their fields: the audio features and the image of a pair, and the
base class of all other settings.

Configurations are written as JSON beside the records, compared when records are read, and stored in trained models.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

from keras_a2i.errors import ConfigError

MIN_IMAGE_SIZE = 16
MAX_IMAGE_SIZE = 512
MAX_EMBEDDING = 16_384
_LARGEST_RAW = 64
_MAX_NAME = 80


class Settings:
    """Base of frozen dataclasses whose fields define the rule for their values.

    A field made by `number`, `whole`, `wholes`, `flag` or `choice` is checked when an object is created; an unknown key
    in `from_dict` raises an error.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            if "rule" not in field.metadata:
                continue
            value = getattr(self, field.name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, field.name, value)
            check_field(field, field.name, value)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dictionary of values that JSON can hold."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds the object from the output of `to_dict`.

        Raises:
            ConfigError: if a key isn't a field of this class or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"{cls.__name__} has the fields {known}. Received unknown fields: {unknown}")
        return cls(**values)


def check_field(field: dataclasses.Field, name: str, value: Any) -> None:
    """Raises a ConfigError if a value breaks the rule of a field that carries one."""
    if "rule" in field.metadata and not field.metadata["check"](value):
        raise ConfigError(f"{name} must {field.metadata['rule']}. Received: {name}={value!r}")


def number(default: float, low: float, high: float, *, above: bool = False, below: bool = False) -> Any:
    """A field for a number from `low` to `high`, without `low` itself (`above`) or without `high` itself (`below`)."""
    bounds = f"{'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"

    def check(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (low < value if above else low <= value) and (value < high if below else value <= high)

    return _field(default, f"be a number in {bounds}", check)


def whole(default: int, low: int = 1) -> Any:
    """A field for a whole number from `low`."""
    return _field(default, f"be a whole number from {low}", lambda value: _is_whole(value, low))


def wholes(default: tuple[int, ...], length: int | None = None) -> Any:
    """A field for several whole numbers from 1, exactly `length` of them if given."""
    rule = "be whole numbers from 1" if length is None else f"be {length} whole numbers from 1"
    return _field(
        default,
        rule,
        lambda values: (
            isinstance(values, tuple)
            and (len(values) > 0 if length is None else len(values) == length)
            and all(_is_whole(value, 1) for value in values)
        ),
    )


def flag(default: bool) -> Any:
    """A field that is true or false."""
    return _field(default, "be true or false", lambda value: isinstance(value, bool))


def choice(default: Any, options: Sequence[Any]) -> Any:
    """A field that is one of `options`."""
    return _field(default, f"be one of {list(options)}", lambda value: value in options)


def _field(default: Any, rule: str, check: Callable[[Any], bool]) -> Any:
    return dataclasses.field(default=default, metadata={"rule": rule, "check": check})


def _is_whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _require(condition: bool, rule: str, **received: Any) -> None:
    if not condition:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise ConfigError(f"{rule}. Received: {values}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureConfig(Settings):
    """How the feature vector of a pair is computed from its audio, or that it is a precomputed embedding.

    An analysis frame starts at every `hop`; the last frames reach past the end of the clip and are padded with silence.
    The defaults yield the layout of the paper's data set: 8 frames x 13 MFCC = 104 features, frame by frame, with the
    log energy as the first coefficient of a frame. The values agree with python_speech_features on 16-bit samples.

    If `embedding` is set, features are precomputed vectors of that length, and all audio settings except `duration` are
    ignored.

    Args:
        sample_rate: Hz, 4,000 to 96,000. Audio of any other rate is resampled to it.
        duration: seconds of audio per image, 0.05 to 60.
        frame: seconds per analysis frame, at most `duration`.
        hop: seconds from the start of one frame to the next, at most `frame`.
        n_mfcc: coefficients per frame, 1 to `n_mels`.
        n_mels: mel filters between 0 Hz and half the sample rate, 2 to 256.
        lifter: length of the cepstral lifter; 0 disables liftering.
        preemphasis: coefficient of the first-order high-pass filter, 0 (off) up to below 1.
        embedding: length of a precomputed vector, 1 to 16,384; 0 for MFCC of audio.
        embedding_name: the model that computed the embeddings, such as "CLAP", up to 80 characters; "" if unknown.

    Raises:
        ConfigError: if a value is out of its range.

    Example:
        >>> features = FeatureConfig(duration=0.5)
        >>> features.n_samples, features.n_features
        (8000, 52)
    """

    sample_rate: int = 16_000
    duration: float = 1.0
    frame: float = 0.25
    hop: float = 0.125
    n_mfcc: int = 13
    n_mels: int = 26
    lifter: int = 22
    preemphasis: float = 0.97
    embedding: int = 0
    embedding_name: str = ""

    def __post_init__(self) -> None:
        _require(
            isinstance(self.sample_rate, int) and 4_000 <= self.sample_rate <= 96_000,
            "sample_rate must be a whole number of Hz from 4000 to 96000",
            sample_rate=self.sample_rate,
        )
        _require(0.05 <= self.duration <= 60, "duration must lie between 0.05 and 60 seconds", duration=self.duration)
        _require(
            bool(self.embedding) or 2 / self.sample_rate <= self.hop <= self.frame <= self.duration,
            "hop must be positive and at most frame, and frame at most duration",
            hop=self.hop,
            frame=self.frame,
            duration=self.duration,
        )
        _require(2 <= self.n_mels <= 256, "n_mels must lie between 2 and 256", n_mels=self.n_mels)
        _require(
            1 <= self.n_mfcc <= self.n_mels,
            f"n_mfcc must lie between 1 and n_mels, which is {self.n_mels}",
            n_mfcc=self.n_mfcc,
        )
        _require(self.lifter >= 0, "lifter must be 0 or more", lifter=self.lifter)
        _require(0 <= self.preemphasis < 1, "preemphasis must lie in [0, 1)", preemphasis=self.preemphasis)
        _require(
            type(self.embedding) is int and 0 <= self.embedding <= MAX_EMBEDDING,
            f"embedding must be a whole number from 1 to {MAX_EMBEDDING}, or 0 for MFCC of audio",
            embedding=self.embedding,
        )
        _require(
            isinstance(self.embedding_name, str)
            and len(self.embedding_name) <= _MAX_NAME
            and (self.embedding_name == "" or (self.embedding > 0 and self.embedding_name.isprintable())),
            f"embedding_name must be printable text of at most {_MAX_NAME} characters and requires an embedding",
            embedding_name=self.embedding_name,
            embedding=self.embedding,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dictionary that JSON can hold; the embedding fields only if an embedding is set."""
        values = super().to_dict()
        # Without them, the fingerprints of records of audio do not depend on settings that they do not use.
        return values if self.embedding else {k: v for k, v in values.items() if not k.startswith("embedding")}

    @property
    def description(self) -> str:
        """A short description of the feature vectors."""
        if not self.embedding:
            return f"{self.n_features} MFCC of audio"
        name = f" ({self.embedding_name})" if self.embedding_name else ""
        return f"embeddings of {self.embedding} numbers{name}"

    def is_like(self, other: "FeatureConfig") -> bool:
        """Whether both are equal, or embeddings of one length; an embedding without a name matches any name."""
        if not self.embedding:
            return self == other
        names = {self.embedding_name, other.embedding_name} - {""}
        return self.embedding == other.embedding and len(names) <= 1

    @property
    def n_samples(self) -> int:
        """Samples per clip."""
        return round(self.duration * self.sample_rate)

    @property
    def frame_length(self) -> int:
        """Samples per analysis frame."""
        return round(self.frame * self.sample_rate)

    @property
    def hop_length(self) -> int:
        """Samples from the start of one frame to the next."""
        return round(self.hop * self.sample_rate)

    @property
    def n_frames(self) -> int:
        """Frames per clip: one starts at every hop."""
        return math.ceil(self.n_samples / self.hop_length)

    @property
    def n_fft(self) -> int:
        """FFT length: the power of two at or above the frame length."""
        return 1 << (self.frame_length - 1).bit_length()

    @property
    def n_features(self) -> int:
        """Length of the feature vector."""
        return self.embedding or self.n_frames * self.n_mfcc


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig(Settings):
    """The image of a pair: square, cropped to its centre, 8 bits per channel.

    Args:
        size: pixels per side, a power of two from 16 to 512.
        channels: 3 for RGB, 1 for grey.
        jpeg_quality: None stores images without loss; 1 to 100 stores JPEG of that quality. JPEG files that already
            have the size and channels are then copied, whatever their quality, because encoding them again would lose
            more.
        raw: whether uncompressed pixels are stored: without loss, larger than PNG, and faster to read. None does this
            for images of up to 64 pixels without a `jpeg_quality`: at this size, PNG saves a third of the bytes of
            photographs, and takes 2.5 times as long to stream. After construction, `raw` is True or False: to change
            the size with `dataclasses.replace`, also pass raw=None.

    Raises:
        ConfigError: if a value is out of its range, or `raw` and `jpeg_quality` are both set.

    Example:
        >>> image = ImageConfig(size=128, channels=1)
        >>> image.shape, image.encoding
        ((128, 128, 1), 'PNG')
    """

    size: int = 256
    channels: int = 3
    jpeg_quality: int | None = None
    raw: bool | None = None

    def __post_init__(self) -> None:
        check_image_size(self.size)
        _require(self.channels in (1, 3), "channels must be 1 (grey) or 3 (RGB)", channels=self.channels)
        _require(
            self.jpeg_quality is None or 1 <= self.jpeg_quality <= 100,
            "jpeg_quality must be None (lossless) or lie between 1 and 100",
            jpeg_quality=self.jpeg_quality,
        )
        _require(
            not (self.raw and self.jpeg_quality),
            "only one of raw and jpeg_quality may be set",
            raw=self.raw,
            jpeg_quality=self.jpeg_quality,
        )
        if self.raw is None:
            object.__setattr__(self, "raw", self.size <= _LARGEST_RAW and self.jpeg_quality is None)

    @property
    def encoding(self) -> str:
        """How images are stored, in words."""
        if self.raw:
            return "raw pixels"
        return f"JPEG (quality {self.jpeg_quality}, or that of fitting files)" if self.jpeg_quality else "PNG"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a decoded image."""
        return self.size, self.size, self.channels


def check_image_size(size: int) -> None:
    """Raises a ConfigError unless `size` is a power of two from 16 to 512."""
    _require(
        isinstance(size, int) and MIN_IMAGE_SIZE <= size <= MAX_IMAGE_SIZE and size & (size - 1) == 0,
        f"image_size must be a power of two from {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE}",
        size=size,
    )
