"""Objectives that compare the generated picture with the real one: pixels, structure, spectrum."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_a2i.losses import BatchScaledMSE
from keras_a2i.metrics import ssim
from keras_a2i.objectives.objective import Objective, Step

_LEAST_SIDE = 11
_SCALES = 3


class Pixels(Objective):
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


class Structure(Objective):
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
    """Mean absolute difference of the log amplitudes of the pictures' Fourier transforms, phases left out.

    A blurred picture lacks the high frequencies and pays for it, wherever exactly its edges lie. The spectrum of the
    whole picture can be met by one speckle in its middle; those of blocks, which overlap by half, ask for detail where
    the real picture has it. Blocks lie elsewhere each time, or there would be a speckle in the middle of each.

    Args:
        weight: factor of the loss.
        block: pixels a side of the blocks, an even number; larger pictures than blocks only. 0 is the whole picture.
        seed: of where the blocks lie.

    Reference:
        After Durall et al., "Watch your up-convolution", 2020, whose spectra are radial means; here each frequency of a
        Hann-windowed picture or block.
    """

    def __init__(self, weight: float = 1.0, block: int = 0, seed: int = 0):
        super().__init__(weight, "spectrum")
        self._block = block
        self._random = keras.random.SeedGenerator(seed)

    def loss(self, step: Step) -> Any:
        real, generated = step.images, step.generated
        if 0 < self._block < real.shape[1]:
            shift = keras.random.randint((2,), 0, self._block, seed=self._random)
            real, generated = (_blocks(_rolled(images, shift), self._block) for images in (real, generated))
        return ops.mean(ops.abs(_log_amplitudes(real) - _log_amplitudes(generated)))


def _rolled(images: Any, shift: Any) -> Any:
    """Pictures moved up and to the left by two numbers of pixels; what goes out comes in at the other side."""
    for axis in (1, 2):
        size = images.shape[axis]
        images = ops.take(images, (ops.arange(size, dtype="int32") + shift[axis - 1]) % size, axis=axis)
    return images


def _blocks(images: Any, block: int) -> Any:
    """Blocks that overlap by half, (batch x blocks, block, block, channels)."""
    _, height, width, channels = images.shape
    found = []
    for top in (0, block // 2):
        for left in (0, block // 2):
            down, across = (height - top) // block, (width - left) // block
            part = images[:, top : top + down * block, left : left + across * block]
            part = ops.reshape(part, (-1, down, block, across, block, channels))
            found.append(ops.reshape(ops.transpose(part, (0, 1, 3, 2, 4, 5)), (-1, block, block, channels)))
    return ops.concatenate(found, axis=0)


def _log_amplitudes(images: Any) -> Any:
    size = images.shape[1]
    window = np.outer(np.hanning(size + 2)[1:-1], np.hanning(size + 2)[1:-1]).astype(np.float32)
    planes = ops.transpose(ops.cast(images, "float32"), (0, 3, 1, 2)) * window
    real, imaginary = ops.fft2((planes, ops.zeros_like(planes)))
    # Below a hundredth of a grey step's energy there is nothing to see, and a logarithm no bound.
    least = (0.01 * size) ** 2
    return 0.5 * ops.log((ops.square(real) + ops.square(imaginary)) / least + 1)
