"""The form of a model that is computed at the edge: sub-pixel convolutions in place of transposed ones.

TFLite runs a strided transposed convolution several times slower than the convolution, `depth_to_space` and crop that
are its equal. Batch normalisation goes into the kernels on the way.
"""

import keras
import numpy as np
from keras import ops


class DepthToSpaceConv2D(keras.layers.Layer):
    """A transposed convolution with kernel 2 x stride and "same" padding, computed as a 2 x 2 convolution.

    Args:
        kernel: of the transposed convolution, (2 x stride, 2 x stride, channels out, channels in).
        bias: (channels out,).
        stride: even.
        **kwargs: name of the layer.

    Reference:
        Shi et al., "Is the deconvolution layer the same as a convolutional layer?", arXiv:1609.07009.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, stride: int, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self._stride = stride
        # Output pixel s q + r - s / 2 is input q times tap r plus input q - 1 times tap s + r.
        taps = kernel.reshape(2, stride, 2, stride, *kernel.shape[2:])[::-1, :, ::-1]
        taps = taps.transpose(0, 2, 5, 1, 3, 4)
        self._kernel = taps.reshape(2, 2, kernel.shape[3], -1).astype(np.float32)
        self._bias = np.tile(bias, stride * stride).astype(np.float32)

    def call(self, x):
        size, s = x.shape[1], self._stride
        x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        x = ops.conv(x, ops.convert_to_tensor(self._kernel), padding="valid") + self._bias
        x = ops.reshape(x, (-1, size + 1, size + 1, s, s, len(self._bias) // s**2))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, s * (size + 1), s * (size + 1), x.shape[-1]))
        return x[:, s // 2 : s // 2 + s * size, s // 2 : s // 2 + s * size]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, _ = input_shape
        return batch, height * self._stride, width * self._stride, len(self._bias) // self._stride**2


def to_depth_to_space(model: keras.Model) -> keras.Model:
    """A model that gives the same pictures with no transposed convolution in it.

    Args:
        model: a functional model; it is left as it is, and its other layers are shared.

    Returns:
        A functional model for inference. Transposed convolutions of another shape than kernel = 2 x stride, even stride
        and "same" padding stay.
    """
    folded: dict[str, keras.layers.BatchNormalization] = {}
    for layer in model.layers:
        if _is_convertible(layer) and (norm := _only_follower(layer)) is not None:
            folded[layer.name] = norm
    skipped = {norm.name for norm in folded.values()}

    def convert(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name in skipped:
            return keras.layers.Identity(name=layer.name)
        if not _is_convertible(layer):
            return layer
        return DepthToSpaceConv2D(*_fold(layer, folded.get(layer.name)), layer.strides[0], name=layer.name)

    # Arguments of the layer replaced (mask, training) mean nothing to the one in its place.
    return keras.models.clone_model(model, clone_function=convert, call_function=lambda layer, *args, **_: layer(*args))


def _is_convertible(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.Conv2DTranspose) or layer.data_format != "channels_last":
        return False
    stride = layer.strides[0]
    plain = layer.activation is keras.activations.linear and layer.dilation_rate in (1, (1, 1)) and layer.use_bias
    square = layer.strides == (stride, stride) and layer.kernel_size == (2 * stride, 2 * stride)
    return plain and square and stride % 2 == 0 and layer.padding == "same"


def _only_follower(layer: keras.layers.Layer) -> keras.layers.BatchNormalization | None:
    """The batch normalisation that alone takes a layer's output, or None."""
    # A layer that stands in several models has a node in each.
    followers = {node.operation for node in layer._outbound_nodes}
    one = followers.pop() if len(followers) == 1 else None
    return one if isinstance(one, keras.layers.BatchNormalization) and one.scale and one.center else None


def _fold(
    layer: keras.layers.Conv2DTranspose, norm: keras.layers.BatchNormalization | None
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias with the normalisation that follows worked in."""
    kernel, bias = layer.kernel.numpy().astype(np.float64), layer.bias.numpy().astype(np.float64)
    if norm is None:
        return kernel, bias
    gain = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy().astype(np.float64) + norm.epsilon)
    return kernel * gain[:, None], (bias - norm.moving_mean.numpy()) * gain + norm.beta.numpy()
