"""Verdicts on constructed cases: by effect size and by what is recognised, not by significance alone."""

import pytest

from keras_a2i.evaluation.report_data import (
    ContenderScores,
    Gain,
    Interval,
    LabelAccuracy,
    Leak,
    MeasureResult,
    Retrieval,
)
from keras_a2i.evaluation.verdict import LEVELS, judge


def contender(id, kind, ssim):
    return ContenderScores(id=id, title=id, kind=kind, explanation="", means={"ssim": ssim}, values={})


def gain(against, mean, half=0.01):
    p_value = 0.0005 if abs(mean) > half else 0.4
    interval = Interval(over="sources", n=20, low=mean - half, high=mean + half, p_value=p_value)
    return Gain(against=against, metric="ssim", mean=mean, intervals=[interval])


def verdict(
    *,
    over_shuffled=0.0,
    over_baseline=0.05,
    half=0.01,
    ceiling=0.7,
    labels=None,
    real_labels=0.95,
    r1=None,
    source=None,
    memorisation=None,
    leak=0,
    rival=None,
):
    contenders = [
        contender("model", "model", 0.4),
        contender("shuffled", "control", 0.4 - over_shuffled),
        contender("source-mean", "baseline", 0.4 - over_baseline),
        contender("nearest-audio", "audio-baseline", 0.4),
        contender("principal-components", "ceiling", ceiling),
    ]
    gains = [gain("source-mean", over_baseline), gain("shuffled", over_shuffled, half)]
    gains += [gain("nearest-audio", rival)] if rival is not None else []
    measures = []
    for id, value, reference in (("own-source", source, 0.1), ("memorisation", memorisation, 1.0)):
        if value is not None:
            measures.append(
                MeasureResult(
                    id=id, title=id, better="higher", value=value, reference=reference, explanation="by a probe"
                )
            )
    if labels is not None:
        labels = LabelAccuracy(generated=labels, shuffled=0.1, real=real_labels, most_frequent=0.1, by_label={})
    level, sentences = judge(
        contenders,
        gains,
        leak=Leak(within=2.0, count=leak, total=100),
        n_independent=200,
        labels=labels,
        retrieval=None if r1 is None else Retrieval(r1=r1, r5=r1, chance_r1=0.022, chance_r5=0.11),
        measures=measures,
    )
    return level, " ".join(sentences)


def test_small_gain_with_labels_at_chance_is_no_success_for_any_seed():
    # Two seeds of one recipe: a gain of 0.004, significant for one of them, and labels at chance for both.
    significant, _ = verdict(over_shuffled=0.004, half=0.002, labels=0.11)
    insignificant, words = verdict(over_shuffled=0.004, half=0.01, labels=0.1)
    assert significant == insignificant == "not"
    assert words.startswith("The images don't follow the audio")


def test_probe_that_is_wrong_about_real_images_judges_nothing():
    for labels in (0.1, 0.8):
        level, words = verdict(over_shuffled=0.1, labels=labels, real_labels=0.1)
        assert level == "follows" and "right label" not in words


def test_retrieval_far_above_chance_is_evidence_whatever_ssim():
    # "Adds nothing" stood above R@1 19.6 % (chance 2.2).
    level, words = verdict(over_shuffled=0.0, r1=0.196)
    assert level == "follows"
    assert (
        "For 19.6 % of the generated images, the real image of the same pair is the nearest of all held-out images "
        "(recall@1; chance 2.2 %)." in words
    )


@pytest.mark.parametrize(
    ("case", "level"),
    [
        ({"over_shuffled": 0.1}, "follows"),
        ({"labels": 0.8}, "follows"),
        ({"source": 0.7}, "follows"),
        ({"over_shuffled": 0.02}, "barely"),
        ({"labels": 0.2}, "barely"),
        ({"r1": 0.03}, "not"),
        ({"over_shuffled": 0.1, "half": 0.2}, "not"),
        ({"over_shuffled": -0.1}, "not"),
        ({}, "not"),
        ({"over_shuffled": 0.1, "labels": 0.1}, "follows-but"),
        ({"over_shuffled": 0.1, "over_baseline": -0.02}, "follows-but"),
        ({"over_shuffled": 0.1, "over_baseline": 0.001}, "follows-but"),
        ({"over_shuffled": 0.1, "memorisation": 0.01}, "follows-but"),
        ({"over_shuffled": 0.1, "memorisation": 0.9}, "follows"),
        ({"over_shuffled": 0.1, "rival": -0.05}, "follows-but"),
        ({"over_shuffled": 0.1, "rival": 0.05}, "follows"),
        ({"over_shuffled": 0.1, "leak": 40}, "leak"),
        ({"leak": 40}, "leak"),
        ({"over_shuffled": 0.1, "leak": 4}, "follows"),
    ],
)
def test_level_goes_by_effect_size_and_by_what_is_recognised(case, level):
    assert verdict(**case)[0] == level
    assert level in LEVELS


def test_sentences_give_the_reasons():
    assert "but they don't show the right label" in verdict(over_shuffled=0.1, labels=0.1)[1]
    worse = verdict(labels=0.8, over_baseline=-0.1)[1]
    assert "the model isn't significantly better than the baseline 'source-mean', which receives no audio" in worse
    assert "may only have learned to recognise sources" in worse
    assert "copies of training images (memorisation ratio 0.01" in verdict(labels=0.8, memorisation=0.01)[1]
    assert "80 % of the generated images (95 % of real ones; 10 % with shuffled audio" in verdict(labels=0.8)[1]
    words = verdict(over_shuffled=0.1)[1]
    assert "is +0.100, 95 % interval [+0.090, +0.110], p < 0.001: 25 % of the gap" in words
    leak = verdict(leak=40)[1]
    assert leak.startswith("These scores can't be trusted") and "'block' or 'source'" in leak


def test_identical_images_for_all_audio_are_named():
    level, words = verdict(over_shuffled=0.0, half=0.0)
    assert level == "not" and words.startswith("The model ignores the audio: other audio leads to the same images.")
