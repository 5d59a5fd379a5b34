"""Images as patches: a linear code of principal components, and a small network that adds the missing details."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_a2i.errors import UsageError
from keras_a2i.layers.depth_to_space import DepthToSpace

_MAX_PATCHES = 65_536
_SMALLEST_DEVIATION = 1e-3


@keras.saving.register_keras_serializable("keras_a2i")
class PatchDecoder(keras.layers.Layer):
    """Decodes a map of patch codes into an image: principal components, corrected by residual convolutions.

    `adapt` computes the principal components of the patches of training images. Their coefficients, divided by their
    standard deviations, are the code that `encode` returns. `call` sums the components and adds a correction, which
    residual convolutions compute from each patch and its neighbours: it restores details that the components lack, and
    removes seams where neighbours come from different images. The correction is zero at first.

    Args:
        patch_size: pixels per side of a patch, from 2.
        components: numbers per patch, from 1 to `patch_size`^2 x `channels`.
        channels: channels of the image, 1 or 3.
        width: channels of the convolutions.
        blocks: number of residual blocks.
        **kwargs: other arguments of a Keras layer.

    Call with float (batch, height, width, components). Returns float (batch, patch_size x height, patch_size x width,
    channels), approximately in [-1, 1].

    Raises:
        UsageError: if an argument is out of range.
    """

    def __init__(
        self, patch_size: int, components: int, *, channels: int = 3, width: int = 64, blocks: int = 2, **kwargs: Any
    ):
        super().__init__(**kwargs)
        n = patch_size**2 * channels
        if patch_size < 2 or not 1 <= components <= n:
            raise UsageError(
                f"patch_size must be 2 or more, components between 1 and patch_size^2 x channels = {n}. "
                f"Received: patch_size={patch_size}, components={components}"
            )
        self.patch_size, self.components, self.channels = patch_size, components, channels
        self.width, self.blocks = width, blocks
        like = {"padding": "same", "data_format": "channels_last", "dtype": self.dtype_policy}
        self.first = layers.Conv2D(width, 3, name="first", **like)
        self.residual = [
            [layers.Conv2D(width, 3, name=f"block_{i}_a", **like), layers.Conv2D(width, 3, name=f"block_{i}_b", **like)]
            for i in range(blocks)
        ]
        self.last = layers.Conv2D(n, 3, kernel_initializer="zeros", name="last", **like)
        self.to_pixels = DepthToSpace(patch_size, dtype=self.dtype_policy, name="to_pixels")

    def build(self, input_shape: tuple) -> None:
        n = self.patch_size**2 * self.channels
        constant = {"trainable": False, "dtype": "float32"}
        self.basis = self.add_weight(shape=(n, self.components), initializer="orthogonal", name="basis", **constant)
        self.mean = self.add_weight(shape=(n,), initializer="zeros", name="mean", **constant)
        self.deviation = self.add_weight(shape=(self.components,), initializer="ones", name="deviation", **constant)
        inner = (None, None, None, self.width)
        self.first.build((None, None, None, self.components))
        for layer in (*(layer for block in self.residual for layer in block), self.last):
            layer.build(inner)

    def call(self, codes: Any) -> Any:
        x = self.first(codes)
        for a, b in self.residual:
            x = x + b(ops.leaky_relu(a(ops.leaky_relu(x, 0.2)), 0.2))
        correction = self.last(ops.leaky_relu(x, 0.2))
        components = ops.cast(ops.transpose(self.basis) * self.deviation[:, None], codes.dtype)
        linear = ops.matmul(codes, components) + ops.cast(self.mean, codes.dtype)
        return self.to_pixels(linear + correction)

    def encode(self, images: Any) -> Any:
        """Returns the codes (batch, height, width, components) of images whose sides are multiples of `patch_size`."""
        patches = _to_patches(ops.cast(images, "float32"), self.patch_size)
        return ops.matmul(patches - self.mean, self.basis) / self.deviation

    def adapt(self, images: np.ndarray) -> None:
        """Computes the principal components of the patches of images.

        Args:
            images: float32 (n, size, size, channels) in [-1, 1].
        """
        rng = np.random.default_rng(0)
        each = max(1, _MAX_PATCHES // len(images))
        patches = []
        for image in images:
            found = np.asarray(ops.convert_to_numpy(_to_patches(image[None], self.patch_size)))[0]
            found = found.reshape(-1, found.shape[-1])
            patches.append(found[rng.permutation(len(found))[:each]])
        values = np.concatenate(patches).astype(np.float64)
        mean = values.mean(axis=0)
        variances, vectors = np.linalg.eigh(np.cov(values.T, bias=True))
        order = np.argsort(variances)[::-1][: self.components]
        self.basis.assign(vectors[:, order])
        self.mean.assign(mean)
        self.deviation.assign(np.maximum(np.sqrt(np.maximum(variances[order], 0)), _SMALLEST_DEVIATION))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, _ = input_shape
        sides = (None if side is None else self.patch_size * side for side in (height, width))
        return batch, *sides, self.channels

    def get_config(self) -> dict[str, Any]:
        names = ("patch_size", "components", "channels", "width", "blocks")
        return super().get_config() | {name: getattr(self, name) for name in names}


def _to_patches(images: Any, size: int) -> Any:
    """Cuts images (batch, height, width, channels) into flat patches (batch, rows, columns, size^2 x channels)."""
    _, height, width, channels = images.shape
    rows, columns = height // size, width // size
    x = ops.reshape(images, (-1, rows, size, columns, size, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows, columns, size * size * channels))
