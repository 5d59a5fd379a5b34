"""Custom Keras metrics of a training: which `fit` accepts, and which of their values are better."""

from collections.abc import Mapping, Sequence

import keras

from keras_a2i.errors import UsageError
from keras_a2i.objectives import TrainingModel
from keras_a2i.training.run_folder import SCORES

_OTHER_COLUMNS = ("epoch", "seconds", "learning_rate")


def check_metrics(
    metrics: Sequence[keras.metrics.Metric], model: TrainingModel, history: Sequence[Mapping[str, float]]
) -> None:
    """Checks the custom metrics of a training before it begins.

    Args:
        metrics: the metrics.
        model: the compiled model, whose losses have names, too.
        history: the epochs of the run so far, which have the same columns as those that follow.

    Raises:
        UsageError: if one isn't a metric, two columns of history.csv would have the same name, or the run began with
            other metrics.
    """
    taken = ["loss", *model.loss_names, *SCORES, *_OTHER_COLUMNS]
    for metric in metrics:
        if not isinstance(metric, keras.metrics.Metric):
            raise UsageError(
                f"Each of metrics must be a keras.metrics.Metric. Received: {metric!r}. Wrap a function of real and "
                "generated images in keras.metrics.MeanMetricWrapper"
            )
        if metric.name in taken:
            raise UsageError(
                f"The names of metrics must differ from each other and from {', '.join(taken)}, which fit writes "
                f"itself. Received: {metric.name!r}. Leave it out, or pass another name"
            )
        taken.append(metric.name)
    if history:
        known = {"loss", *model.loss_names, *_OTHER_COLUMNS}
        before = sorted(name for name in history[0] if name not in known and not name.startswith("val_"))
        given = sorted(metric.name for metric in metrics)
        if before != given:
            raise UsageError(
                f"metrics of a resumed run must be those with which it began, {before}. Received: {given}. "
                "Pass the same metrics"
            )


def higher_is_better(metric: keras.metrics.Metric) -> bool | None:
    """Whether the highest value of a metric is the best, False for the lowest, None if that isn't known.

    Keras' metrics and those of this library state it by the attribute `_direction`, "up" or "down", which a custom
    metric may have, too.
    """
    return {"up": True, "down": False}.get(getattr(metric, "_direction", ""))
