"""A picture autoencoder whose second half is the generator."""

from typing import Any

import keras
from keras import layers, losses, ops

from keras_a2i.layers import LabelPrototypes
from keras_a2i.losses import BatchScaledMSE
from keras_a2i.models.image_encoder import image_encoder

NO_LABEL = -1
"""The label of pictures that have none."""
_LABEL_WEIGHT = 3.0


class ImageAutoencoder(keras.Model):
    """Pictures to latent vectors and back, trained with plain `compile(optimizer)` and `fit`.

    In training pictures are moved, turned and scaled a little, and drawn again as they are then. Where there are
    labels, they are learnt from the latent vector.

    Args:
        generator: latent vectors (batch, n) to pictures; its weights are trained on.
        n_labels: number of labels, 0 for none.
        batch_size: the factor of the loss.
        seed: of the changes of the pictures.

    Call with pictures (batch, size, size, channels) in [-1, 1]; returns them as they are drawn again. Fit it on
    (pictures, labels), int32, `NO_LABEL` where a picture has none.
    """

    def __init__(self, generator: keras.Model, n_labels: int = 0, batch_size: int = 64, seed: int = 0):
        super().__init__(name="image_autoencoder")
        _, size, _, channels = generator.output_shape
        n_latent = generator.input_shape[-1] if isinstance(generator.input_shape, tuple) else None
        n_latent = n_latent or generator.inputs[0].shape[-1]
        self.generator = generator
        self.encoder = image_encoder(size, channels, n_latent)
        self.head = layers.Dense(n_labels, name="label") if n_labels else None
        if self.head is not None:
            self.head.build((None, n_latent))
        # A generator that decides between labels learns to from here on.
        self._deciding = [layer.head for layer in generator.layers if isinstance(layer, LabelPrototypes) and n_labels]
        self._moves = [
            layers.RandomTranslation(0.06, 0.06, fill_mode="nearest", seed=seed),
            layers.RandomRotation(0.02, fill_mode="nearest", seed=seed + 1),
            layers.RandomZoom(0.08, fill_mode="nearest", seed=seed + 2),
        ]
        self._compare = BatchScaledMSE(batch_size)
        self._name = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=NO_LABEL)
        self.built = True

    def freeze(self, frozen: bool = True) -> None:
        """Holds what looks at pictures still, for those who learn by it; the generator goes on learning."""
        self.encoder.trainable = not frozen
        if self.head is not None:
            self.head.trainable = not frozen

    def call(self, images: Any, training: bool = False) -> Any:
        if not training:
            return self.generator(self.encoder(images))
        for move in self._moves:
            images = move(images, training=True)
        latent = self.encoder(images, training=True)
        return images, latent, self.generator(latent, training=True)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        images, latent, drawn = y_pred
        value = self._compare(ops.stop_gradient(images), drawn)
        if self.head is not None:
            value += _LABEL_WEIGHT * self._name(y, self.head(latent))
        for head in self._deciding:
            logits = head(latent[:, : head.n_inputs])
            value += _LABEL_WEIGHT * self._name(ops.repeat(y[:, None], head.ensemble, axis=1), logits)
        return value
