"""The base class of generators."""

import dataclasses
import math
from typing import Any, ClassVar, Self

import keras
from keras import layers

from keras_a2i.config import check_image_size, number
from keras_a2i.errors import UsageError
from keras_a2i.layers import BatchNormalization, LabelPrototypes
from keras_a2i.models.initializers import SLOPE
from keras_a2i.models.network_part import NetworkPart


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generator(NetworkPart):
    """Maps a latent vector (batch, latent_dim) to an image (batch, size, size, channels) in [-1, 1].

    Args:
        label_sharpness: above 0, the generator classifies the latent vector and generates from a learned prototype of
            every label, mixed by the label probabilities raised to this power; 0 generates from the latent vector.
    """

    label_sharpness: float = number(0.0, 0, 1e6)

    output_activation: ClassVar[str] = "tanh"
    stores_exemplars: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False

    @property
    def learns_familiarity(self) -> bool:
        """Whether the objective `familiarity` has something to train."""
        return False

    def connect(
        self,
        latent: keras.KerasTensor,
        image_size: int,
        channels: int,
        *,
        n_labels: int = 0,
        ensemble: int = 1,
        style_units: int = 0,
        reference: keras.KerasTensor | None = None,
    ) -> tuple[keras.KerasTensor, LabelPrototypes | None]:
        """Builds the layers and connects them to a latent vector.

        Args:
            latent: (batch, latent_dim).
            image_size: pixels per side, a power of two from 16 to 512.
            channels: 3 for RGB, 1 for grey.
            n_labels: number of labels, for a `label_sharpness` above 0.
            ensemble: number of encoders whose vectors are concatenated in `latent`.
            style_units: length of the style at the end of `latent`.
            reference: image (batch, size, size, channels) in [-1, 1], for a generator with `needs_reference`.

        Returns:
            The image, float32 in [-1, 1], and the layer that classifies, or None.

        Raises:
            UsageError: if the image size is out of range, or there are fewer than two labels.
        """
        check_image_size(image_size)
        prototypes = None
        if self.label_sharpness:
            if n_labels < 2:
                raise UsageError(
                    "n_labels must be 2 or more for a generator that chooses between labels (label_sharpness above 0). "
                    f"Received: n_labels={n_labels!r}. Pass the number of labels, or label_sharpness=0"
                )
            prototypes = LabelPrototypes(
                n_labels,
                sharpness=self.label_sharpness,
                ensemble=ensemble,
                style_units=style_units,
                name="label_prototypes",
            )
            latent = prototypes(latent)
        more: dict[str, Any] = {} if reference is None else {"reference": reference}
        if self.stores_exemplars:
            more["n_labels"] = n_labels
        image = self.connect_image(latent, image_size, channels, style_units, **more)
        return layers.Activation(self.output_activation, dtype="float32", name="image")(image), prototypes

    def connect_image(
        self, latent: keras.KerasTensor, image_size: int, channels: int, style_units: int
    ) -> keras.KerasTensor:
        """Builds the layers from a vector to the image before `output_activation`; see `connect`.

        A generator with `needs_reference` accepts the argument `reference`, too, one with `stores_exemplars` the
        argument `n_labels`.
        """
        raise NotImplementedError

    def for_pairs(self, n_pairs: int) -> Self:
        """Returns the generator for a number of training pairs; most don't depend on it."""
        return self


def n_doublings(image_size: int, base_size: int, final_scale: int) -> int:
    """How often the side doubles from `base_size` before the last layer enlarges by `final_scale`."""
    return int(math.log2(image_size // (base_size * final_scale)))


def stage_width(channels: tuple[int, ...], stage: int) -> int:
    """Channels of a stage; the last entry repeats for larger images."""
    return channels[min(stage, len(channels) - 1)]


def norm_act(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Batch normalisation and a leaky ReLU, in PyTorch's conventions."""
    # PyTorch updates its running variance with the unbiased batch variance, Keras with the biased: n / (n - 1) apart.
    x = BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return layers.LeakyReLU(SLOPE, name=f"{name}_act")(x)
