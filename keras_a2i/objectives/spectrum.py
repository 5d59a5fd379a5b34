"""Distance of the local Fourier spectra of real and generated images."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.objectives.objective import ImageObjective, TrainState, register_objective

_BLOCK = 16


@register_objective
class Spectrum(ImageObjective):
    """Mean absolute difference of the log amplitudes of the Fourier transforms of image blocks; phases don't count.

    A blurred image lacks high frequencies and is penalized wherever exactly its edges lie. Blocks of 16 x 16 pixels
    overlap by half: the spectrum of a whole image could be matched by a single speckle. The grid of blocks is shifted
    at random in every training step, or there would be one speckle per block. As a plain Keras loss, which has no
    state, the shift is a function of the real images.

    Args:
        weight: factor of the loss.
        seed: seed of the random shifts.
        **kwargs: as `Objective`.

    Reference:
        After Durall et al., "Watch your up-convolution", 2020, whose spectra are radial means; here every frequency of
        a Hann-windowed block.
    """

    id = "spectrum"
    seed_offset = 2

    def __init__(self, weight: float = 1.0, seed: int = 0, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self.seed = seed
        self._seed_generator = keras.random.SeedGenerator(seed)

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        total = ops.abs(ops.sum(ops.cast(y_true, "float32")))
        shift = ops.cast(ops.floor(ops.mod(ops.stack([total, 7.3 * total]), _BLOCK)), "int32")
        difference = ops.reshape(_difference(y_true, y_pred, shift), (2, ops.shape(y_true)[0], -1))
        return ops.mean(difference, axis=(0, 2))

    def loss(self, state: TrainState) -> Any:
        if not state.training:
            return super().loss(state)
        shift = keras.random.randint((2,), 0, _BLOCK, seed=self._seed_generator)
        return ops.mean(_difference(state.images, state.generated, shift))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.seed}


def _difference(y_true: Any, y_pred: Any, shift: Any) -> Any:
    """Absolute differences of the log amplitudes, (2 x batch x blocks, channels, 16, 16)."""
    real, generated = (_log_amplitudes(_blocks(_rolled(images, shift))) for images in (y_true, y_pred))
    return ops.abs(real - generated)


def _rolled(images: Any, shift: Any) -> Any:
    """Returns images shifted up and left by two numbers of pixels, around the edges."""
    for axis in (1, 2):
        size = images.shape[axis]
        images = ops.take(images, (ops.arange(size, dtype="int32") + shift[axis - 1]) % size, axis=axis)
    return images


def _blocks(images: Any) -> Any:
    """Returns the blocks of images and of images shifted by half a block, (2 x batch x blocks, 16, 16, channels)."""
    _, height, width, channels = images.shape
    rows, columns, half = height // _BLOCK, width // _BLOCK, ops.convert_to_tensor([_BLOCK // 2] * 2, dtype="int32")
    both = ops.concatenate([images, _rolled(images, half)], axis=0)
    both = ops.reshape(both, (-1, rows, _BLOCK, columns, _BLOCK, channels))
    return ops.reshape(ops.transpose(both, (0, 1, 3, 2, 4, 5)), (-1, _BLOCK, _BLOCK, channels))


def _log_amplitudes(blocks: Any) -> Any:
    size = blocks.shape[1]
    window = np.outer(np.hanning(size + 2)[1:-1], np.hanning(size + 2)[1:-1]).astype(np.float32)
    planes = ops.transpose(ops.cast(blocks, "float32"), (0, 3, 1, 2)) * ops.convert_to_tensor(window)
    real, imaginary = ops.fft2((planes, ops.zeros_like(planes)))
    # Amplitudes below a hundredth of a grey level are invisible, and their logarithm is unbounded.
    floor = (0.01 * size) ** 2
    return 0.5 * ops.log((ops.square(real) + ops.square(imaginary)) / floor + 1)
