"""What a pair is made of: the sound features and the picture, as frozen, self-checking dataclasses.

Both are written as JSON beside the records, compared when records are read and kept inside trained models.
"""

import dataclasses
import math
from typing import Any, Self

from keras_a2i.errors import ConfigError

MIN_IMAGE_SIZE = 16
MAX_IMAGE_SIZE = 512
MAX_EMBEDDING = 16_384
_MAX_NAME = 80


class _JSONConfig:
    """Reading and writing as plain dictionaries; an unknown key stops the reading."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds the configuration from `to_dict`'s output.

        Raises:
            ConfigError: if a key isn't a field of this configuration or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"{cls.__name__} has the fields {known}. Received unknown fields: {unknown}")
        return cls(**values)


def _require(condition: bool, rule: str, **received: Any) -> None:
    if not condition:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise ConfigError(f"{rule}. Received: {values}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureConfig(_JSONConfig):
    """How the sound of one pair becomes a feature vector, or that the vector was made elsewhere.

    A window of sound starts at every `hop`; the last windows reach past the end of the sound and are filled
    with silence. The defaults give the layout of the paper's data set: 8 windows x 13 MFCC = 104 features,
    window-major, the first coefficient of a window being its log energy. They agree with python_speech_features
    on 16-bit samples.

    With `embedding` the vectors came ready-made from another model: no sound belongs to them, and of the other values
    only `duration` counts.

    Args:
        sample_rate: Hz, 4,000 to 96,000. Sound of any other rate is resampled to it.
        duration: seconds of sound a picture belongs to, 0.05 to 60.
        frame: seconds of one analysis frame, at most `duration`.
        hop: seconds from one window to the next, at most `window`.
        n_mfcc: coefficients a window, 1 to `n_mels`.
        n_mels: mel filters between 0 Hz and half the sample rate, 2 to 256.
        lifter: cepstral lifter length; 0 turns liftering off.
        preemphasis: coefficient of the first-order high pass, 0 (off) up to below 1.
        embedding: numbers of a ready-made vector, 1 to 16,384; 0 for MFCC of sound.
        embedding_name: what made those vectors, such as "CLAP", up to 80 characters; "" if unknown.

    Raises:
        ConfigError: if a value is out of its range.
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
            2 / self.sample_rate <= self.hop <= self.frame <= self.duration,
            "hop must be positive, at most frame, and frame at most duration",
            hop=self.hop,
            frame=self.frame,
            duration=self.duration,
        )
        _require(2 <= self.n_mels <= 256, "n_mels must lie between 2 and 256", n_mels=self.n_mels)
        _require(1 <= self.n_mfcc <= self.n_mels, "n_mfcc must lie between 1 and n_mels", n_mfcc=self.n_mfcc)
        _require(self.lifter >= 0, "lifter must be 0 or more", lifter=self.lifter)
        _require(0 <= self.preemphasis < 1, "preemphasis must lie in [0, 1)", preemphasis=self.preemphasis)
        _require(
            type(self.embedding) is int and 0 <= self.embedding <= MAX_EMBEDDING,
            f"embedding must be a whole number from 1 to {MAX_EMBEDDING}, or 0 for MFCC of sound",
            embedding=self.embedding,
        )
        _require(
            isinstance(self.embedding_name, str)
            and len(self.embedding_name) <= _MAX_NAME
            and (self.embedding_name == "" or (self.embedding > 0 and self.embedding_name.isprintable())),
            f"embedding_name must be printable text of at most {_MAX_NAME} characters, and go with an embedding",
            embedding_name=self.embedding_name,
            embedding=self.embedding,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dictionary that JSON can hold; those of embeddings only where they are used."""
        values = super().to_dict()
        # What is made of sound keeps the form, and so the fingerprints, that it had before there were embeddings.
        return values if self.embedding else {k: v for k, v in values.items() if not k.startswith("embedding")}

    @property
    def description(self) -> str:
        """What the feature vectors are, in words."""
        if not self.embedding:
            return f"{self.n_features} MFCC of sound"
        name = f" ({self.embedding_name})" if self.embedding_name else ""
        return f"embeddings of {self.embedding} numbers{name}"

    def is_like(self, other: "FeatureConfig") -> bool:
        """Whether both are the same, or embeddings of one length; one without a name is like those of any name."""
        if not self.embedding:
            return self == other
        names = {self.embedding_name, other.embedding_name} - {""}
        return self.embedding == other.embedding and len(names) <= 1

    @property
    def n_samples(self) -> int:
        """Samples of sound a pair holds."""
        return round(self.duration * self.sample_rate)

    @property
    def frame_length(self) -> int:
        """Samples of one analysis window."""
        return round(self.frame * self.sample_rate)

    @property
    def hop_length(self) -> int:
        """Samples from the start of one window to the next."""
        return round(self.hop * self.sample_rate)

    @property
    def n_frames(self) -> int:
        """Windows a pair has: one starts at every hop."""
        return math.ceil(self.n_samples / self.hop_length)

    @property
    def n_fft(self) -> int:
        """FFT length: the power of two at or above the window length."""
        return 1 << (self.frame_length - 1).bit_length()

    @property
    def n_features(self) -> int:
        """Length of the feature vector."""
        return self.embedding or self.n_frames * self.n_mfcc


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig(_JSONConfig):
    """The picture of a pair: square, cropped to its centre, 8 bits a channel.

    Args:
        size: pixels a side, a power of two from 16 to 512.
        channels: 3 for RGB, 1 for grey.
        jpeg_quality: None keeps pictures lossless (PNG); 1 to 100 stores JPEG of that quality.

    Raises:
        ConfigError: if a value is out of its range.
    """

    size: int = 256
    channels: int = 3
    jpeg_quality: int | None = None

    def __post_init__(self) -> None:
        check_image_size(self.size)
        _require(self.channels in (1, 3), "channels must be 1 (grey) or 3 (RGB)", channels=self.channels)
        _require(
            self.jpeg_quality is None or 1 <= self.jpeg_quality <= 100,
            "jpeg_quality must be None (lossless) or lie between 1 and 100",
            jpeg_quality=self.jpeg_quality,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a decoded picture."""
        return self.size, self.size, self.channels


def check_image_size(size: int) -> None:
    """Raises a ConfigError unless `size` is a power of two from 16 to 512."""
    _require(
        isinstance(size, int) and MIN_IMAGE_SIZE <= size <= MAX_IMAGE_SIZE and size & (size - 1) == 0,
        f"The image size must be a power of two from {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE}",
        size=size,
    )
