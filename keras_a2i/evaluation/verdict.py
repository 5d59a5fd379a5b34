"""What the figures mean, in words."""

from keras_a2i.evaluation.report_data import Gain, LabelAccuracy, Leak, PredictorScores

SIGNIFICANT = 0.05
LEAK_SHARE = 0.05


def judge(
    gains: list[Gain], leak: Leak, predictors: list[PredictorScores], labels: LabelAccuracy | None
) -> tuple[str, list[str]]:
    """Says what a reader should take away.

    Args:
        gains: of SSIM over shuffled sounds and over the best baseline, found by their `against`.
        leak: between the splits.
        predictors: all that were scored.
        labels: label accuracies, or None.

    Returns:
        The level ("good", "nothing", "leak") and sentences, the most important first.
    """
    shuffled = next(gain for gain in gains if gain.against == "sounds shuffled")
    names = {predictor.name for predictor in predictors if predictor.kind == "baseline"}
    best = next(gain for gain in gains if gain.against in names)
    hears = shuffled.mean > 0 and shuffled.p_value < SIGNIFICANT
    beats = best.mean > 0 and best.p_value < SIGNIFICANT
    if shuffled.mean == 0 and shuffled.low == 0 and shuffled.high == 0:
        sentences = ["The model ignores the sound: with other sounds it draws the same pictures."]
    elif not hears:
        sentences = [f"The sound adds nothing that can be told from chance: {_figures(shuffled)} over shuffled sounds."]
    elif not beats:
        sentences = [
            f"The model hears something ({_figures(shuffled)} over shuffled sounds), but a predictor that hears "
            f"nothing does at least as well: '{best.against}' ({_figures(best)}). {_what_it_hears(best.against)}"
        ]
    else:
        sentences = [
            f"The pictures follow the sound: {_figures(shuffled)} over shuffled sounds, and {_figures(best)} over the "
            f"best predictor that hears nothing ('{best.against}')."
        ]
    rival = next((gain for gain in gains if gain.against == "nearest sound"), None)
    if hears and rival is not None and rival.mean < 0 and rival.p_value < SIGNIFICANT:
        sentences.append(
            f"Showing the training picture of the nearest training sound, without any model, scores better: "
            f"{_figures(rival)}."
        )
    if labels is not None:
        sentences.append(
            f"A classifier of real pictures names {labels.generated:.0%} of the generated ones rightly "
            f"({labels.real:.0%} of real ones; {labels.shuffled:.0%} with sounds shuffled; "
            f"{labels.most_frequent:.0%} by naming the most frequent label)."
        )
    level = "good" if hears and beats else "nothing"
    if leak.share > LEAK_SHARE:
        level = "leak"
        sentences.insert(
            0,
            f"These scores can't be trusted to hold for new sound: {leak.share:.0%} of the held-out pairs have a "
            f"training pair of the same source within {leak.within:g} s, so that remembering is enough. Build the "
            "records with --split block or --split source.",
        )
    return level, sentences


def _figures(gain: Gain) -> str:
    p_value = "p < 0.001" if gain.p_value < 0.001 else f"p = {gain.p_value:.3f}"
    return f"SSIM {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], {p_value}"


def _what_it_hears(baseline: str) -> str:
    if baseline == "source mean":
        return "The sound adds nothing beyond which source it is."
    return "Sharper or more fitting pictures are needed before these scores mean much."
