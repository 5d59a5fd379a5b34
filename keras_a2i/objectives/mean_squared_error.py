"""The paper's loss as an objective."""

from typing import Any

from keras_a2i.losses import BatchScaledMSE
from keras_a2i.objectives.objective import ImageObjective, register_objective


@register_objective
class MeanSquaredError(ImageObjective):
    """Mean squared error times the batch size, `BatchScaledMSE`.

    Args:
        weight: factor of the loss.
        batch_size: the factor of the paper's loss: pairs per step.
        **kwargs: as `Objective`.

    Reference:
        Vuruma, "Generating Images from Audio Input", section IV.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(768), keras.layers.Reshape((16, 16, 3))])
        >>> model.compile("adam", loss=MeanSquaredError(batch_size=32))
    """

    id = "mse"

    def __init__(self, weight: float = 1.0, batch_size: int = 64, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self.batch_size = batch_size
        self._loss_fn = BatchScaledMSE(batch_size, reduction="none")

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        return self._loss_fn(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"batch_size": self.batch_size}
