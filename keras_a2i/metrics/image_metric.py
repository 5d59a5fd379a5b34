"""The base class of image metrics, and the registry that training and reports use."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import keras


class ImageMetric(keras.metrics.MeanMetricWrapper):
    """The mean over images of a function of real and generated images.

    Every image has the same weight, whatever the size of the batches. A subclass whose best values are the highest or
    the lowest sets `_direction` to "up" or "down", by which Keras' callbacks choose their `mode`.

    Args:
        function: function of (y_true, y_pred, **settings), both (batch, height, width, channels) in [-1, 1], that
            returns one value per image.
        name: name of the metric.
        dtype: dtype of the sums; None is float32.
        **settings: arguments of the constructor and of the function.
    """

    def __init__(self, function: Callable[..., Any], name: str, dtype: Any = None, **settings: Any):
        super().__init__(function, name=name, dtype=dtype or "float32", **settings)
        self._settings = settings

    def get_config(self) -> dict[str, Any]:
        return self._settings | {"name": self.name, "dtype": self.dtype}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """The description of a metric for training and reports.

    Attributes:
        id: the name of the metric in logs, reports and settings.
        title: short name for tables.
        convention: the convention, in a line.
        better: which values are better: "higher", "lower", or "one" for those near 1.
        function: function of (y_true, y_pred), batches of images in [-1, 1], that returns one value per image.
        metric: creates the Keras metric, whose name is `id`.
        is_variant: whether it is another convention of a metric that is listed before; reports list it last.
        degenerate: whether nearly any two images get the best score.
        brief: whether tables with few metrics contain it.
    """

    id: str
    title: str
    convention: str
    better: Literal["higher", "lower", "one"]
    function: Callable[[Any, Any], Any]
    metric: Callable[[], keras.metrics.Metric]
    is_variant: bool = False
    degenerate: bool = False
    brief: bool = True


METRICS: dict[str, MetricSpec] = {}
"""The image metrics by id."""


def register_metric(spec: MetricSpec) -> None:
    """Adds a metric to `METRICS`."""
    METRICS[spec.id] = spec
