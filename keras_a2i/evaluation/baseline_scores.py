"""Scores of the baselines alone: what a model must beat, before there is one."""

import dataclasses
from typing import Any

from keras_a2i.evaluation.baselines import baselines
from keras_a2i.evaluation.pairs import read_pairs, require_splits
from keras_a2i.evaluation.report_data import ContenderScores, Leak, MetricInfo
from keras_a2i.evaluation.scoring import metric_infos, score_contenders
from keras_a2i.evaluation.statistics import find_leak
from keras_a2i.records.records import as_records


@dataclasses.dataclass(frozen=True)
class BaselineScores:
    """What `score_baselines` found.

    Attributes:
        n_train, n_held_out: numbers of pairs.
        metrics: how to read them.
        contenders: scores of every baseline that applies.
        leak: between the splits.
    """

    n_train: int
    n_held_out: int
    metrics: list[MetricInfo]
    contenders: list[ContenderScores]
    leak: Leak


def score_baselines(records: Any, *, split: str = "val") -> BaselineScores:
    """Scores every baseline on held-out pairs.

    Args:
        records: the records folder, or `Records`.
        split: the held-out split.

    Raises:
        MissingSplitError: if the records lack the split, or training pairs.
    """
    records = as_records(records)
    require_splits(records, split)
    train, held_out = read_pairs(records, "train"), read_pairs(records, split)
    contenders = score_contenders(baselines(train, held_out), held_out.images)
    metrics = metric_infos()
    return BaselineScores(len(train), len(held_out), metrics, contenders, find_leak(train, held_out))
