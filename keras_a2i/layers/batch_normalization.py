"""Batch normalisation of feature maps by TensorFlow's fused kernels."""

from typing import Any

import keras
from keras import ops

_LANES = 4
"""TensorFlow's fused kernels are slower than Keras' own operations unless the channels are a multiple of this."""


@keras.saving.register_keras_serializable("keras_a2i")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation, which TensorFlow's fused kernels compute in training.

    Keras' operations and their gradients read or write a feature map about twenty times, the fused kernels five times.
    Outputs, gradients and moving statistics are the same up to rounding. In inference, in exported files and on other
    backends, Keras' implementation is used.

    Args:
        **kwargs: arguments of `keras.layers.BatchNormalization`.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not (training and self.trainable and mask is None and self._is_fusable(inputs)):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        x = ops.cast(inputs, "float32")
        ones, zeros = tf.ones(x.shape[-1:]), tf.zeros(x.shape[-1:])
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.convert_to_tensor(self.gamma) if self.scale else ones,
            offset=tf.convert_to_tensor(self.beta) if self.center else zeros,
            mean=zeros,
            variance=ones,
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel returns the variance with Bessel's correction, Keras' statistics are without.
        n = tf.cast(tf.size(x) // x.shape[-1], "float32")
        variance *= tf.maximum(n - 1, 1) / n
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)

    def _is_fusable(self, inputs: Any) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and inputs.shape[-1] % _LANES == 0
            and self.variable_dtype == "float32"
            and not (self.synchronized or self.renorm)
        )
