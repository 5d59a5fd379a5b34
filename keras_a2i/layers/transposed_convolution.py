"""Transposed convolutions that are computed faster than Keras' own."""

from typing import Any

import keras
from keras import ops

_FEW_FILTERS = 4
"""Up to so many filters, a sub-pixel convolution is faster: its outputs fill the lanes of the processor."""
_FEW_FILTERS_ON_JAX = 32
"""The same on JAX, above all on GPUs."""


@keras.saving.register_keras_serializable("keras_a2i")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras' transposed convolution, computed in a faster form in training on TensorFlow, and on JAX.

    With few filters, a 3 x 3 convolution computes all output pixels that belong to one input pixel, and they are
    rearranged (a sub-pixel convolution). On TensorFlow, the bias is added to whole rows, and its gradient is a matrix
    product, because TensorFlow's operations for the bias take longer than the convolution if there are few channels.
    Outputs and gradients are the same up to rounding. In inference on TensorFlow, in exported files and on PyTorch,
    Keras' implementation is used.

    Args:
        **kwargs: arguments of `keras.layers.Conv2DTranspose`.

    Reference:
        Shi et al., "Is the deconvolution layer the same as a convolutional layer?", arXiv:1609.07009.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        backend = keras.backend.backend()
        if backend == "jax" and self.filters <= _FEW_FILTERS_ON_JAX and self._has_fast_form(inputs):
            outputs = _sub_pixel_convolution(inputs, ops.cast(self.kernel, self.compute_dtype), self.strides[0])
            return self.activation(outputs if self.bias is None else outputs + self.bias)
        in_float32 = self.use_bias and self.compute_dtype == "float32"
        if backend == "tensorflow" and training and in_float32 and self._has_fast_form(inputs):
            return self.activation(_enlarge(inputs, self.kernel, self.bias, self.strides[0]))
        return super().call(inputs)

    def _has_fast_form(self, inputs: Any) -> bool:
        stride = self.strides[0]
        return (
            self.data_format == "channels_last"
            and self.padding == "same"
            and self.output_padding is None
            and self.dilation_rate in (1, (1, 1))
            and stride % 2 == 0
            and self.strides == (stride, stride)
            and self.kernel_size == (2 * stride, 2 * stride)
            and None not in inputs.shape[1:]
        )


def _sub_pixel_convolution(x: Any, kernel: Any, stride: int) -> Any:
    """A transposed convolution of (batch, height, width, channels) with a kernel of twice the stride, without bias."""
    _, height, width, _ = x.shape
    filters = kernel.shape[2]
    y = ops.conv(x, _sub_pixel_kernel(kernel, stride), padding="same")
    y = ops.reshape(y, (-1, height, width, stride, stride * filters))
    return ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4)), (-1, height * stride, width * stride, filters))


def _enlarge(x: Any, kernel: Any, bias: Any, stride: int) -> Any:
    """A transposed convolution of (batch, height, width, channels) with a kernel of twice the stride."""
    import tensorflow as tf

    _, height, width, _ = x.shape
    filters = kernel.shape[2]
    row = width * stride * filters

    @tf.custom_gradient
    def enlarge(x: Any, kernel: Any, bias: Any) -> Any:
        shape = tf.stack([tf.shape(x)[0], height * stride, width * stride, filters])
        if filters <= _FEW_FILTERS:
            y = tf.nn.conv2d(x, _sub_pixel_kernel(kernel, stride), 1, "SAME")
            y = tf.nn.bias_add(y, tf.tile(bias, [stride**2]))
            y = tf.reshape(y, (-1, height, width, stride, stride * filters))
            y = tf.reshape(tf.transpose(y, (0, 1, 3, 2, 4)), shape)
        else:
            y = tf.reshape(tf.nn.conv2d_transpose(x, kernel, shape, stride, "SAME"), (-1, row))
            y = tf.reshape(y + tf.tile(bias, [width * stride]), shape)

        def gradient(upstream: Any) -> tuple[Any, Any, Any]:
            rows = tf.reshape(upstream, (-1, row))
            per_column = tf.matmul(tf.ones((1, tf.shape(rows)[0])), rows)
            return (
                tf.nn.conv2d(upstream, kernel, stride, "SAME"),
                tf.raw_ops.Conv2DBackpropFilter(
                    input=upstream,
                    filter_sizes=kernel.shape,
                    out_backprop=x,
                    strides=[1, stride, stride, 1],
                    padding="SAME",
                ),
                tf.reduce_sum(tf.reshape(per_column, (-1, filters)), axis=0),
            )

        return y, gradient

    # Tensors: a custom gradient would want to handle variables itself.
    return enlarge(x, *(tf.identity(variable) for variable in (kernel, bias)))


def _sub_pixel_kernel(kernel: Any, stride: int) -> Any:
    """Returns (3, 3, channels, stride^2 x filters) from (2 x stride, 2 x stride, filters, channels)."""
    *_, filters, channels = kernel.shape
    # Output pixel `stride i + r` is the sum over the inputs `i + 1 - q` of their product with tap `stride q + r` here.
    padded = ops.pad(kernel, ((stride // 2, stride // 2), (stride // 2, stride // 2), (0, 0), (0, 0)))
    taps = ops.flip(ops.reshape(padded, (3, stride, 3, stride, filters, channels)), (0, 2))
    return ops.reshape(ops.transpose(taps, (0, 2, 5, 1, 3, 4)), (3, 3, channels, stride**2 * filters))
