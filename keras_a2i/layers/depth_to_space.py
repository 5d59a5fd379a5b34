"""Channels rearranged into pixels, and a matching initializer."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError


@keras.saving.register_keras_serializable("keras_a2i")
class DepthToSpace(keras.layers.Layer):
    """Rearranges the channels of every pixel into a block of scale x scale pixels (`tf.nn.depth_to_space`).

    Args:
        scale: height and width of a block in pixels, from 2.
        **kwargs: other arguments of a Keras layer.

    Call with float (batch, height, width, scale^2 x channels), whatever Keras' global image data format is; height and
    width may be unknown (None) before a call. Returns (batch, scale x height, scale x width, channels).

    Raises:
        UsageError: if `scale` isn't a whole number from 2, or the channels aren't a multiple of its square.

    Reference:
        Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
        network", 2016.
    """

    def __init__(self, scale: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(scale, int) or isinstance(scale, bool) or scale < 2:
            raise UsageError(f"scale must be a whole number from 2. Received: scale={scale!r}")
        self.scale = scale

    def build(self, input_shape: tuple) -> None:
        _check_channels(input_shape[-1], self.scale)
        self.built = True

    def call(self, x: Any) -> Any:
        s, channels = self.scale, x.shape[-1] // self.scale**2
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # One operation in TFLite, instead of several for the transposition.
            return tf.nn.depth_to_space(x, s)
        # Sides that aren't known before the call are tensors.
        _, height, width, _ = ops.shape(x)
        x = ops.reshape(x, (-1, height, width, s, s, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, s * height, s * width, channels))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, *sides, channels = input_shape
        _check_channels(channels, self.scale)
        height, width = (None if side is None else side * self.scale for side in sides)
        return batch, height, width, channels // self.scale**2

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"scale": self.scale}


@keras.saving.register_keras_serializable("keras_a2i")
class DepthToSpaceInitializer(keras.initializers.Initializer):
    """One kernel for all pixels of a block, so that an untrained `DepthToSpace` enlarges without a checkerboard.

    Args:
        scale: scale of the `DepthToSpace` layer that follows.
        kernel_initializer: initializer of the kernel of one pixel; None is `GlorotUniform`.

    Raises:
        UsageError: if the last axis of a kernel isn't a multiple of the scale's square.

    Reference:
        Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017 (ICNR).
    """

    def __init__(self, scale: int = 2, kernel_initializer: keras.initializers.Initializer | None = None):
        self.scale = scale
        self.kernel_initializer = keras.initializers.get(kernel_initializer or keras.initializers.GlorotUniform())

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        *head, width = shape
        _check_channels(width, self.scale)
        kernel = self.kernel_initializer((*head, width // self.scale**2), dtype=dtype)
        return ops.tile(kernel, (1,) * len(head) + (self.scale**2,))

    def get_config(self) -> dict[str, Any]:
        return {
            "scale": self.scale,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DepthToSpaceInitializer":
        return cls(config["scale"], keras.initializers.deserialize(config["kernel_initializer"]))


def _check_channels(channels: int | None, scale: int) -> None:
    if not channels or channels % scale**2:
        raise UsageError(
            f"The number of channels must be known and a multiple of {scale**2}, the square of scale={scale}. "
            f"Received: {channels}. Give the layer in front as many filters"
        )
