"""The arithmetic of a TensorFlow graph: its convolutions and matrix products, counted and measured one by one.

`bench_training.py --flop` compares a step of training with it.
"""

import collections
import math
from typing import Any

import numpy as np
import tensorflow as tf

_PRODUCTS = ("MatMul", "BatchMatMulV2")
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
_OF_INPUT, _OF_KERNEL = "BackpropInput", "BackpropFilter"
_COUNTED = (*_PRODUCTS, *(name + part for name in _CONVOLUTIONS for part in ("", _OF_INPUT, _OF_KERNEL)))


class Arithmetic:
    """The convolutions and matrix products that a traced function carries out.

    Args:
        function: a concrete function whose shapes are known. What its outputs and effects don't depend on isn't
            carried out, and doesn't count.

    What is within conditions, loops and functions that it calls doesn't count, nor do Fourier transforms.

    Attributes:
        flop: floating-point operations of one call.
        left_out: names of the operations whose shapes aren't known.
    """

    def __init__(self, function: Any):
        self.flop = 0.0
        self.left_out: list[str] = []
        counts: collections.Counter[str] = collections.Counter()
        calls = {}
        for op in _carried_out(function.graph):
            if op.type not in _COUNTED:
                continue
            if not all(tensor.shape.is_fully_defined() for tensor in (*op.inputs, *op.outputs)):
                self.left_out.append(op.name)
                continue
            self.flop += _flop(op)
            signature = _signature(op)
            counts[signature] += 1
            calls.setdefault(signature, op)
        self._calls = [(_alone(op), counts[signature]) for signature, op in calls.items()]

    def run(self) -> None:
        """Carries out each of them as often as a call of the function does, on random numbers, and waits."""
        for call, count in self._calls:
            for _ in range(count):
                result = call()
            float(tf.reshape(result, (-1,))[0])


def _carried_out(graph: Any) -> list[Any]:
    """Returns the operations that the outputs and effects of a graph depend on."""
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    found: dict[str, Any] = {}
    while waiting:
        op = waiting.pop()
        if op.name not in found:
            found[op.name] = op
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return list(found.values())


def _flop(op: Any) -> float:
    if op.type in _PRODUCTS:
        transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
        length = op.inputs[0].shape[-2 if transposed else -1]
        return 2.0 * length * math.prod(op.outputs[0].shape)
    # At every position of the convolution's output, every number of the kernel counts once.
    output = op.outputs[0] if op.type in _CONVOLUTIONS else op.inputs[2]
    kernel = op.outputs[0] if op.type.endswith(_OF_KERNEL) else op.inputs[1]
    return 2.0 * math.prod(output.shape[:3]) * math.prod(kernel.shape)


def _signature(op: Any) -> str:
    tensors = [(tensor.dtype.name, tensor.shape) for tensor in (*op.inputs, *op.outputs)]
    return f"{op.type} {tensors} {_attributes(op)}"


def _attributes(op: Any) -> dict[str, Any]:
    values = {attr.name: op.get_attr(attr.name) for attr in op.op_def.attr if attr.type != "type"}
    values = {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}
    return {name: value for name, value in values.items() if not name.startswith("grad_")}


def _alone(op: Any) -> Any:
    """Returns a function that carries out one operation on random numbers."""
    rng = np.random.default_rng(0)
    values = {}
    for argument, tensor in zip(op.op_def.input_arg, op.inputs, strict=True):
        if tensor.dtype.is_floating:
            values[argument.name] = tf.cast(tf.constant(rng.standard_normal(tensor.shape, np.float32)), tensor.dtype)
        else:
            # The shape of a gradient.
            values[argument.name] = tf.constant(op.outputs[0].shape.as_list())
    operation, attributes = getattr(tf.raw_ops, op.type), _attributes(op)
    return lambda: operation(**values, **attributes)
