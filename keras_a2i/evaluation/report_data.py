"""What an evaluation found, as plain data."""

import dataclasses
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from keras_a2i.errors import ModelError
from keras_a2i.evaluation.report_format import percent

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 2
HEADLINE = "ssim"
"""The metric by which contenders are compared."""
COVERS = {
    "blocks": "other moments of the same sources",
    "sources": "other sources like these",
    "sources and seeds": "other sources like these, and other random seeds of the training",
    "blocks and seeds": "other moments of the same sources, and other random seeds of the training",
}
"""What an interval covers, by what was resampled."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """How to read a metric.

    Attributes:
        id: its key in `ContenderScores.means`.
        title: for tables.
        convention: what exactly is computed, in a line.
        better: "higher", "lower", or "one" where 1 equals the real images.
        degenerate: whether it is nearly the same for everything; never a headline.
        brief: whether the terminal shows it.
    """

    id: str
    title: str
    convention: str
    better: str
    degenerate: bool = False
    brief: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContenderScores:
    """Scores of one contender over the held-out pairs.

    Attributes:
        id, title, kind, explanation: as `Contender`.
        means: metric id -> mean over the pairs.
        values: metric id -> one value per pair.
    """

    id: str
    title: str
    kind: str
    explanation: str
    means: dict[str, float]
    values: dict[str, list[float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95 % bootstrap interval.

    Attributes:
        over: what was resampled, one of `COVERS`.
        n: how many of them there are.
        low, high: its ends.
        p_value: of no gain, two-sided.
    """

    over: str
    n: int
    low: float
    high: float
    p_value: float

    @property
    def covers(self) -> str:
        """What the interval covers, in words."""
        return COVERS[self.over]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain:
    """How much better the model is than another contender, pair by pair.

    Attributes:
        against: id of the other contender.
        metric: id of the metric; positive gains are better whatever its direction.
        mean: over the pairs.
        intervals: from the narrowest claim to the widest.
    """

    against: str
    metric: str
    mean: float
    intervals: list[Interval]

    @property
    def widest(self) -> Interval:
        """The interval that covers most; what the verdict goes by."""
        return self.intervals[-1]


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

    @property
    def sentence(self) -> str:
        """The figures in words."""
        return (
            f"leak: {self.count:,} of {self.total:,} held-out pairs ({percent(self.share, 0)}) have a training pair of "
            f"the same source within {self.within:g} s"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Whether a generated image finds its own target among all held-out ones.

    Attributes:
        r1, r5: share whose own target is the nearest, or among the five nearest.
        chance_r1, chance_r5: the same for guessing.
    """

    r1: float
    r5: float
    chance_r1: float
    chance_r5: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelAccuracy:
    """Whether a probe (a classifier of real training images) predicts the right label from generated images.

    Attributes:
        generated: accuracy on generated images.
        shuffled: on images generated from other pairs' audio.
        real: on real held-out images: what can be reached.
        most_frequent: of always predicting the most frequent label.
        by_label: label -> accuracy on generated images.
        named: id of a pair -> label predicted from its generated image.
    """

    generated: float
    shuffled: float
    real: float
    most_frequent: float
    by_label: dict[str, float]
    named: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactorRecovery:
    """How well a probe of real images reads a hidden factor of rendered pairs from the generated images.

    Attributes:
        name: of the factor.
        measure: "accuracy" or "R2".
        generated, real: on generated and on real held-out images.
    """

    name: str
    measure: str
    generated: float
    real: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasureResult:
    """The value of one entry of `MEASURES`.

    Attributes:
        id: of the measure.
        title: for tables.
        better: "higher", "lower" or "one".
        value: of the model.
        reference: what to compare it with: chance, shuffled audio or real images, as `explanation` says.
        explanation: in a few words.
    """

    id: str
    title: str
    better: str
    value: float
    reference: float
    explanation: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Who the held-out pairs are, one entry per pair in the order of all values.

    Attributes:
        ids, labels, sources: their names; labels and sources may be "".
        times: seconds within the source.
        ranks: rank of the pair's own target among all, from 1, by the distance to the generated image.
    """

    ids: list[str]
    labels: list[str]
    sources: list[str]
    times: list[float]
    ranks: list[float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One pair to look at; images are uint8 (size, size, channels).

    Attributes:
        id: of the pair.
        group: "best", "median", "worst" or "swapped".
        score: SSIM of the generated image.
        images: title -> image, in the order to show them.
    """

    id: str
    group: str
    score: float
    images: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything that `evaluate` found; `Report` adds how to write it.

    Attributes:
        model, records, split: what was evaluated, as given.
        n_pairs, n_sources: held out.
        level: one of `verdict.LEVELS`: "follows", "follows-but", "barely", "not" or "leak".
        verdict: sentences, the most important first.
        metrics: how to read them.
        contenders: scores of the model, the controls and the baselines; the model first.
        gains: the headline gains first.
        leak, retrieval, labels, factors: see their classes; None or empty where there are none.
        measures: how the images respond to the audio, and how near they are to real ones.
        skipped: id of a measure -> why it was left out.
        paper: name -> (published, measured) under the paper's conventions, for its recipe, else None.
        notes: what else a reader must know, such as stand-in data.
        held_out: who the held-out pairs are.
        examples: pairs to look at; not in report.json.
        command: what repeats this report.
        configuration: hash of the recipe, its settings and the records; the same for runs that differ by seed only.
        environment: machine, threads and backend.
        versions: of the libraries.
        model_digest: SHA-256 of the model's file in hexadecimal digits; "" where it is no single file.
        records_fingerprint: that of the records that it was evaluated on; "" in a report of an older version.
    """

    model: str
    records: str
    split: str
    n_pairs: int
    n_sources: int
    level: str
    verdict: list[str]
    metrics: list[MetricInfo]
    contenders: list[ContenderScores]
    gains: list[Gain]
    leak: Leak
    retrieval: Retrieval | None
    labels: LabelAccuracy | None
    factors: list[FactorRecovery]
    measures: list[MeasureResult]
    skipped: dict[str, str]
    paper: dict[str, tuple[float, float]] | None
    notes: list[str]
    held_out: HeldOut
    examples: list[Example]
    command: str
    configuration: str
    environment: dict[str, str]
    versions: dict[str, str]
    model_digest: str = ""
    records_fingerprint: str = ""

    def contender(self, id: str) -> ContenderScores | None:
        """The scores of the contender with this id, if it was scored."""
        return next((scores for scores in self.contenders if scores.id == id), None)

    def gain(self, against: str, metric: str = "ssim") -> Gain | None:
        """The gain over the contender with this id, if there is one."""
        return next((gain for gain in self.gains if (gain.against, gain.metric) == (against, metric)), None)

    def measure(self, id: str) -> MeasureResult | None:
        """The result of the measure with this id, if it was computed."""
        return next((result for result in self.measures if result.id == id), None)

    def pairs(self) -> "pd.DataFrame":
        """One row per held-out pair.

        Returns:
            The columns id, label, source, time, each metric of the model by its id, `rank` (of the pair's own target
            among all held-out ones, 1 is the best) and, where there are labels, `named` (the label that a probe
            predicts from the generated image). `report.pairs().sort_values("ssim")` puts the worst first.
        """
        import pandas as pd

        held_out, model = self.held_out, self.contenders[0]
        columns: dict[str, Any] = {
            "id": held_out.ids,
            "label": held_out.labels,
            "source": held_out.sources,
            "time": held_out.times,
            **model.values,
            "rank": held_out.ranks,
        }
        if self.labels is not None:
            columns["named"] = [self.labels.named[id] for id in held_out.ids]
        return pd.DataFrame(columns)

    def confusion(self) -> "pd.DataFrame | None":
        """How often each label (rows) was predicted as each (columns) from generated images; None without labels."""
        if self.labels is None or not self.labels.named:
            return None
        import pandas as pd

        named = [self.labels.named[id] for id in self.held_out.ids]
        names = sorted({*self.held_out.labels, *named})
        table = pd.crosstab(pd.Series(self.held_out.labels, name="label"), pd.Series(named, name="predicted"))
        return table.reindex(index=names, columns=names, fill_value=0)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images, as JSON holds it."""
        values = dataclasses.asdict(dataclasses.replace(self, examples=[]))
        del values["examples"]
        values["leak"]["share"] = self.leak.share
        return values | {"schema_version": SCHEMA_VERSION}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds a report, without its examples, from `to_dict`'s output.

        Raises:
            ModelError: if it is no report of this version.
        """
        try:
            values = dict(values)
            version = values.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise ModelError(
                    f"A report must have schema version {SCHEMA_VERSION}. Received: {version}. Evaluate the model again"
                )
            values["leak"] = Leak(**{k: v for k, v in values["leak"].items() if k != "share"})
            single: dict[str, Any] = {"retrieval": Retrieval, "labels": LabelAccuracy, "held_out": HeldOut}
            for name, kind in single.items():
                values[name] = kind(**values[name]) if values[name] is not None else None
            values["gains"] = [
                Gain(**gain | {"intervals": [Interval(**interval) for interval in gain["intervals"]]})
                for gain in values["gains"]
            ]
            lists: dict[str, Any] = {
                "metrics": MetricInfo,
                "contenders": ContenderScores,
                "factors": FactorRecovery,
                "measures": MeasureResult,
            }
            for name, kind in lists.items():
                values[name] = [kind(**entry) for entry in values[name]]
            if values["paper"] is not None:
                values["paper"] = {name: (published, here) for name, (published, here) in values["paper"].items()}
            return cls(**values, examples=[])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(
                f"A report must be one of this version. Received: {error!r}. Evaluate the model again"
            ) from error
