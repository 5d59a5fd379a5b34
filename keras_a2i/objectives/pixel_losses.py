"""Objectives that compare the generated picture with the real one: pixels, structure, spectrum."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_a2i.losses import BatchScaledMSE
from keras_a2i.metrics import ssim
from keras_a2i.objectives.objective import Objective, Step

_LEAST_SIDE = 11
_BLOCK = 16
_SCALES = 3


class MeanSquaredError(Objective):
    """The paper's loss, `BatchScaledMSE`.

    Args:
        weight: factor of the loss.
        batch_size: pairs of one step.
    """

    def __init__(self, weight: float = 1.0, batch_size: int = 64):
        super().__init__(weight, "mse")
        self._compare = BatchScaledMSE(batch_size)

    def loss(self, step: Step) -> Any:
        return self._compare(step.images, step.generated)


class MultiScaleSSIM(Objective):
    """1 - SSIM, mean of three scales, each half as large as the one before (as long as SSIM's window fits).

    Args:
        weight: factor of the loss.

    Reference:
        Wang et al., "Multiscale structural similarity for image quality assessment", 2003; here the mean of the scales.
    """

    def __init__(self, weight: float = 1.0):
        super().__init__(weight, "ssim")
        self._halve = layers.AveragePooling2D(2)

    def loss(self, step: Step) -> Any:
        real, generated, values = step.images, step.generated, []
        for _ in range(_SCALES):
            values.append(ops.mean(1 - ssim(real, generated, by_product=True)))
            if real.shape[1] // 2 < _LEAST_SIDE:
                break
            real, generated = self._halve(real), self._halve(generated)
        return sum(values) / len(values)


class Spectrum(Objective):
    """Mean absolute difference of the log amplitudes of Fourier transforms of blocks of the pictures, phases left out.

    A blurred picture lacks the high frequencies and pays for it, wherever exactly its edges lie. Blocks are 16 pixels a
    side and overlap by half: the spectrum of a whole picture can be met by one speckle in its middle. They lie
    elsewhere each time, or there would be a speckle in the middle of each.

    Args:
        weight: factor of the loss.
        seed: of where the blocks lie.

    Reference:
        After Durall et al., "Watch your up-convolution", 2020, whose spectra are radial means; here each frequency of a
        Hann-windowed block.
    """

    def __init__(self, weight: float = 1.0, seed: int = 0):
        super().__init__(weight, "spectrum")
        self._random = keras.random.SeedGenerator(seed)

    def loss(self, step: Step) -> Any:
        shift = keras.random.randint((2,), 0, _BLOCK, seed=self._random)
        real, generated = (_log_amplitudes(_blocks(_rolled(x, shift))) for x in (step.images, step.generated))
        return ops.mean(ops.abs(real - generated))


def _rolled(images: Any, shift: Any) -> Any:
    """Pictures moved up and to the left by two numbers of pixels; what goes out comes in at the other side."""
    for axis in (1, 2):
        size = images.shape[axis]
        images = ops.take(images, (ops.arange(size, dtype="int32") + shift[axis - 1]) % size, axis=axis)
    return images


def _blocks(images: Any) -> Any:
    """A picture's blocks and those half a block further each way, (batch x blocks, 16, 16, channels)."""
    _, height, width, channels = images.shape
    down, across, half = height // _BLOCK, width // _BLOCK, ops.convert_to_tensor([_BLOCK // 2] * 2)
    # Rolled pictures have as many blocks wherever they begin.
    both = ops.concatenate([images, _rolled(images, half)], axis=0)
    both = ops.reshape(both, (-1, down, _BLOCK, across, _BLOCK, channels))
    return ops.reshape(ops.transpose(both, (0, 1, 3, 2, 4, 5)), (-1, _BLOCK, _BLOCK, channels))


def _log_amplitudes(images: Any) -> Any:
    size = images.shape[1]
    window = np.outer(np.hanning(size + 2)[1:-1], np.hanning(size + 2)[1:-1]).astype(np.float32)
    planes = ops.transpose(ops.cast(images, "float32"), (0, 3, 1, 2)) * window
    real, imaginary = ops.fft2((planes, ops.zeros_like(planes)))
    # Below a hundredth of a grey step's energy there is nothing to see, and a logarithm no bound.
    least = (0.01 * size) ** 2
    return 0.5 * ops.log((ops.square(real) + ops.square(imaginary)) / least + 1)
