"""An image autoencoder whose decoder is the generator."""

from typing import Any, Self

import keras
from keras import layers, losses, ops

from keras_a2i.layers import LabelPrototypes
from keras_a2i.losses import BatchScaledMSE
from keras_a2i.models.image_encoder import image_encoder

NO_LABEL = -1
"""Label of an image that has none."""
_LABEL_WEIGHT = 3.0


@keras.saving.register_keras_serializable("keras_a2i")
class ImageAutoencoder(keras.Model):
    """A model from images to latent vectors and back, trained by plain `compile(optimizer)` and `fit`.

    In training, images are slightly shifted, rotated and scaled, and these augmented images are reconstructed. If there
    are labels, they are predicted from the latent vector.

    Args:
        generator: model from latent vectors (batch, n) to images, whose weights are trained.
        n_labels: number of labels, 0 for none.
        batch_size: the factor of the paper's loss: images per step.
        seed: seed of the augmentation.
        name: name of the model.

    Call with images (batch, size, size, channels) in [-1, 1]; returns their reconstruction. Fit it on
    (images, labels), int32, `NO_LABEL` for an image without a label.

    Example:
        >>> generator = keras.Sequential([keras.Input((8,)), layers.Dense(256), layers.Reshape((16, 16, 1))])
        >>> import numpy as np
        >>> tuple(ImageAutoencoder(generator)(np.zeros((2, 16, 16, 1))).shape)
        (2, 16, 16, 1)
    """

    def __init__(
        self,
        generator: keras.Model,
        n_labels: int = 0,
        batch_size: int = 64,
        seed: int = 0,
        name: str = "image_autoencoder",
    ):
        super().__init__(name=name)
        _, size, _, channels = generator.output_shape
        latent_dim = generator.inputs[0].shape[-1]
        self.n_labels, self.batch_size, self.seed = n_labels, batch_size, seed
        self.generator = generator
        self.encoder = image_encoder(size, channels, latent_dim)
        self.head = layers.Dense(n_labels, name="label") if n_labels else None
        if self.head is not None:
            self.head.build((None, latent_dim))
        # A generator that classifies first learns it from here on.
        self._prototype_heads = [
            layer.head for layer in generator.layers if isinstance(layer, LabelPrototypes) and n_labels
        ]
        options = {"fill_mode": "nearest", "data_format": "channels_last"}
        self._augmentation = [
            layers.RandomTranslation(0.06, 0.06, seed=seed, **options),
            layers.RandomRotation(0.02, seed=seed + 1, **options),
            layers.RandomZoom(0.08, seed=seed + 2, **options),
        ]
        self._image_loss = BatchScaledMSE(batch_size)
        self._label_loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=NO_LABEL)
        self.built = True

    def freeze(self, frozen: bool = True) -> None:
        """Freezes or unfreezes the image encoder and the label head. The generator stays trainable."""
        self.encoder.trainable = not frozen
        if self.head is not None:
            self.head.trainable = not frozen

    def call(self, images: Any, training: bool = False) -> Any:
        """Returns reconstructed images, or in training a dictionary of what `compute_loss` needs."""
        if not training:
            return self.generator(self.encoder(images, training=False), training=False)
        for layer in self._augmentation:
            images = layer(images, training=True)
        latent = self.encoder(images, training=True)
        return {"images": images, "latent": latent, "generated": self.generator(latent, training=True)}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        if not training:
            y_pred = {"images": x, "latent": self.encoder(x, training=False), "generated": y_pred}
        latent = y_pred["latent"]
        value = self._image_loss(ops.stop_gradient(y_pred["images"]), y_pred["generated"])
        if self.head is not None:
            value += _LABEL_WEIGHT * self._label_loss(y, self.head(latent))
        for head in self._prototype_heads:
            logits = head(latent[:, : head.n_inputs])
            value += _LABEL_WEIGHT * self._label_loss(ops.repeat(y[:, None], head.ensemble, axis=1), logits)
        return value

    def get_config(self) -> dict[str, Any]:
        return {
            "generator": keras.saving.serialize_keras_object(self.generator),
            "n_labels": self.n_labels,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        with keras.saving.CustomObjectScope(custom_objects or {}):
            generator = keras.saving.deserialize_keras_object(config["generator"])
        return cls(**(config | {"generator": generator}))
