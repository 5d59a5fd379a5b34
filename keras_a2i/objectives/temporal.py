"""The objective that pictures of neighbouring seconds change as the real ones do."""

from typing import Any

from keras import ops

from keras_a2i.objectives.objective import Objective, Step


class TemporalDifference(Objective):
    """Mean squared difference of the change from one pair to its neighbour, generated against real, times the batch.

    The data set must give neighbours one after the other: `load_records(..., neighbours=True)`.

    Args:
        weight: factor of the loss.
        batch_size: pairs of one step.

    Reference:
        The temporal term of OneShotA2V (Kumar et al., 2020), on pixels.
    """

    def __init__(self, weight: float, batch_size: int = 64):
        super().__init__(weight, "temporal")
        self._batch_size = batch_size

    def loss(self, step: Step) -> Any:
        error = ops.cast(step.generated, "float32") - step.images
        pairs = ops.shape(error)[0] // 2 * 2
        # A change of the error is the error of the change.
        return self._batch_size * ops.mean(ops.square(error[1:pairs:2] - error[0:pairs:2]))
