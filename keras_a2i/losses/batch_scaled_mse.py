"""The paper's loss: mean squared error times the batch size."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError


@keras.saving.register_keras_serializable(package="keras_a2i")
class BatchScaledMSE(keras.losses.Loss):
    """Mean squared error times the global batch size.

    The factor is an argument because the size of the tensor changes with the last batch and the number of replicas. The
    loss of a short last batch is its mean squared error times `batch_size`, too.

    Args:
        batch_size: pairs per step over all replicas, from 1. The paper uses 64.
        reduction: as in Keras.
        name: as in Keras.
        dtype: as in Keras; None is float32. The squares are computed in float32.

    Raises:
        UsageError: if `batch_size` isn't a whole number from 1.

    Reference:
        Vuruma, "Generating Images from Audio Input", section IV.

    Example:
        >>> float(BatchScaledMSE(64)([[0.0, 0.0]], [[0.5, 0.5]]))
        16.0
    """

    def __init__(
        self,
        batch_size: int = 64,
        reduction: str | None = "sum_over_batch_size",
        name: str = "batch_scaled_mse",
        dtype: Any = None,
    ):
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UsageError(f"batch_size must be a whole number from 1. Received: batch_size={batch_size!r}")
        super().__init__(name=name, reduction=reduction, dtype=dtype or "float32")
        self.batch_size = batch_size

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the scaled error of every pair, float32 (batch,), from two tensors (batch, ...) of one shape.

        Raises:
            UsageError: if the shapes differ, which would compare every number with several others.
        """
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        shapes = tuple(y_true.shape), tuple(y_pred.shape)
        if len(shapes[0]) != len(shapes[1]) or any(
            true != own for true, own in zip(*shapes, strict=True) if None not in (true, own)
        ):
            raise UsageError(
                "y_true and y_pred must have the same shape, for images their size and number of channels. "
                f"Received: {shapes[0]} and {shapes[1]}"
            )
        return self.batch_size * _mean_squared_errors(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"batch_size": self.batch_size}


@ops.custom_gradient
def _mean_squared_errors(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Mean squared error of every pair, whose gradient is one product: derived by TensorFlow, it takes six passes."""
    error = y_pred - y_true
    axes = tuple(range(1, len(error.shape)))

    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
        # Keras passes it by name on PyTorch alone.
        each = args[0] if upstream is None else upstream
        n = ops.cast(ops.size(error), "float32") / ops.cast(ops.shape(error)[0], "float32")
        slope = error * ops.reshape(each * 2 / n, (-1, *(1 for _ in axes)))
        return -slope, slope

    return ops.mean(ops.square(error), axis=axes), gradient
