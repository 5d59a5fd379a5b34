"""Every registered metric, each under its own convention, computed together on batches."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.evaluation.contenders import Contender
from keras_a2i.evaluation.pairs import Rows, chunks_of, scaled
from keras_a2i.evaluation.report_data import ContenderScores, MetricInfo
from keras_a2i.metrics import METRICS, MetricSpec

# As many images at once as have these pixels: the metrics need some dozens of arrays of their size.
_PIXELS, _MAX_BATCH, _MIN_BATCH = 32 * 128 * 128, 32, 4


def report_metrics() -> list[MetricSpec]:
    """Returns every registered metric, other conventions of one last."""
    return sorted(METRICS.values(), key=lambda metric: metric.is_variant)


def metric_infos() -> list[MetricInfo]:
    """Returns how to read each of `report_metrics`."""
    names = [field.name for field in dataclasses.fields(MetricInfo)]
    return [MetricInfo(**{name: getattr(metric, name) for name in names}) for metric in report_metrics()]


class _Scorer(keras.Model):
    """(real, generated) to all metrics, (batch, metrics): a model, so that every backend compiles it as one."""

    def __init__(self, functions: Sequence[Callable[[Any, Any], Any]]):
        super().__init__(dtype="float32", name="scorer")
        self._functions = tuple(functions)
        self.compile(jit_compile=keras.backend.backend() != "torch")
        self.built = True

    def call(self, inputs: Any) -> Any:
        real, generated = inputs
        return ops.stack([ops.cast(function(real, generated), "float32") for function in self._functions], axis=1)


@functools.lru_cache(maxsize=4)
def _scorer(functions: tuple[Callable[[Any, Any], Any], ...], shape: tuple[int, ...]) -> _Scorer:
    """One model per image shape for all evaluations of a process: to compile it takes longer than to score few images.

    A model that sees two shapes is compiled for an unknown one, of which the metrics can't be computed.
    """
    return _Scorer(functions)


def score_contenders(
    contenders: Sequence[Contender], images: Rows, progress: Callable[[int, int], None] | None = None
) -> list[ContenderScores]:
    """Scores every contender on every held-out pair, a batch of images in memory at a time: fewer of large ones.

    Args:
        contenders: what to score.
        images: the real images, uint8 (n, size, size, channels), by row number.
        progress: called with (pairs scored, all pairs).
    """
    metrics, n = report_metrics(), len(images)
    batch = int(np.clip(_PIXELS // np.prod(images.shape[1:3]), _MIN_BATCH, _MAX_BATCH))
    functions, ids = tuple(metric.function for metric in metrics), [metric.id for metric in metrics]
    scorer = _scorer(functions, images.shape[1:])
    values = np.empty((len(contenders), len(metrics), n), np.float32)
    for rows in chunks_of(n, batch):
        # Filled up, so that one shape is compiled.
        missing = [(0, batch - len(rows)), (0, 0), (0, 0), (0, 0)]
        real = np.pad(scaled(images[rows]), missing)
        for i, contender in enumerate(contenders):
            generated = np.pad(np.asarray(contender.images[rows], np.float32), missing)
            scores = ops.convert_to_numpy(scorer.predict_on_batch((real, generated)))
            values[i][:, rows] = scores[: len(rows)].T
        if progress:
            progress(int(rows[-1]) + 1, n)
    return [
        ContenderScores(
            id=contender.id,
            title=contender.title,
            kind=contender.kind,
            explanation=contender.explanation,
            means=dict(zip(ids, rows.mean(axis=1, dtype=np.float64).tolist(), strict=True)),
            values=dict(zip(ids, rows.tolist(), strict=True)),
        )
        for contender, rows in zip(contenders, values, strict=True)
    ]
