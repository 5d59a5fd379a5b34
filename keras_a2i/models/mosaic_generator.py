"""A generator whose images are mosaics of stored training images, in proportion to their shares of the audio."""

import dataclasses
from typing import Any, Self

import keras

from keras_a2i.config import number, whole
from keras_a2i.layers import ExemplarMosaic
from keras_a2i.models.storing_generator import StoringGenerator


@keras.saving.register_keras_serializable("keras_a2i")
@dataclasses.dataclass(frozen=True, kw_only=True)
class MosaicGenerator(StoringGenerator):
    """Composes an image from stored training images, with areas that are proportional to their shares of the audio.

    For audio of one recording, the image shows one stored image; for a mixture of two recordings it shows two, in areas
    that are proportional to the mixture, so that the image of cross-faded audio changes gradually. The generator needs
    an encoder that returns one vector for each frame, such as `FrameEncoder`.

    Args:
        n_exemplars, components, width, blocks, label_sharpness: see `StoringGenerator`.
        query_dim: length of the encoder's vector for a frame.
        sharpness, spread, least_share, minor_exponent, softness, detail_softness, coarse_size, largest_exponent,
            field_size: see `keras_a2i.layers.ExemplarMosaic`.

    Raises:
        ConfigError: if an argument is out of range.
    """

    query_dim: int = whole(64)
    sharpness: float = number(200.0, 0, 1e6, above=True)
    spread: float = number(0.05, 0, 1e3)
    least_share: float = number(0.01, 0, 1, below=True)
    minor_exponent: float = number(0.25, 0, 1e3)
    softness: float = number(0.8, 0, 1e3, above=True)
    detail_softness: float = number(0.1, 0, 1e3, above=True)
    coarse_size: int = whole(2)
    largest_exponent: float = number(8.0, 1, 1e3)
    field_size: int = whole(3, 2)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Restores a generator; all brightness of those of earlier versions, without `coarse_size`, is coarse."""
        return super().from_config({"coarse_size": 1} | config)

    @property
    def learns_familiarity(self) -> bool:
        return True

    def make_exemplars(self, grid_size: int, components: int, style_units: int, n_labels: int) -> ExemplarMosaic:
        return ExemplarMosaic(
            self.n_exemplars,
            grid_size,
            components,
            query_dim=self.query_dim,
            sharpness=self.sharpness,
            spread=self.spread,
            least_share=self.least_share,
            minor_exponent=self.minor_exponent,
            softness=self.softness,
            detail_softness=self.detail_softness,
            coarse_size=self.coarse_size,
            largest_exponent=self.largest_exponent,
            field_size=self.field_size,
            style_units=style_units,
            name="exemplars",
        )
