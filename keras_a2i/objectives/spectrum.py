"""Distance of the local Fourier spectra of real and generated images."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.metrics.image_batch import as_image_batches
from keras_a2i.objectives.compiled_loss import can_compile, compiled_loss
from keras_a2i.objectives.objective import ImageObjective, TrainState, register_objective

_BLOCK = 16


@register_objective
class Spectrum(ImageObjective):
    """Mean absolute difference of the log amplitudes of the Fourier transforms of image blocks; phases are ignored.

    A blurred image lacks high frequencies and is penalized, whatever the exact position of its edges. The blocks of 16
    x 16 pixels overlap by half. Blocks are used because a single speckle could match the spectrum of a whole image, and
    the grid of blocks is shifted at random in every training step because otherwise one speckle per block would be
    enough. In a plain Keras loss, which has no state, the shift is a function of the real images.

    Args:
        weight: factor of the loss.
        seed: seed of the random shifts.
        **kwargs: as `Objective`.

    Reference:
        Durall et al., "Watch your up-convolution", 2020, with radial means of spectra; here, every frequency of a
        Hann-windowed block is compared.
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
        shifted = (_shifted_twice(images, shift) for images in (y_true, y_pred))
        difference = ops.reshape(_differences(*shifted), (2, ops.shape(y_true)[0], -1))
        return ops.mean(difference, axis=(0, 2))

    def loss(self, state: TrainState) -> Any:
        if not state.training:
            return super().loss(state)
        shift = keras.random.randint((2,), 0, _BLOCK, seed=self._seed_generator)
        # Not within the compiled loss: XLA would compile it again for every shift.
        shifted = (_shifted_twice(images, shift) for images in as_image_batches(state.images, state.generated))
        if can_compile(state.generated):
            return compiled_loss(_mean_difference, *shifted)
        return _mean_difference(*shifted)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.seed}


def _mean_difference(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(_differences(y_true, y_pred))


def _differences(y_true: Any, y_pred: Any) -> Any:
    """Absolute differences of the log amplitudes, (batch x blocks x channels, frequencies), of images."""
    # TensorFlow computes its Fourier transforms with complex numbers and all symmetric halves.
    log_amplitudes = _by_product if keras.backend.backend() == "tensorflow" else _by_fourier_transform
    return ops.abs(log_amplitudes(_planes(y_true)) - log_amplitudes(_planes(y_pred)))


def _shifted_twice(images: Any, shift: Any) -> Any:
    """Returns shifted images and images shifted by half a block more, (2 x batch, height, width, channels).

    A shift by a whole block leaves the blocks what they are.
    """
    return ops.concatenate([_rolled(images, shift), _rolled(images, (shift + _BLOCK // 2) % _BLOCK)], axis=0)


def _rolled(images: Any, shift: Any) -> Any:
    """Returns images shifted up and left by two numbers of pixels, less than a block, around the edges."""
    images = ops.convert_to_tensor(images)
    wrapped = ops.concatenate([images, images[:, : _BLOCK - 1]], axis=1)
    wrapped = ops.concatenate([wrapped, wrapped[:, :, : _BLOCK - 1]], axis=2)
    zero = ops.zeros((1,), dtype="int32")
    return ops.slice(wrapped, ops.concatenate([zero, ops.cast(shift, "int32"), zero]), ops.shape(images))


def _planes(images: Any) -> Any:
    """Returns the flat blocks of all channels of images, float32 (batch x blocks x channels, 16 x 16)."""
    _, height, width, channels = images.shape
    rows, columns = height // _BLOCK, width // _BLOCK
    blocks = ops.reshape(ops.cast(images, "float32"), (-1, rows, _BLOCK, columns, _BLOCK, channels))
    return ops.reshape(ops.transpose(blocks, (0, 1, 3, 5, 2, 4)), (-1, _BLOCK**2))


_WINDOW = np.outer(np.hanning(_BLOCK + 2)[1:-1], np.hanning(_BLOCK + 2)[1:-1])
_FLOOR = 0.01 * _BLOCK
"""Amplitudes below a hundredth of a grey level are invisible, and their logarithm is unbounded."""


def _by_fourier_transform(planes: Any) -> Any:
    """Returns the windowed log amplitudes of flat blocks at all 256 frequencies."""
    window = ops.convert_to_tensor((_WINDOW / _FLOOR).astype(np.float32))
    planes = ops.reshape(planes, (-1, _BLOCK, _BLOCK)) * window
    real, imaginary = ops.fft2((planes, ops.zeros_like(planes)))
    return ops.reshape(0.5 * ops.log1p(ops.square(real) + ops.square(imaginary)), (-1, _BLOCK**2))


def _by_product(planes: Any) -> Any:
    """Returns the same at one frequency of each symmetric pair, weighted so that the mean over them is the same."""
    matrix, weights = _half_transform()
    waves = ops.square(ops.matmul(planes, ops.convert_to_tensor(matrix)))
    power = ops.sum(ops.reshape(waves, (-1, 2, len(weights))), axis=1)
    return ops.convert_to_tensor(weights) * ops.log1p(power)


@functools.cache
def _half_transform() -> tuple[np.ndarray, np.ndarray]:
    """Returns the cosines and sines of 130 windowed waves, (256, 2 x 130), and the factors of their logarithms."""
    half = _BLOCK // 2
    pairs = [(k, m) for m in range(half + 1) for k in range(half + 1 if m % half == 0 else _BLOCK)]
    pixel = np.arange(_BLOCK)
    phases = np.stack([2 * np.pi / _BLOCK * np.add.outer(k * pixel, m * pixel).ravel() for k, m in pairs], axis=1)
    matrix = np.concatenate([np.cos(phases), np.sin(phases)], axis=1) * _WINDOW.reshape(-1, 1) / _FLOOR
    counts = np.array([1 if k % half == 0 and m % half == 0 else 2 for k, m in pairs])
    return matrix.astype(np.float32), (0.5 * counts * len(pairs) / _BLOCK**2).astype(np.float32)
