"""Agreement of the change between neighbouring pairs."""

from typing import Any

from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.objectives.objective import Objective, TrainState, register_objective


@register_objective
class TemporalDifference(Objective):
    """Mean squared error of the change from one pair to the next, times the batch size.

    Consecutive pairs of a batch must be neighbours in time: the data set must be in the order `Neighbours`, at the
    latest from `start` on.

    Args:
        weight: factor of the loss.
        batch_size: the factor of the paper's loss: pairs per step.
        start: share of the training, 0 up to below 1, after which the objective is added to the loss. `fit` shuffles
            single pairs until then, and pairs of neighbours from then on: a curriculum.
        **kwargs: as `Objective`.

    Reference:
        The temporal term and the curriculum of OneShotA2V (Kumar et al., 2020), on pixels.
    """

    id = "temporal"
    needs_neighbours = True

    def __init__(self, weight: float = 1.0, batch_size: int = 64, start: float = 0.0, **kwargs: Any):
        super().__init__(weight, **kwargs)
        if isinstance(start, bool) or not isinstance(start, int | float) or not 0 <= start < 1:
            raise UsageError(f"start must be a number in [0, 1). Received: start={start!r}")
        self.batch_size, self.start = batch_size, start

    def loss(self, state: TrainState) -> Any:
        error = ops.cast(state.generated, "float32") - state.images
        count = ops.shape(error)[0] // 2 * 2
        # The difference of the errors is the error of the difference.
        return self.batch_size * ops.mean(ops.square(error[1:count:2] - error[0:count:2]))

    def ramp(self, progress: Any) -> Any:
        return ops.cast(progress >= self.start, "float32")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"batch_size": self.batch_size, "start": self.start}
