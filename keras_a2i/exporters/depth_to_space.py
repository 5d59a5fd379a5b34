"""A model with its transposed convolutions rewritten as sub-pixel convolutions, for inference on a CPU core.

TFLite runs a strided transposed convolution several times slower than the equal convolution, `depth_to_space` and crop.
Batch normalisation is folded into the kernels on the way.
"""

import itertools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.exporters.inference_model import is_graph, to_graph


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
    """Returns a model for inference that computes the same images without transposed convolutions.

    Args:
        model: a functional model, with functional or sequential models among its layers where the user built it so; it
            stays as it is, and the new model shares its other layers.

    Returns:
        A functional model. Transposed convolutions of another shape than kernel = 2 x stride, even stride and "same"
        padding on square maps stay, as do models within it that have code of their own.
    """
    model = to_graph(model)
    norms = _norms_to_fold(model)
    skipped = {id(norm) for norm in norms.values()}

    def convert(layer: Any) -> Any:
        if id(layer) in skipped:
            return keras.layers.Identity(name=layer.name)
        if is_graph(layer) and len(layer.inputs) == len(layer.outputs) == 1:
            return to_depth_to_space(layer)
        if _is_convertible(layer):
            return DepthToSpaceConv2D(*_fold(layer, norms.get(id(layer))), layer.strides[0], name=layer.name)
        return layer

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        # Arguments of a replaced layer, such as training, mean nothing to the layer in its place.
        replaced = isinstance(layer, DepthToSpaceConv2D | keras.layers.Identity)
        return layer(*args) if replaced else layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=convert, call_function=call)


def _is_convertible(layer: Any) -> bool:
    if not isinstance(layer, keras.layers.Conv2DTranspose) or layer.data_format != "channels_last":
        return False
    stride = layer.strides[0]
    plain = layer.activation is keras.activations.linear and layer.dilation_rate in (1, (1, 1)) and layer.use_bias
    square = layer.strides == (stride, stride) and layer.kernel_size == (2 * stride, 2 * stride)
    if not (plain and square and stride % 2 == 0 and layer.padding == "same"):
        return False
    maps = [node.input_tensors[0].shape for node in layer._inbound_nodes]
    return all(len(shape) == 4 and shape[1] == shape[2] is not None for shape in maps)


def _norms_to_fold(model: keras.Model) -> dict[int, keras.layers.BatchNormalization]:
    """The batch normalisation of every convertible layer whose output goes nowhere else, by the layer's identity."""
    users: dict[int, list] = {}
    inputs: dict[int, int] = {}
    for node in itertools.chain.from_iterable(model._nodes_by_depth.values()):
        for tensor in node.input_tensors:
            users.setdefault(id(tensor._keras_history.operation), []).append(node.operation)
            inputs[id(node.operation)] = inputs.get(id(node.operation), 0) + 1
    for tensor in model.outputs:
        users.setdefault(id(tensor._keras_history.operation), []).append(None)
    norms = {}
    for layer in model.layers:
        followers = users.get(id(layer), [])
        if not _is_convertible(layer) or len(followers) != 1:
            continue
        norm = followers[0]
        is_norm = isinstance(norm, keras.layers.BatchNormalization) and inputs[id(norm)] == 1
        if is_norm and norm.scale and norm.center and norm.axis in (-1, 3):
            norms[id(layer)] = norm
    return norms


def _fold(
    layer: keras.layers.Conv2DTranspose, norm: keras.layers.BatchNormalization | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernel and bias of a layer with the normalisation that follows it folded in."""
    kernel, bias = ops.convert_to_numpy(layer.kernel).astype(np.float64), ops.convert_to_numpy(layer.bias)
    if norm is None:
        return kernel, bias
    gamma, beta, mean, variance = (
        ops.convert_to_numpy(variable).astype(np.float64)
        for variable in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    gain = gamma / np.sqrt(variance + norm.epsilon)
    return kernel * gain[:, None], (bias - mean) * gain + beta
