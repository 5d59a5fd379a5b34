"""`MEASURES`: one object for each measure of a report, and what a measure can use.

A measure is added by a function with the decorator `measure` in a module that `evaluate` imports.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from keras_a2i.errors import UsageError, did_you_mean
from keras_a2i.evaluation.contenders import PredictFn
from keras_a2i.evaluation.pairs import Pairs, Rows, thumbnails_of
from keras_a2i.evaluation.probes import FactorProbe, LabelProbe
from keras_a2i.evaluation.report_data import MeasureResult
from keras_a2i.media.audio_folder import FolderClips

N_SAMPLES = 8
NOT_GIVEN = "it isn't among the measures of this evaluation"
_MAX_IN_FLOAT32 = 5000
T = TypeVar("T")
SampleFn = Callable[[np.ndarray, int, int], np.ndarray]
"""(inputs (n, n_inputs), samples per input, seed) -> images (n, samples, size, size, channels) in [-1, 1]."""
EmbedFn = Callable[[np.ndarray], np.ndarray]
"""Inputs or images (n, ...) -> unit vectors (n, d)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What measures are computed from.

    Attributes:
        train, held_out: the pairs.
        generated, shuffled: images from the pairs' own and from shuffled audio, float32 in [-1, 1], by row number.
        predict_fn: the model.
        seed: of galleries, samples and networks.
        labels, factors: probes of real training images, where there are labels or factors.
        to_inputs: waveforms to the model's inputs.
        sample: for a model that generates several images of one audio.
        n_samples: images per audio.
        embedders: of inputs and of images into one space, for a model that aligned them.
        foreign: clips of foreign audio; None for rendered ones.
        classify: inputs to logits of labels, for a model that classifies.
        classes: names of these labels.
        donors: the row whose audio each pair receives in `shuffled`; None for those of `shuffled_rows`.
        cache: what several measures share, see `shared`.
    """

    train: Pairs
    held_out: Pairs
    generated: Rows
    shuffled: Rows
    predict_fn: PredictFn
    seed: int = 0
    labels: LabelProbe | None = None
    factors: FactorProbe | None = None
    to_inputs: PredictFn | None = None
    sample: SampleFn | None = None
    n_samples: int = N_SAMPLES
    embedders: tuple[EmbedFn, EmbedFn] | None = None
    foreign: FolderClips | None = None
    classify: PredictFn | None = None
    classes: tuple[str, ...] = ()
    donors: np.ndarray | None = None
    cache: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    @functools.cached_property
    def generated_thumbnails(self) -> np.ndarray:
        """Thumbnails of the generated images (n, size, size, channels), float32; float16 of more than 5,000."""
        return thumbnails_of(self.generated, dtype=_thumbnail_dtype(self.generated))

    @functools.cached_property
    def real_thumbnails(self) -> np.ndarray:
        """Thumbnails of the real held-out images."""
        return thumbnails_of(self.held_out.images, dtype=_thumbnail_dtype(self.held_out.images))


def _thumbnail_dtype(images: Rows) -> type:
    """Returns half precision, in steps of a sixteenth of a grey level or less, for many images."""
    return np.float16 if len(images) > _MAX_IN_FLOAT32 else np.float32


@dataclasses.dataclass(frozen=True)
class Value:
    """What a measure's function returns.

    Attributes:
        value: of the model.
        reference: what to compare it with.
        explanation: in a few words.
        title: in place of the measure's own, where it depends on the pairs.
    """

    value: float | np.floating
    reference: float | np.floating
    explanation: str
    title: str = ""


MeasureFn = Callable[[Evidence], Value | str]


@dataclasses.dataclass(frozen=True)
class Measure:
    """One way in which the images respond to the audio, or are like real ones.

    Attributes:
        id: what it is found by.
        title: for tables.
        better: "higher", "lower" or "one".
        function: evidence to a `Value`, or to the reason why there is none.
    """

    id: str
    title: str
    better: str
    function: MeasureFn


MEASURES: dict[str, Measure] = {}


def measure(id: str, title: str, better: str = "higher") -> Callable[[MeasureFn], MeasureFn]:
    """Registers a function as a measure; the arguments are those of `Measure`."""

    def register(function: MeasureFn) -> MeasureFn:
        MEASURES[id] = Measure(id, title, better, function)
        return function

    return register


def shared(function: Callable[[Evidence], T]) -> Callable[[Evidence], T]:
    """Decorates what several measures use: it is computed once for each evidence."""

    @functools.wraps(function)
    def once(evidence: Evidence) -> T:
        if function.__name__ not in evidence.cache:
            evidence.cache[function.__name__] = function(evidence)
        return evidence.cache[function.__name__]

    return once


def check_measures(ids: Sequence[str] | None) -> None:
    """Raises a UsageError unless these are ids of `MEASURES`, or None."""
    if isinstance(ids, str):
        raise UsageError(f"measures must be a list of ids, or None. Received: measures={ids!r}. Pass [{ids!r}]")
    for id in ids or ():
        if id not in MEASURES:
            hint = did_you_mean(str(id), MEASURES, "Pass ids from this list")
            raise UsageError(f"Each of measures must be one of {', '.join(MEASURES)}. Received: {id!r}. {hint}")


def compute_measures(
    evidence: Evidence, ids: Sequence[str] | None = None, progress: Callable[[str], None] | None = None
) -> tuple[list[MeasureResult], dict[str, str]]:
    """Computes measures in the order of `MEASURES`.

    Args:
        evidence: what they are computed from.
        ids: those to compute; None is all.
        progress: called with a description of every measure before it is computed.

    Returns:
        The results, and id -> reason for those that were left out.
    """
    results, skipped = [], {}
    for entry in MEASURES.values():
        if ids is not None and entry.id not in ids:
            skipped[entry.id] = NOT_GIVEN
            continue
        if progress:
            progress(f"measuring: {entry.title}")
        found = entry.function(evidence)
        if isinstance(found, str):
            skipped[entry.id] = found
            continue
        results.append(
            MeasureResult(
                id=entry.id,
                title=found.title or entry.title,
                better=entry.better,
                value=float(found.value),
                reference=float(found.reference),
                explanation=found.explanation,
            )
        )
    return results, skipped
