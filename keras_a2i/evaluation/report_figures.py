"""Which plots a report shows, with what they show in words."""

import math
from collections.abc import Sequence

import numpy as np

from keras_a2i.counts import counted
from keras_a2i.evaluation import report_plots as plots
from keras_a2i.evaluation.contenders import SHUFFLED
from keras_a2i.evaluation.report_blocks import Figure
from keras_a2i.evaluation.report_data import HEADLINE, ContenderScores, MetricInfo, ReportData
from keras_a2i.evaluation.report_format import BETTER, distance, percent, signed


def gain_figure(report: ReportData) -> Figure:
    """The gains with their widest intervals."""
    titles = {contender.id: contender.title for contender in report.contenders}
    metrics = {metric.id: metric.title for metric in report.metrics}
    words = "; ".join(
        f"{titles.get(gain.against, gain.against)}, {metrics.get(gain.metric, gain.metric)}: {signed(gain.mean, 3)}"
        for gain in report.gains
    )
    return Figure(
        f"Gains of the model over controls and baselines. {words}",
        "Dot: mean gain. Line: the widest of its 95 % intervals.",
        lambda: plots.plot_gains(report.gains, titles, metrics),
    )


def distribution_figures(report: ReportData) -> list[Figure]:
    """Scores pair by pair: the model, the best baseline and shuffled audio; none where there is nothing to compare."""
    metric = next((m for m in report.metrics if m.id == HEADLINE), None)
    metric = metric or next((m for m in report.metrics if not m.degenerate), None)
    model = next((c for c in report.contenders if c.kind == "model"), None)
    if metric is None or model is None or not model.values.get(metric.id):
        return []
    baselines = [c for c in report.contenders if c.kind == "baseline" and math.isfinite(_mean(c, metric))]
    best = min(baselines, key=lambda c: distance(_mean(c, metric), metric.better), default=None)
    n = len(model.values[metric.id])
    others = [c for c in (best, report.contender(SHUFFLED)) if c and len(c.values.get(metric.id, [])) == n]
    scores = np.array([contender.values[metric.id] for contender in [model, *others]], dtype=np.float64)
    scores = scores[:, np.isfinite(scores).all(axis=0)]
    return _distributions(metric, [model, *others], scores) if scores.size else []


def _distributions(metric: MetricInfo, shown: Sequence[ContenderScores], scores: np.ndarray) -> list[Figure]:
    kinds = {contender.title: contender.kind for contender in shown}
    named, title = dict(zip(kinds, scores, strict=True)), metric.title
    figures = [
        Figure(
            f"Distribution of {title} over pairs",
            f"Cumulative distribution of {title} over the pairs. Curves that coincide show no difference.",
            lambda: plots.plot_distributions(named, kinds, f"{title} of a pair ({BETTER[metric.better]})"),
        )
    ]
    if len(shown) == 1:
        return figures
    away = {"higher": -scores, "lower": scores, "one": np.abs(scores - 1)}[metric.better]
    gains = dict(zip([contender.title for contender in shown[1:]], away[1:] - away[0], strict=True))
    wins = [f"than {name} in {(gain > 0).sum():,} of {counted(len(gain), 'pair')}" for name, gain in gains.items()]
    words = f"The model is better {', and '.join(wins)}."
    figures.append(
        Figure(
            f"Histogram of gains. {words}",
            words,
            lambda: plots.plot_differences(gains, kinds, f"gain in {title} of a pair (right: model better)"),
        )
    )
    side = "below" if metric.better == "lower" else "above"
    words = f"One dot per pair. The model is better {side} the dashed line."
    words = "One dot per pair. Both scores are equal on the dashed line." if metric.better == "one" else words
    axes = f"{title} of {shown[1].title}", f"{title} of the model"
    figures.append(
        Figure(
            f"Scatter of {title}, the model against {shown[1].title}. {words}",
            words,
            lambda: plots.plot_scatter(scores[1], scores[0], *axes),
        )
    )
    return figures


def label_figure(report: ReportData) -> Figure:
    """Accuracy by label, the highest and the lowest where there are many."""
    labels = report.labels
    assert labels is not None
    ranked = sorted(labels.by_label.items(), key=lambda item: (-item[1], item[0]))
    shown, note = ranked, ""
    if len(ranked) > plots.MAX_BARS:
        half = plots.MAX_BARS // 2
        shown = ranked[:half] + ranked[-half:]
        note = f" Of {len(ranked)} labels the {half} highest and the {half} lowest are shown."
    marks = {
        "shuffled audio": ("control", labels.shuffled),
        "most frequent label": ("baseline", labels.most_frequent),
        "real images": ("ceiling", labels.real),
    }
    series = {"generated images": ("model", [value for _, value in shown])}
    return Figure(
        "Accuracy by label. " + "; ".join(f"{name}: {percent(value)}" for name, value in shown),
        f"Accuracy of the probe by label. The lines are means over all labels.{note}",
        lambda: plots.plot_bars([name for name, _ in shown], series, "accuracy", marks),
    )


def factor_figure(report: ReportData) -> Figure:
    """How well each hidden factor is read from generated and from real images."""
    names = [f"{factor.name} ({factor.measure})" for factor in report.factors]
    series = {
        "generated images": ("model", [factor.generated for factor in report.factors]),
        "real images": ("ceiling", [factor.real for factor in report.factors]),
    }
    alt = "Recovery of hidden factors from generated and from real images; the table holds the values."
    return Figure(
        alt, "Hidden factors, predicted by a probe.", lambda: plots.plot_bars(names, series, "accuracy or R2")
    )


def _mean(contender: ContenderScores, metric: MetricInfo) -> float:
    return contender.means.get(metric.id, math.nan)
