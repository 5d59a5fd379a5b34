"""What the figures mean: a level by effect size and by what is recognised, and sentences that give the reasons.

Significance alone decides nothing: with many pairs a gain that nobody can see is significant, and the same recipe with
another seed isn't. Each piece of evidence is measured on a scale from 0 (chance, or shuffled audio) to 1 (what can be
reached: real images, or the linear ceiling) and graded by its size.
"""

import dataclasses
import math
from collections.abc import Sequence

from keras_a2i.evaluation.contenders import SHUFFLED
from keras_a2i.evaluation.report_data import (
    HEADLINE,
    ContenderScores,
    Gain,
    LabelAccuracy,
    Leak,
    MeasureResult,
    Retrieval,
)
from keras_a2i.evaluation.report_format import percent

SIGNIFICANT = 0.05
LEAK_SHARE = 0.05
WEAK, STRONG = 0.03, 0.2
"""Shares of what can be reached from which on evidence is weak, and strong."""
COPIES = 0.1
"""Memorisation ratio below which the images are copies of training images."""
_Z = 1.96


@dataclasses.dataclass(frozen=True)
class Level:
    """One level of a verdict: its id, a mark, a heading and the tone in which it is shown."""

    id: str
    mark: str
    heading: str
    tone: str


LEVELS = {
    level.id: level
    for level in (
        Level("follows", "✓", "The images follow the audio", "good"),
        Level("follows-but", "◐", "The images follow the audio, but ...", "mixed"),
        Level("barely", "○", "The images barely follow the audio", "weak"),
        Level("not", "✗", "The images don't follow the audio", "weak"),
        Level("leak", "✗", "These scores can't be trusted", "bad"),
    )
}
"""The four levels of a verdict, and "leak": no verdict, because held-out pairs leak from training."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One piece of evidence that the images follow the audio.

    Attributes:
        id: "labels", "sources", "retrieval" or "similarity".
        share: from 0 (chance) to 1 (what can be reached).
        significant: whether chance is ruled out.
        sentence: the figures.
    """

    id: str
    share: float
    significant: bool
    sentence: str

    @property
    def strength(self) -> int:
        """2 for strong evidence, 1 for weak, 0 for none."""
        if not self.significant or self.share < WEAK:
            return 0
        return 2 if self.share >= STRONG else 1


def judge(
    contenders: Sequence[ContenderScores],
    gains: Sequence[Gain],
    *,
    leak: Leak,
    n_independent: int,
    labels: LabelAccuracy | None = None,
    retrieval: Retrieval | None = None,
    measures: Sequence[MeasureResult] = (),
) -> tuple[str, list[str]]:
    """Decides what a reader should conclude.

    Args:
        contenders: all scores, the model first.
        gains: over shuffled audio and over baselines.
        leak: between the splits.
        n_independent: number of held-out pairs, of neighbours that resemble each other one.
        labels: label accuracies, where there are labels.
        retrieval: whether generated images find their targets.
        measures: results; "own-source" and "memorisation" are used.

    Returns:
        The id of a level and sentences, the most important first. "follows": strong evidence, and nothing against it;
        "follows-but": strong evidence beside something that limits it; "barely": weak evidence only; "not": none;
        "leak": the held-out pairs leak from training, so that remembering is enough.
    """
    by_id = {result.id: result for result in measures}
    findings = [
        *_labels(labels, n_independent),
        *_sources(by_id.get("own-source"), n_independent),
        *_retrieval(retrieval, n_independent),
        *_similarity(contenders, gains),
    ]
    strength = max((finding.strength for finding in findings), default=0)
    limits = _limits(contenders, gains, by_id.get("memorisation"), findings)
    if _is_constant(gains):
        level, sentences = "not", ["The model ignores the audio: other audio leads to the same images."]
    elif strength == 2:
        level = "follows-but" if limits else "follows"
        sentences = ["The images follow the audio" + (f", but {limits[0]}." if limits else ".")]
        sentences += [f"Also, {limit}." for limit in limits[1:]]
    elif strength == 1:
        level, sentences = "barely", ["The images barely follow the audio: there is an effect, but a small one."]
    else:
        level = "not"
        sentences = ["The images don't follow the audio: no effect is both large enough to matter and above chance."]
    sentences += [finding.sentence for finding in sorted(findings, key=lambda finding: -finding.strength)]
    if leak.share > LEAK_SHARE:
        level = "leak"
        sentences.insert(
            0,
            f"These scores can't be trusted to hold for new audio: {percent(leak.share, 0)} of the held-out pairs have "
            f"a training pair of the same source within {leak.within:g} s, so a model that memorises training pairs "
            "scores well. Build the records with the split 'block' or 'source'.",
        )
    return level, sentences


def _labels(labels: LabelAccuracy | None, n: int) -> list[Finding]:
    # A probe that can't tell the labels of real images apart judges nothing.
    if labels is None or labels.real <= labels.most_frequent:
        return []
    chance = max(labels.shuffled, labels.most_frequent)
    return [
        Finding(
            "labels",
            _share(labels.generated, chance, labels.real),
            _above(labels.generated, chance, n),
            "A probe (a classifier trained on real images) predicts the right label for "
            f"{percent(labels.generated, 0)} of the generated images ({percent(labels.real, 0)} of real ones; "
            f"{percent(labels.shuffled, 0)} with shuffled audio; {percent(labels.most_frequent, 0)} by always "
            "predicting the most frequent label).",
        )
    ]


def _sources(result: MeasureResult | None, n: int) -> list[Finding]:
    if result is None:
        return []
    return [
        Finding(
            "sources",
            _share(result.value, result.reference, 1.0),
            _above(result.value, result.reference, n),
            f"A {result.explanation.partition(';')[0]} predicts the source of the audio for "
            f"{percent(result.value, 0)} of the generated images ({percent(result.reference, 0)} with shuffled audio).",
        )
    ]


def _retrieval(found: Retrieval | None, n: int) -> list[Finding]:
    if found is None:
        return []
    return [
        Finding(
            "retrieval",
            # On a scale of ratios: among many images ten times chance is much, though few are found.
            math.log(max(found.r1, found.chance_r1) / found.chance_r1) / math.log(max(2.0, 1 / found.chance_r1)),
            _above(found.r1, found.chance_r1, n),
            f"For {percent(found.r1, 1)} of the generated images, the real image of the same pair is the nearest "
            f"of all held-out images (recall@1; chance {percent(found.chance_r1, 1)}).",
        )
    ]


def _similarity(contenders: Sequence[ContenderScores], gains: Sequence[Gain]) -> list[Finding]:
    gain = _gain(gains, SHUFFLED)
    if gain is None:
        return []
    ceilings = [c.means[HEADLINE] for c in contenders if c.kind == "ceiling" and HEADLINE in c.means]
    below = contenders[0].means[HEADLINE] - gain.mean
    share = _share(contenders[0].means[HEADLINE], below, max([*ceilings, contenders[0].means[HEADLINE]]))
    return [
        Finding(
            "similarity",
            share,
            gain.mean > 0 and gain.widest.p_value < SIGNIFICANT,
            f"The model's SSIM with the right audio minus that with shuffled audio is {_figures(gain)}: "
            f"{percent(max(share, 0), 0)} of the gap between shuffled audio and the highest ceiling (an image that is "
            "computed from the target).",
        )
    ]


def _limits(
    contenders: Sequence[ContenderScores],
    gains: Sequence[Gain],
    memorisation: MeasureResult | None,
    findings: Sequence[Finding],
) -> list[str]:
    """What limits a model whose images follow the audio, as clauses."""
    limits = []
    if any(finding.id == "labels" and not finding.strength for finding in findings):
        limits.append("they don't show the right label: the accuracy of the probe isn't above chance")
    if memorisation is not None and memorisation.value < COPIES:
        limits.append(
            f"they are copies of training images (memorisation ratio {memorisation.value:.2f}; real held-out images "
            f"{memorisation.reference:.2f})"
        )
    rivals = [(gain, c) for c in contenders if c.kind == "baseline" and (gain := _gain(gains, c.id))]
    gain, best = min(rivals, key=lambda rival: rival[0].mean, default=(None, None))
    if gain and best and (gain.mean <= 0 or gain.widest.p_value >= SIGNIFICANT):
        only = "; the model may only have learned to recognise sources" if best.id == "source-mean" else ""
        limits.append(
            f"the model isn't significantly better than the baseline '{best.title}', which receives no audio "
            f"(difference in SSIM {_figures(gain)}{only})"
        )
    for rival in contenders:
        gain = _gain(gains, rival.id) if rival.kind == "audio-baseline" else None
        if gain and gain.mean < 0 and gain.widest.p_value < SIGNIFICANT:
            limits.append(
                f"the model is significantly worse than the baseline '{rival.title}', which needs no training "
                f"(difference in SSIM {_figures(gain)})"
            )
    return limits


def _is_constant(gains: Sequence[Gain]) -> bool:
    gain = _gain(gains, SHUFFLED)
    return gain is not None and gain.mean == 0 and all(i.low == i.high == 0 for i in gain.intervals)


def _gain(gains: Sequence[Gain], against: str) -> Gain | None:
    return next((gain for gain in gains if (gain.against, gain.metric) == (against, HEADLINE)), None)


def _share(value: float, chance: float, reached: float) -> float:
    """Where a value lies from chance (0) to what can be reached (1)."""
    return (value - chance) / (reached - chance) if reached > chance else 0.0


def _above(value: float, chance: float, n: int) -> bool:
    """Whether a share of n pairs is above chance by more than two of its standard errors."""
    spread = max(value * (1 - value), 1 / n * (1 - 1 / n))
    return value - chance > _Z * math.sqrt(spread / n)


def _figures(gain: Gain) -> str:
    interval = gain.widest
    p_value = "p < 0.001" if interval.p_value < 0.001 else f"p = {interval.p_value:.3f}"
    return f"{gain.mean:+.3f}, 95 % interval [{interval.low:+.3f}, {interval.high:+.3f}], {p_value}"
