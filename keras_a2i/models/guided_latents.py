"""Latent vectors that are changed by gradient steps until their images are near a target in a space of images."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.layers import LabelPrototypes

THUMBNAIL = 8
"""Pixels per side at which images are compared where there is no encoder of images."""
# How grey is made of red, green and blue when an image file is read.
_GREY = (0.299, 0.587, 0.114)
# Gradients of every magnitude count: Adam's own 1e-7 would stop at the small ones of a saturated softmax.
_EPSILON = 1e-12


class GuidedLatents(keras.Model):
    """Changes latent vectors so that the images that a generator computes from them are nearer to their targets.

    The only trainable weights are offsets, one row for each vector. So Keras' own training step computes the gradients,
    on every backend, and no row depends on another.

    Three rules keep the images realistic. First, the style stays within a ball around 0, whose radius is
    sqrt(style_units), the typical norm of a draw from its normal distribution, or the initial norm of the style if that
    is larger; the distance of the rest of a vector from its start is at most `reach` times its norm. Second, the loss
    contains a penalty: half of `prior` times the mean square of the style's change in standard deviations, and of the
    rest's change in multiples of `reach`, so that a vector isn't changed for little benefit. Third, the best vectors of
    all steps are kept, including the initial ones.

    Args:
        generator: vectors (batch, n) to images; frozen, as from `frozen_copy` or `split_classifier`.
        space: images to vectors (batch, d), as from `embedding_space` or `thumbnail_space`; the distance of an image
            from its target is half the squared Euclidean distance of their vectors.
        batch: number of vectors that are changed together.
        style_units: length of the style at the end of the vectors.
        style: whether the style is changed.
        latent: whether the rest of the vectors is changed.
        step_size: learning rate of Adam, in standard deviations of the style and root mean squares of the rest.
        reach, prior: see above.

    Reference:
        Latents that are optimised in a common space of audio and images: Xing et al., "Seeing and hearing: open-domain
        visual-audio generation with diffusion latent aligners", arXiv:2402.17723. A penalty of the squared norm as a
        Gaussian's prior: Bora et al., "Compressed sensing using generative models", arXiv:1703.03208. Latents projected
        to the typical norm of a Gaussian's draws: Menon et al., "PULSE: self-supervised photo upsampling via latent
        space exploration of generative models", arXiv:2003.03808; here the inside of the ball is allowed too, as the
        usual style is 0.
    """

    def __init__(
        self,
        generator: keras.Model,
        space: keras.Model,
        batch: int,
        *,
        style_units: int,
        style: bool,
        latent: bool,
        step_size: float,
        reach: float,
        prior: float,
    ):
        super().__init__(name="guided_latents", dtype="float32")
        self.generator, self.space, self.reach, self.prior = generator, space, reach, prior
        length = generator.input_shape[-1]
        self.n_content = length - style_units
        self.latent_offset = self._add_rows(batch, self.n_content, "latent_offset", trainable=True) if latent else None
        self.style_offset = self._add_rows(batch, style_units, "style_offset", trainable=True) if style else None
        # Of the given vectors and of the best so far: these, their distances, and the loss of the best.
        self.best = self._add_rows(batch, length, "best")
        self.distances = self._add_rows(batch, 2, "distances")
        self.best_loss = self._add_rows(batch, 1, "best_loss")
        self.built = True
        self.compile(keras.optimizers.Adam(step_size, epsilon=_EPSILON))

    def _add_rows(self, batch: int, length: int, name: str, trainable: bool = False) -> keras.Variable:
        return self.add_weight(shape=(batch, length), initializer="zeros", trainable=trainable, name=name)

    def compile(self, optimizer: Any = "rmsprop", **kwargs: Any) -> None:
        """Compiles as a Keras model does; `move` begins with the state that the optimizer has here."""
        # Compiling a function for a few steps with XLA would cost more than it saves; JAX knows no other way.
        like = {"jit_compile": keras.backend.backend() == "jax", "auto_scale_loss": False}
        super().compile(optimizer=optimizer, **(like | kwargs))
        self.optimizer.build(self.trainable_variables)
        self._initial = [ops.convert_to_numpy(variable) for variable in self.optimizer.variables]

    def move(
        self, vectors: np.ndarray, targets: np.ndarray, steps: int, styles: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Changes vectors by gradient steps.

        Args:
            vectors: float32 (n, length), n up to the size of the batch.
            targets: float32 (n, d).
            steps: number of steps, from 0.
            styles: (m, style_units), additional starts: the steps of a vector start at the best of these styles and its
                own style.

        Returns:
            The best vectors (n, length), and the distances (n,) of the given vectors and of the best.
        """
        n, batch = len(vectors), self.best.shape[0]
        given, wanted = (np.concatenate([rows, np.repeat(rows[:1], batch - n, axis=0)]) for rows in (vectors, targets))
        # Where no loss is finite, nothing of an earlier call remains.
        self.best.assign(given)
        self.distances.assign(np.full((batch, 2), np.nan, np.float32))
        self.best_loss.assign(np.full((batch, 1), np.inf, np.float32))
        own = start = given[:, self.n_content :]
        if styles is not None:
            for style in (own, *styles):
                self._restart(style - own)
                self.train_on_batch(given, wanted)
            start = ops.convert_to_numpy(self.best)[:, self.n_content :]
        self._restart(start - own)
        # The step after the last one counts its result, and moves what isn't looked at any more.
        for _ in range(steps + 1):
            self.train_on_batch(given, wanted)
        best, distances = (ops.convert_to_numpy(rows)[:n] for rows in (self.best, self.distances))
        return best, distances[:, 0], distances[:, 1]

    def _restart(self, style_offset: np.ndarray) -> None:
        """Sets the offset of the style, that of the rest to 0 and the optimizer to its first state."""
        for variable, value in zip(self.optimizer.variables, self._initial, strict=True):
            variable.assign(value)
        if self.latent_offset is not None:
            self.latent_offset.assign(np.zeros(self.latent_offset.shape, np.float32))
        if self.style_offset is not None:
            self.style_offset.assign(style_offset)

    def place(self, given: Any) -> Any:
        """Returns the vectors (batch, length) to which the offsets move the given ones."""
        content, style = given[:, : self.n_content], given[:, self.n_content :]
        if self.latent_offset is not None:
            root = self.n_content**0.5
            content = content + _norm(content) / root * _into_ball(self.latent_offset, self.reach * root)
        if self.style_offset is not None:
            radius = ops.maximum(_norm(style), style.shape[-1] ** 0.5)
            style = _into_ball(style + self.style_offset, radius)
        return ops.concatenate([content, style], axis=-1)

    def call(self, given: Any, training: bool = False) -> Any:
        """Returns the vectors and their images in the space of the targets; the networks are in inference mode."""
        vectors = self.place(given)
        return {"vectors": vectors, "embedded": self.space(self.generator(vectors, training=False), training=False)}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the sum of the distances and of the penalty, and keeps the best vectors."""
        x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)
        squares = ops.square(ops.cast(y_pred["embedded"], "float32") - y)
        distance = 0.5 * ops.sum(squares, axis=-1, keepdims=True)
        loss = distance + self.prior * self._way(x, y_pred["vectors"])
        self._keep_best(*map(ops.stop_gradient, (y_pred["vectors"], distance, loss)))
        return ops.sum(loss)

    def _way(self, given: Any, vectors: Any) -> Any:
        """Returns half the mean squares (batch, 1) of the changes, see the class."""
        squares, n = ops.square(vectors - given), self.n_content
        way = ops.sum(squares[:, :n], axis=-1, keepdims=True) / ops.square(self.reach * _norm(given[:, :n]))
        if self.style_offset is not None:
            way = way + ops.mean(squares[:, n:], axis=-1, keepdims=True)
        return 0.5 * way

    def _keep_best(self, vectors: Any, distance: Any, loss: Any) -> None:
        best, distances, best_loss = map(ops.convert_to_tensor, (self.best, self.distances, self.best_loss))
        first = ops.where(ops.isinf(best_loss), distance, distances[:, :1])
        last = ops.where(loss < best_loss, distance, distances[:, 1:])
        self.distances.assign(ops.concatenate([first, last], axis=-1))
        self.best.assign(ops.where(loss < best_loss, vectors, best))
        self.best_loss.assign(ops.minimum(loss, best_loss))


def frozen_copy(model: keras.Model) -> keras.Model:
    """Returns a copy with frozen weights: freezing the model itself would change later trainings of the model."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.trainable = False
    return copy


def split_classifier(generator: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """Splits a generator that classifies first behind its classifier, through which no gradient passes.

    Returns:
        The classifier, from latent vectors to the prototype of the label with the style at its end, or None where the
        generator doesn't classify; and the rest, to images.
    """
    layer = next((layer for layer in generator.layers if isinstance(layer, LabelPrototypes)), None)
    if layer is None:
        return None, generator
    return keras.Model(generator.inputs[0], layer.output), keras.Model(layer.output, generator.outputs[0])


def classifies_within(generator: keras.Model) -> bool:
    """Whether a model within the generator classifies, so that `split_classifier` can't split it."""
    parts = [layer for layer in generator.layers if isinstance(layer, keras.Model)]
    inner = [layer for part in parts for layer in part.layers]
    return any(isinstance(layer, LabelPrototypes) for layer in inner) or any(map(classifies_within, parts))


def embedding_space(image_encoder: keras.Model, length: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Returns a frozen model from images to unit vectors, of which half the squared distance is 1 - cosine.

    Args:
        image_encoder: images (batch, size, size, channels) to vectors.
        length: number of the values of a vector that are used, from its start.
        image_shape: of the images, which are scaled to what the encoder accepts.
    """
    image = keras.Input(image_shape, name="image")
    size, channels = image_encoder.input_shape[2:]
    vector = ops.cast(frozen_copy(image_encoder)(_fit(image, size, channels))[:, :length], "float32")
    space = keras.Model(image, vector / _norm(vector), name="embedding_space")
    space.trainable = False
    return space


def thumbnail_space(image_shape: tuple[int, int, int]) -> keras.Model:
    """Returns a model from images to thumbnails, of which half the squared distance is their mean squared error."""
    image = keras.Input(image_shape, name="image")
    channels = image_shape[-1]
    n = THUMBNAIL**2 * channels
    flat = ops.reshape(_fit(image, THUMBNAIL, channels), (-1, n))
    return keras.Model(image, (2 / n) ** 0.5 * flat, name="thumbnail_space")


def _fit(image: Any, size: int, channels: int) -> Any:
    """Scales images to another power of two of pixels per side, and to grey or RGB."""
    side, own = image.shape[2:]
    if own < channels:
        image = ops.repeat(image, channels, axis=-1)
    elif own > channels:
        image = ops.sum(image * np.array(_GREY, np.float32), axis=-1, keepdims=True)
    if side > size:
        return ops.average_pool(image, side // size, side // size, data_format="channels_last")
    return image if side == size else ops.image.resize(image, (size, size), data_format="channels_last")


def _norm(x: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)


def _into_ball(x: Any, radius: Any) -> Any:
    """Scales rows that are longer than a radius to it."""
    return x * ops.minimum(1.0, radius / _norm(x))
