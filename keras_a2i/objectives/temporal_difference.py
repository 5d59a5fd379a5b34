"""Agreement of the change between neighbouring pairs."""

from typing import Any

from keras import ops

from keras_a2i.objectives.objective import Objective, TrainState, register_objective


@register_objective
class TemporalDifference(Objective):
    """Mean squared error of the change from one pair to the next, times the batch size.

    Consecutive pairs of a batch must be neighbours in time: the data set must be in the order `Neighbours`.

    Args:
        weight: factor of the loss.
        batch_size: the factor of the paper's loss: pairs per step.
        **kwargs: as `Objective`.

    Reference:
        The temporal term of OneShotA2V (Kumar et al., 2020), on pixels.
    """

    id = "temporal"
    needs_neighbours = True

    def __init__(self, weight: float = 1.0, batch_size: int = 64, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self.batch_size = batch_size

    def loss(self, state: TrainState) -> Any:
        error = ops.cast(state.generated, "float32") - state.images
        count = ops.shape(error)[0] // 2 * 2
        # The difference of the errors is the error of the difference.
        return self.batch_size * ops.mean(ops.square(error[1:count:2] - error[0:count:2]))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"batch_size": self.batch_size}
