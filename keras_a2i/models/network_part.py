"""The common base of encoders and generators: named settings, three sizes, a configuration that Keras can store."""

import dataclasses
from typing import Any, Self

from keras_a2i.config import Settings
from keras_a2i.errors import UsageError

SIZES = {"tiny": 0.375, "base": 1.0, "large": 2.0}
"""Factor of the widths. Up to 256 pixels: at most 0.5 and 3 million parameters; large is at least 2.5 times base."""
_MULTIPLE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkPart(Settings):
    """Base of encoders and generators: frozen dataclasses whose fields are the arguments of the constructor.

    A custom encoder or generator is a subclass with a `connect` method, decorated with
    `keras.saving.register_keras_serializable`, or simply a `keras.Model`.
    """

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, as values that JSON can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.to_dict().items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds the object from `get_config`'s output."""
        return cls.from_dict(config)

    def scaled(self, size: str) -> Self:
        """Returns the same structure with fewer or more channels per layer.

        Args:
            size: "tiny", "base" or "large"; this object has the size "base".

        Raises:
            UsageError: if there is no such size, or the structure comes in one size only.
        """
        check_size(size)
        return self if size == "base" else self._scaled(size)

    def resized(self, base: Self, size: str) -> Self:
        """Returns this object, of whatever size, with those fields that a size decides as in `base.scaled(size)`.

        Args:
            base: the object in the size "base".
            size: as for `scaled`.

        Raises:
            UsageError: as `scaled`.
        """
        wanted = base.scaled(size)
        try:
            others = [base.scaled(each) for each in SIZES]
        except UsageError:
            # The structure comes in one size.
            return self
        names = [field.name for field in dataclasses.fields(base)]
        decided = [name for name in names if any(getattr(other, name) != getattr(base, name) for other in others)]
        return dataclasses.replace(self, **{name: getattr(wanted, name) for name in decided})

    def _scaled(self, size: str) -> Self:
        raise UsageError(f"{type(self).__name__} comes in one size. Received: size={size!r}")


def check_size(size: Any) -> None:
    """Raises a UsageError unless networks come in a size."""
    if size not in SIZES:
        raise UsageError(f"size must be one of {list(SIZES)}. Received: size={size!r}")


def scale_width(width: int, size: str) -> int:
    """The number of channels `width` in another size, a multiple of four."""
    return max(_MULTIPLE, round(width * SIZES[size] / _MULTIPLE) * _MULTIPLE)
