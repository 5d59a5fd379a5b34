"""What an evaluation found, as plain data: written to report.json, drawn in report.html, printed by the command."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from keras_a2i.media.json_file import write_json

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """How a metric is to be read.

    Attributes:
        name: its key in `PredictorScores.means`.
        title: for tables.
        convention: what exactly is computed, in a line.
        better: "higher", "lower", or "one" where 1 is equal to the real pictures.
        degenerate: whether it gives nearly the same to everything; never a headline.
    """

    name: str
    title: str
    convention: str
    better: str
    degenerate: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorScores:
    """Scores of one predictor over the held-out pairs.

    Attributes:
        name: for tables, such as "mean of the source".
        kind: "model", "control" (the model with sounds taken away), "baseline" (no sound at all), "sound baseline"
            (sound, but no model) or "ceiling" (told something of the target itself).
        explanation: what it does, in a line.
        means: metric -> mean over the pairs.
        values: metric -> one value a pair.
    """

    name: str
    kind: str
    explanation: str
    means: dict[str, float]
    values: dict[str, list[float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain:
    """How much better the model is than another predictor, pair by pair.

    Attributes:
        against: name of the other predictor.
        metric: which metric; positive gains are better whatever its direction.
        mean: over the pairs.
        low, high: 95 % interval, bootstrapped over blocks of neighbouring pairs of a source.
        p_value: of no gain, two-sided.
    """

    against: str
    metric: str
    mean: float
    low: float
    high: float
    p_value: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leak:
    """How many held-out pairs have a training pair of the same source within `within` seconds."""

    within: float
    count: int
    total: int

    @property
    def share(self) -> float:
        """Share of the held-out pairs."""
        return self.count / self.total if self.total else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Whether a generated picture finds its own target among all held-out ones.

    Attributes:
        r1, r5: share whose own target is the nearest, or among the five nearest.
        chance_r1, chance_r5: what guessing gives.
    """

    r1: float
    r5: float
    chance_r1: float
    chance_r5: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelAccuracy:
    """Whether a classifier of real training pictures names generated ones by their label.

    Attributes:
        generated: on generated pictures.
        shuffled: on pictures generated from shuffled sounds.
        real: on real held-out pictures: what can be reached.
        most_frequent: what naming the most frequent label gives.
        by_label: label -> accuracy on generated pictures.
        named: id -> the label read from the generated picture, for a recount.
    """

    generated: float
    shuffled: float
    real: float
    most_frequent: float
    by_label: dict[str, float]
    named: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactorRecovery:
    """How well a hidden factor of synthetic pairs is read from the generated pictures by a reader of real ones.

    Attributes:
        name: of the factor.
        measure: "accuracy" or "R2".
        generated, real: on generated and on real held-out pictures.
    """

    name: str
    measure: str
    generated: float
    real: float


@dataclasses.dataclass(frozen=True)
class Measure:
    """One way in which the pictures answer to the sound.

    Attributes:
        name: what is measured.
        value: what the model gives.
        beside: what to hold it against: chance, shuffled sounds or real pictures, as `explanation` says.
        explanation: in a few words.
    """

    name: str
    value: float
    beside: float
    explanation: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One pair to look at; pictures are uint8 (size, size, channels).

    Attributes:
        id: of the pair.
        group: "best", "median", "worst" or "swapped".
        score: SSIM of the generated picture.
        pictures: title -> picture, in the order to show them.
    """

    id: str
    group: str
    score: float
    pictures: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Everything `evaluate` found.

    Attributes:
        model, records, split: what was evaluated, as given.
        n_pairs, n_sources: held out.
        verdict: sentences in words, the most important first.
        level: "good", "nothing" (the sound adds nothing) or "leak" (scores can't be trusted).
        metrics: how to read them.
        predictors: the model first.
        gains: the headline gains first.
        leak, retrieval, labels, factors: see their classes; None where there are none.
        measures: how the pictures answer to the sound.
        paper: name -> (published, measured) under the paper's conventions, for the seed's recipe, else None.
        notes: what else a reader must know, such as stand-in data.
        examples: pairs to look at; not in report.json.
        command: what gives this report again.
        versions: of the libraries.
    """

    model: str
    records: str
    split: str
    n_pairs: int
    n_sources: int
    verdict: list[str]
    level: str
    metrics: list[MetricInfo]
    predictors: list[PredictorScores]
    gains: list[Gain]
    leak: Leak
    retrieval: Retrieval
    labels: LabelAccuracy | None
    factors: list[FactorRecovery]
    measures: list[Measure]
    paper: dict[str, tuple[float, float]] | None
    notes: list[str]
    examples: list[Example]
    command: str
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, as JSON holds it."""
        values = dataclasses.asdict(dataclasses.replace(self, examples=[]))
        del values["examples"]
        values["leak"]["share"] = self.leak.share
        return values | {"schema_version": SCHEMA_VERSION}

    def write_json(self, path: pathlib.Path) -> None:
        """Writes report.json, whole or not at all."""
        write_json(path, json.loads(json.dumps(self.to_dict())))
