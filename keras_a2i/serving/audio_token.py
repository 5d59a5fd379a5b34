"""Runs of the recipe audio-token as functions that draw: the number of steps, the guidance and the seed are theirs."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.models.model_file import ModelMetadata


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawSettings:
    """What `AudioToken.generate` accepts beside the inputs; what isn't given is left to it.

    Args:
        values: arguments by their names.
    """

    values: dict[str, Any]

    @classmethod
    def given(cls, **values: Any) -> Self:
        """Keeps those that aren't None."""
        return cls(values={name: value for name, value in values.items() if value is not None})

    def refuse(self, path: pathlib.Path) -> None:
        """Raises a UsageError if any is given, for a model that doesn't draw from noise."""
        if self.values:
            raise UsageError(
                f"{', '.join(self.values)} must be left out with a model that doesn't generate from noise. "
                f"Received: {path.name}, which isn't a run of fit_audio_token (keras-a2i fit-audio-token)"
            )


def open_audio_token(
    path: pathlib.Path, settings: DrawSettings
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray, int, int], np.ndarray], ModelMetadata]:
    """Loads a run with its Stable Diffusion 3 model.

    Returns:
        Inputs to images; (inputs, n, seed) to images (batch, n, size, size, 3); and the metadata.

    Raises:
        UsageError: if a setting is out of range.
        ModelError, MissingPackageError: as `AudioToken.from_preset`.
    """
    from keras_a2i.models.audio_token import AudioToken, check_drawing

    check_drawing(**settings.values)
    model, others = AudioToken.from_preset(path), dict(settings.values)
    others.pop("seed", None)
    return (
        lambda inputs: model.generate(inputs, **settings.values),
        lambda inputs, n, seed: model.sample(inputs, n, seed=seed, **others),
        model.metadata,
    )
