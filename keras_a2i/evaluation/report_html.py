"""The report of an evaluation as one HTML page that needs nothing from the network."""

import importlib.resources
import math
import pathlib
import string
from collections.abc import Sequence

import numpy as np

from keras_a2i.evaluation import report_plots as plots
from keras_a2i.evaluation.report_data import Gain, MetricInfo, PredictorScores, Report
from keras_a2i.evaluation.report_examples import example_sections
from keras_a2i.evaluation.report_format import decimals_for, escaped, number, percent, signed, table_of

_LEVELS = {
    "good": ("good", "✓ The pictures follow the sound"),
    "nothing": ("nothing", "○ The sound adds nothing"),
    "leak": ("leak-level", "✗ These scores can't be trusted"),
}
_KINDS = {
    "model": "Model",
    "control": "Control: the model with sounds taken away",
    "baseline": "Baseline: no sound at all",
    "sound baseline": "Sound baseline: sound, but no model",
    "ceiling": "Ceiling: what could be reached",
}
_BETTER = {"higher": "↑ higher is better", "lower": "↓ lower is better", "one": "→ 1 is best"}


def write_html(report: Report, path: pathlib.Path) -> None:
    """Writes report.html, whole or not at all; the same report gives the same bytes.

    Args:
        report: what an evaluation found.
        path: the file to write; its folder exists.
    """
    page = render_html(report)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(page, encoding="utf-8", newline="\n")
    temporary.replace(path)


def render_html(report: Report) -> str:
    """The page as text: styles, plots (SVG) and pictures (PNG) are all inside."""
    sections = {
        "Headline gains": _gains(report),
        "All predictors": _predictors(report),
        "Pair by pair": _distributions(report),
        "Retrieval": _retrieval(report),
        "LabelCrossentropy": _labels(report),
        "Hidden factors": _factors(report),
        "Answers to the sound": _measures(report),
        "The paper's figures": _paper(report),
        **example_sections(report.examples),
        "How each metric is computed": _conventions(report),
        "Notes": _list(report.notes),
        "Get this report again": _again(report),
    }
    sections = {title: body for title, body in sections.items() if body}
    ids = {title: f"part-{i}" for i, title in enumerate(sections, 1)}
    links = "".join(f'<a href="#{ids[title]}">{escaped(title)}</a>' for title in sections)
    parts = [_header(report), _verdict(report), _leak(report), f'<nav aria-label="Parts of this report">{links}</nav>']
    parts += [
        f'<section id="{ids[title]}" aria-labelledby="{ids[title]}-title">'
        f'<h2 id="{ids[title]}-title">{escaped(title)}</h2>\n{body}</section>'
        for title, body in sections.items()
    ]
    template = importlib.resources.files("keras_a2i.evaluation").joinpath("report_template.html")
    return string.Template(template.read_text(encoding="utf-8")).substitute(
        title=escaped(f"Evaluation of {report.model}"), body="\n".join(part for part in parts if part)
    )


def _header(report: Report) -> str:
    facts = {
        "Records": report.records,
        "Split": report.split,
        "Held-out pairs": f"{report.n_pairs:,}",
        "Sources": f"{report.n_sources:,}",
    }
    items = "".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in facts.items())
    return f'<header><h1>Evaluation of {escaped(report.model)}</h1><dl class="facts">{items}</dl></header>'


def _verdict(report: Report) -> str:
    style, heading = _LEVELS[report.level]
    sentences = "".join(f"<p>{escaped(sentence)}</p>" for sentence in report.verdict)
    return f'<div class="verdict {style}" role="status"><h2>{escaped(heading)}</h2>{sentences}</div>'


def _leak(report: Report) -> str:
    leak = report.leak
    if leak.share <= 0:
        return ""
    return (
        '<div class="leak" role="alert"><h2>Held-out pairs leak from training</h2>'
        f"<p><strong>{leak.count:,} of {leak.total:,} held-out pairs ({percent(leak.share)})</strong> have a training "
        f"pair of the same source within {leak.within:g} seconds. A model can score well on these by remembering. "
        "Build the records with <code>--split block</code> or <code>--split source</code>.</p></div>"
    )


def _gains(report: Report) -> str:
    if not report.gains:
        return ""
    titles = {metric.name: metric.title for metric in report.metrics}
    degenerate = {metric.name for metric in report.metrics if metric.degenerate}
    tiles, rows, words = "", [], []
    for i, gain in enumerate(report.gains):
        against, metric = escaped(gain.against), escaped(titles.get(gain.metric, gain.metric))
        places = decimals_for([0.0, *(v for g in report.gains if g.metric == gain.metric for v in (g.low, g.high))])
        mean = signed(gain.mean, places)
        interval = f"{signed(gain.low, places)} to {signed(gain.high, places)}"
        style, reading = _reading(gain)
        if i < 2:
            p = f"p {_p(gain)}" if _p(gain).startswith("<") else f"p = {_p(gain)}"
            tiles += (
                f'<div class="tile"><strong class="{style}">{mean} <small>{metric}</small></strong>'
                f'<p>over <b>{against}</b></p><p class="muted">95 % interval {interval}, {escaped(p)}</p></div>'
            )
        mark = '<span class="explanation">degenerate: says nothing</span>' if gain.metric in degenerate else ""
        rows.append(
            f'<tr><th scope="row">{against}</th><td>{metric}{mark}</td><td class="number">{mean}</td>'
            f'<td class="number">{interval}</td><td class="number">{escaped(_p(gain))}</td>'
            f'<td class="{style}">{reading}</td></tr>'
        )
        words.append(f"{gain.against}, {titles.get(gain.metric, gain.metric)}: {mean}, {interval}")
    plot = plots.plot_gains(report.gains, titles, f"Gains of the model over other predictors. {'; '.join(words)}")
    caption = "How much better the model is, pair by pair. Positive is better, whatever the metric's direction."
    table = table_of(["Against", "Metric", "#Gain", "#95 % interval", "#p", "The model is"], rows, caption)
    return f'<div class="tiles">{tiles}</div><figure>{plot}</figure>{table}'


def _predictors(report: Report) -> str:
    if not report.predictors or not report.metrics:
        return ""
    head = "".join(_metric_head(metric) for metric in report.metrics)
    best = {metric.name: _best_mean(metric, report.predictors) for metric in report.metrics}
    spans = len(report.metrics) + 1
    body = ""
    for kind, title in _KINDS.items():
        group = [predictor for predictor in report.predictors if predictor.kind == kind]
        if group:
            style = kind.replace(" ", "-")
            body += f'<tbody><tr class="kind"><th scope="rowgroup" colspan="{spans}">'
            body += f'<span class="dot {style}" aria-hidden="true"></span>{escaped(title)}</th></tr>'
            body += "".join(_predictor_row(predictor, report, best) for predictor in group) + "</tbody>"
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Scores of all predictors"><table>'
        "<caption><span>Means over the held-out pairs. Bold: the best that isn't a ceiling.</span></caption>"
        f'<thead><tr><th scope="col">Predictor</th>{head}</tr></thead>{body}</table></div>'
    )


def _metric_head(metric: MetricInfo) -> str:
    style = "number degenerate" if metric.degenerate else "number"
    mark = '<span class="says-nothing">degenerate: says nothing</span>' if metric.degenerate else ""
    better = escaped(_BETTER[metric.better])
    return (
        f'<th scope="col" class="{style}">{escaped(metric.title)}<span class="better-when">{better}</span>{mark}</th>'
    )


def _predictor_row(predictor: PredictorScores, report: Report, best: dict[str, float | None]) -> str:
    cells = ""
    for metric in report.metrics:
        value = predictor.means.get(metric.name)
        is_best = predictor.kind != "ceiling" and value is not None and value == best[metric.name]
        style = "number degenerate" if metric.degenerate else "number best" if is_best else "number"
        decimals = decimals_for(other.means.get(metric.name) for other in report.predictors)
        cells += f'<td class="{style}">{number(value, decimals)}</td>'
    name = f'{escaped(predictor.name)}<span class="explanation">{escaped(predictor.explanation)}</span>'
    return f'<tr><th scope="row">{name}</th>{cells}</tr>'


def _distributions(report: Report) -> str:
    metric = next((m for m in report.metrics if m.name == "ssim"), None)
    metric = metric or next((m for m in report.metrics if not m.degenerate), None)
    model = next((p for p in report.predictors if p.kind == "model"), None)
    if metric is None or model is None or not model.values.get(metric.name):
        return ""
    others = [_best_of("baseline", metric, report.predictors), _best_of("control", metric, report.predictors, "shuffl")]
    rivals = [p for p in others if p and len(p.values.get(metric.name, [])) == len(model.values[metric.name])]
    scores = np.array([predictor.values[metric.name] for predictor in [model, *rivals]], dtype=np.float64)
    scores = scores[:, np.isfinite(scores).all(axis=0)]
    if not scores.size:
        return ""
    kinds = {predictor.name: predictor.kind for predictor in [model, *rivals]}
    title, arrow = metric.title, _BETTER[metric.better]
    curves = plots.plot_distributions(
        dict(zip(kinds, scores, strict=True)),
        kinds,
        f"{title} of a pair ({arrow})",
        f"Distribution of {title} over pairs",
    )
    figures = [(curves, f"Every pair's {title}, sorted. Curves on top of each other: no difference.")]
    if rivals:
        gains = _advantage(scores[0], scores[1:], metric.better)
        named = {predictor.name: gain for predictor, gain in zip(rivals, gains, strict=True)}
        wins = [f"{(gain > 0).sum():,} of {len(gain):,} pairs over {name}" for name, gain in named.items()]
        words = f"The model is better in {'; in '.join(wins)}."
        xlabel = f"gain in {title} of a pair (right: model better)"
        figures.append((plots.plot_differences(named, kinds, xlabel, f"Histogram of gains. {words}"), words))
        side = "below" if metric.better == "lower" else "above"
        words = f"A dot is a pair; {side} the dashed line the model is better."
        words = "A dot is a pair; on the dashed line both are equal." if metric.better == "one" else words
        alt = f"Scatter of {title}, the model against {rivals[0].name}. {words}"
        axes = f"{title} of {rivals[0].name}", f"{title} of the model"
        figures.append((plots.plot_scatter(scores[1], scores[0], *axes, alt), words))
    shown = "".join(f"<figure>{plot}<figcaption>{escaped(words)}</figcaption></figure>" for plot, words in figures)
    return f'<div class="plots">{shown}</div>'


def _retrieval(report: Report) -> str:
    if report.retrieval is None:
        return ""
    r = report.retrieval
    rows = [
        f'<tr><th scope="row">{words}</th>'
        f'<td class="number">{percent(found)}</td><td class="number">{percent(chance)}</td>'
        f'<td class="number">{f"{found / chance:.1f} ×" if chance > 0 else "–"}</td></tr>'
        for words, found, chance in (
            ("own target is the nearest", r.r1, r.chance_r1),
            ("own target is among the five nearest", r.r5, r.chance_r5),
        )
    ]
    caption = "Whether a generated picture finds its own target among all held-out pictures."
    return table_of(["", "#Model", "#Guessing", "#Times guessing"], rows, caption, narrow=True)


def _labels(report: Report) -> str:
    if report.labels is None:
        return ""
    labels = report.labels
    overall = {
        "generated pictures": labels.generated,
        "pictures from shuffled sounds": labels.shuffled,
        "always the most frequent label": labels.most_frequent,
        "real held-out pictures: what can be reached": labels.real,
    }
    rows = [_percent_row(name, value) for name, value in overall.items()]
    caption = "How often a classifier trained on real pictures names the right label."
    table = table_of(["", "#Accuracy"], rows, caption, narrow=True)
    if not labels.by_label:
        return table
    ranked = sorted(labels.by_label.items(), key=lambda item: (-item[1], item[0]))
    shown, note = ranked, ""
    if len(ranked) > plots.MAX_BARS:
        half = plots.MAX_BARS // 2
        shown = ranked[:half] + ranked[-half:]
        note = f" Of {len(ranked)} labels the {half} highest and the {half} lowest are shown."
    plot = plots.plot_bars(
        "labels",
        [name for name, _ in shown],
        {"generated pictures": ("model", [value for _, value in shown])},
        "accuracy",
        "Accuracy by label. " + "; ".join(f"{name}: {percent(value)}" for name, value in shown),
        {
            "shuffled sounds": ("control", labels.shuffled),
            "most frequent label": ("baseline", labels.most_frequent),
            "real pictures": ("ceiling", labels.real),
        },
    )
    words = f"Accuracy by label; lines: over all labels.{note}"
    return f'<div class="beside">{table}<figure>{plot}<figcaption>{words}</figcaption></figure></div>'


def _factors(report: Report) -> str:
    if not report.factors:
        return ""
    rows = [
        f'<tr><th scope="row">{escaped(factor.name)}</th><td>{escaped(factor.measure)}</td>'
        f'<td class="number">{number(factor.generated, 3)}</td><td class="number">{number(factor.real, 3)}</td></tr>'
        for factor in report.factors
    ]
    caption = "How well a reader trained on real pictures reads each hidden factor; 1 is perfect."
    table = table_of(["Factor", "Measure", "#Generated", "#Real"], rows, caption, narrow=True)
    plot = plots.plot_bars(
        "factors",
        [f"{factor.name} ({factor.measure})" for factor in report.factors],
        {
            "generated pictures": ("model", [factor.generated for factor in report.factors]),
            "real pictures": ("ceiling", [factor.real for factor in report.factors]),
        },
        "accuracy or R2",
        "Recovery of hidden factors from generated and from real pictures; the table holds the values.",
    )
    return f'<div class="beside">{table}<figure>{plot}</figure></div>'


def _measures(report: Report) -> str:
    if not report.measures:
        return ""
    rows = [
        f'<tr><th scope="row">{escaped(measure.name)}</th><td class="number">{number(measure.value, 3)}</td>'
        f'<td class="number">{number(measure.beside, 3)}</td><td>{escaped(measure.explanation)}</td></tr>'
        for measure in report.measures
    ]
    caption = "How the pictures answer to the sound. Beside each: chance, shuffled sounds or real pictures."
    return table_of(["Measure", "#Model", "#Beside it", "What it is"], rows, caption)


def _paper(report: Report) -> str:
    if not report.paper:
        return ""
    rows = [
        f'<tr><th scope="row">{escaped(name)}</th><td class="number">{number(published, 4)}</td>'
        f'<td class="number">{number(measured, 4)}</td><td class="number">{signed(measured - published, 4)}</td></tr>'
        for name, (published, measured) in report.paper.items()
    ]
    caption = "Under the paper's own conventions, which differ from those above."
    return table_of(["Figure", "#Published", "#Measured here", "#Difference"], rows, caption, narrow=True)


def _conventions(report: Report) -> str:
    items = "".join(
        f"<dt>{escaped(metric.title)} <span class='muted'>({escaped(_BETTER[metric.better])}"
        f"{'; degenerate: says nothing' if metric.degenerate else ''})</span></dt><dd>{escaped(metric.convention)}</dd>"
        for metric in report.metrics
    )
    return f'<dl class="conventions">{items}</dl>' if items else ""


def _again(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return f'<pre tabindex="0"><code>{escaped(report.command)}</code></pre><p class="muted">{escaped(versions)}</p>'


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escaped(sentence)}</li>" for sentence in sentences) + "</ul>" if sentences else ""


def _percent_row(name: str, value: float) -> str:
    return f'<tr><th scope="row">{escaped(name)}</th><td class="number">{percent(value)}</td></tr>'


def _distance(values: np.ndarray, better: str) -> np.ndarray:
    """What is to be small: the negative score, the score, or how far it is from 1."""
    return {"higher": -values, "lower": values, "one": np.abs(values - 1)}[better]


def _advantage(model: np.ndarray, others: np.ndarray, better: str) -> np.ndarray:
    return _distance(others, better) - _distance(model, better)


def _best_mean(metric: MetricInfo, predictors: Sequence[PredictorScores]) -> float | None:
    means = [p.means[metric.name] for p in predictors if p.kind != "ceiling" and metric.name in p.means]
    means = [mean for mean in means if math.isfinite(mean)]
    return min(means, key=lambda mean: float(_distance(np.float64(mean), metric.better)), default=None)


def _best_of(
    kind: str, metric: MetricInfo, predictors: Sequence[PredictorScores], named: str = ""
) -> PredictorScores | None:
    """The predictor of a kind with the best mean, of those whose name holds `named`, if any."""
    group = [p for p in predictors if p.kind == kind and math.isfinite(p.means.get(metric.name, math.nan))]
    group = [p for p in group if named in p.name.lower()] or group
    best = _best_mean(metric, group)
    return next((p for p in group if p.means[metric.name] == best), None)


def _p(gain: Gain) -> str:
    return "< 0.001" if gain.p_value < 0.001 else number(gain.p_value, 3)


def _reading(gain: Gain) -> tuple[str, str]:
    if gain.low > 0:
        return "better", "better"
    return ("worse", "worse") if gain.high < 0 else ("unclear", "not shown to differ")
