"""What the names of the embedded, rendered data sets share."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import UsageError
from keras_a2i.sources.pair import Source
from keras_a2i.sources.registry import SourceOptions, SourceType, Spec


class RenderedType(SourceType):
    """The names of an embedded data set: NAME and NAME:N.

    Attributes:
        names: the one name.
        default_pairs: N where it isn't given.
        make_source: creates the source from N, `features`, `image` and the options.
    """

    default_pairs: ClassVar[int]
    make_source: ClassVar[Callable[..., Source]]

    def recognises(self, spec: Spec) -> bool:
        """Returns whether the spec is the name, with or without a number."""
        (name,) = self.names
        exists = spec.is_file or spec.is_folder
        return not exists and (spec.text == name or spec.text.startswith(f"{name}:"))

    def open(
        self, specs: Sequence[Spec], options: SourceOptions, *, features: FeatureConfig, image: ImageConfig
    ) -> Source:
        """Creates the source.

        Raises:
            UsageError: if N isn't a number.
        """
        (name,), text = self.names, specs[0].text
        number = text.removeprefix(name).removeprefix(":") if text != name else str(self.default_pairs)
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise UsageError(f"N of {name}:N must be a whole number of pairs. Received: {text!r}")
        return type(self).make_source(int(number), features=features, image=image, **dataclasses.asdict(options))
