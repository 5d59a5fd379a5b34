"""The base class of generators that compose images from stored training images."""

import dataclasses
from typing import ClassVar, Self

import keras

from keras_a2i.config import whole
from keras_a2i.layers import PatchDecoder
from keras_a2i.layers.stored_exemplars import StoredExemplars
from keras_a2i.models.generator import Generator
from keras_a2i.models.network_part import scale_width

_LARGE = 128
"""Sides from here on are cut into patches of 8 pixels, smaller ones into patches of 4."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoringGenerator(Generator):
    """Stores training images as patch codes, and decodes the map that a layer composes of these codes.

    `fit` stores the images before the training; in your own training loop, call `adapt_exemplars`.

    Args:
        n_exemplars: maximum number of stored images; if there are more training images, an evenly spread part of them
            is stored.
        components: numbers per patch of 4 x 4 pixels, or of 8 x 8 from 128 pixels on.
        width, blocks: convolutions of the decoder, see `keras_a2i.layers.PatchDecoder`.
        label_sharpness: must be 0, because exemplars replace the prototypes.
    """

    n_exemplars: int = whole(256)
    components: int = whole(16)
    width: int = whole(64)
    blocks: int = whole(2)

    output_activation: ClassVar[str] = "hard_tanh"
    stores_exemplars: ClassVar[bool] = True

    def connect_image(
        self, latent: keras.KerasTensor, image_size: int, channels: int, style_units: int = 0, n_labels: int = 0
    ) -> keras.KerasTensor:
        patch_size = 8 if image_size >= _LARGE else 4
        components = min(self.components, patch_size**2 * channels)
        codes = self.make_exemplars(image_size // patch_size, components, style_units, n_labels)(latent)
        decoder = PatchDecoder(
            patch_size, components, channels=channels, width=self.width, blocks=self.blocks, name="decoder"
        )
        return decoder(codes)

    def make_exemplars(self, grid_size: int, components: int, style_units: int, n_labels: int) -> StoredExemplars:
        """Builds the layer that composes exemplars; its name is "exemplars".

        Args:
            grid_size: patches per side.
            components: numbers per patch.
            style_units: length of the style at the end of the latent vector.
            n_labels: number of labels, 0 without.
        """
        raise NotImplementedError

    def for_pairs(self, n_pairs: int) -> Self:
        return dataclasses.replace(self, n_exemplars=min(self.n_exemplars, n_pairs))

    def _scaled(self, size: str) -> Self:
        return dataclasses.replace(self, width=scale_width(self.width, size))
