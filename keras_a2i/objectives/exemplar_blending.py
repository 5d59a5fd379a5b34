"""Images decoded from the patch codes of one real image, or of two real images that share an image."""

from typing import Any

import keras
from keras import ops

from keras_a2i.models.untracked import Untracked
from keras_a2i.objectives.objective import Objective, TrainState, register_objective

_CELLS = 8
_SCALES = 3
_SOFTNESS = 4.0


@register_objective
class ExemplarBlending(Objective):
    """Mean absolute error of decoded patch codes, for crops of real images and for crops composed of two of them.

    The objective trains the decoder of a generator with exemplars, a convolutional network, on crops of a few patches,
    so that the cost doesn't depend on the image size. In a composed crop, each patch has the code of one of two images,
    as at the border between two exemplars in a generated image. The target is the two images blended frequency band by
    frequency band, so that no seam is visible. Held-out images are cropped in the middle and not composed.

    Args:
        weight: factor of the loss.
        seed: seed of the crops and of the masks.
        **kwargs: as `Objective`.

    Reference:
        Burt and Adelson, "A multiresolution spline with application to image mosaics", 1983.
    """

    id = "blending"
    compares_images = True
    seed_offset = 2

    def __init__(self, weight: float = 1.0, seed: int = 0, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self.seed = seed
        self._parts: Any = None
        self._seed_generator = keras.random.SeedGenerator(seed)

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        # Imported here: whoever imports the generator first has its layers register the objectives meanwhile.
        from keras_a2i.models.exemplar_generator import find_exemplars

        self._parts = Untracked(find_exemplars(model))
        self._require(self._parts.value is not None, "a generator with exemplars, such as ExemplarGenerator")

    def loss(self, state: TrainState) -> Any:
        _, decoder = self._parts.value
        if not state.training:
            crops = _window(state.images, decoder.patch_size)
            return multi_scale_error(crops, decoder(decoder.encode(crops)))
        crops = self._crop(state.images, decoder.patch_size)
        codes = ops.stop_gradient(decoder.encode(crops))
        cells = codes.shape[1]
        mask = self._mask(ops.shape(crops)[0], cells)
        composed = mask * codes + (1 - mask) * ops.roll(codes, 1, axis=0)
        target = blend(crops, ops.roll(crops, 1, axis=0), mask)
        decoded = decoder(ops.concatenate([codes, composed], axis=0), training=True)
        return multi_scale_error(ops.concatenate([crops, target], axis=0), decoded)

    def _crop(self, images: Any, patch_size: int) -> Any:
        """Cuts the same random window of whole patches from every image of the batch."""
        side, room = _side_and_room(images, patch_size)
        offset = patch_size * keras.random.randint((2,), 0, room + 1, seed=self._seed_generator)
        shape = (ops.shape(images)[0], side, side, images.shape[3])
        start = ops.concatenate([ops.zeros((1,), "int32"), ops.cast(offset, "int32"), ops.zeros((1,), "int32")])
        return ops.reshape(ops.slice(images, start, shape), (-1, side, side, images.shape[3]))

    def _mask(self, n: Any, cells: int) -> Any:
        """Draws masks (n, cells, cells, 1) in [0, 1] of a few smooth regions."""
        noise = keras.random.normal((n, 4, 4, 1), seed=self._seed_generator)
        return ops.sigmoid(_SOFTNESS * ops.image.resize(noise, (cells, cells), data_format="channels_last"))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.seed}


def _window(images: Any, patch_size: int) -> Any:
    """Cuts the window of whole patches in the middle of every image."""
    side, room = _side_and_room(images, patch_size)
    start = room // 2 * patch_size
    return images[:, start : start + side, start : start + side]


def _side_and_room(images: Any, patch_size: int) -> tuple[int, int]:
    """The side of a window in pixels, and by how many patches it can be moved."""
    side = min(images.shape[1], _CELLS * patch_size)
    return side, (images.shape[1] - side) // patch_size


def multi_scale_error(real: Any, generated: Any) -> Any:
    """Returns the mean absolute error, averaged over three scales that halve the side."""
    real, generated = ops.cast(real, "float32"), ops.cast(generated, "float32")
    total = 0.0
    for _ in range(_SCALES):
        total = total + ops.mean(ops.abs(real - generated))
        real, generated = _halve(real), _halve(generated)
    return total / _SCALES


def blend(one: Any, other: Any, mask: Any) -> Any:
    """Blends two batches of images, each frequency band with a mask as coarse as the band.

    Args:
        one, other: float (batch, size, size, channels).
        mask: share of `one`, (batch, cells, cells, 1) in [0, 1]; size is cells times a power of two.

    Returns:
        float (batch, size, size, channels).
    """
    size, cells = one.shape[1], mask.shape[1]
    masks = [ops.image.resize(mask, (size, size), data_format="channels_last")]
    bands: list[Any] = []
    while one.shape[1] > cells:
        lower = _halve(one), _halve(other)
        bands.append(masks[-1] * (one - _double(lower[0])) + (1 - masks[-1]) * (other - _double(lower[1])))
        one, other = lower
        masks.append(_halve(masks[-1]))
    blended = masks[-1] * one + (1 - masks[-1]) * other
    for band in reversed(bands):
        blended = _double(blended) + band
    return blended


def _halve(images: Any) -> Any:
    return ops.average_pool(images, 2, 2, data_format="channels_last")


def _double(images: Any) -> Any:
    size = 2 * images.shape[1]
    return ops.image.resize(images, (size, size), data_format="channels_last")
