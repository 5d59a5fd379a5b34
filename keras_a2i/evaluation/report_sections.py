"""The sections of a report, built once: the terminal and the HTML page show the same list."""

import math
from collections.abc import Iterable, Sequence

from keras_a2i.evaluation.contenders import KINDS
from keras_a2i.evaluation.report_blocks import (
    Block,
    Cell,
    Column,
    Command,
    Figure,
    Figures,
    Gallery,
    Row,
    Section,
    Sentences,
    Table,
    Terms,
    Tiles,
)
from keras_a2i.evaluation.report_data import ContenderScores, Gain, MetricInfo, ReportData
from keras_a2i.evaluation.report_figures import distribution_figures, factor_figure, gain_figure, label_figure
from keras_a2i.evaluation.report_format import BETTER, decimals_for, distance, number, percent, signed

MAX_CONFUSION_LABELS = 20
DEGENERATE = "degenerate: nearly the same for every image"
_GROUPS = {"best": "Best", "median": "Median", "worst": "Worst"}


def sections_of(report: ReportData) -> list[Section]:
    """All parts of a report that have something to show, in their order."""
    sections = [
        Section("gains", "Gains over controls and baselines", _gains(report)),
        Section("contenders", "Scores of the model and the baselines", _contenders(report)),
        Section("pair-by-pair", "Pair by pair", _figures(distribution_figures(report)), brief=False),
        Section("retrieval", "Retrieval of real images by generated ones", _retrieval(report)),
        Section("labels", "Labels predicted by a probe", _labels(report)),
        Section("factors", "Hidden factors predicted by a probe", _factors(report)),
        Section("measures", "Response to the audio, realism and confidence", _measures(report)),
        Section("paper", "The paper's figures", _paper(report)),
        Section("examples", "Examples", _examples(report), brief=False),
        Section("swapped", "What changes when the audio is swapped", _swapped(report), brief=False),
        Section("conventions", "How each metric is computed", _conventions(report), brief=False),
        Section("notes", "Notes", (Sentences(tuple(report.notes)),) if report.notes else ()),
        Section("repeat", "Repeat this report", _repeat(report), brief=False),
    ]
    return [section for section in sections if section.blocks]


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell | str]], caption: str = "", **options: bool) -> Table:
    """A table of cells or plain texts."""
    made = tuple(Row(tuple(Cell(c) if isinstance(c, str) else c for c in cells)) for cells in rows)
    return Table(tuple(columns), made, caption, **options)


def _gains(report: ReportData) -> tuple[Block, ...]:
    if not report.gains:
        return ()
    titles = {c.id: c.title for c in report.contenders}
    metrics = {metric.id: metric for metric in report.metrics}
    tiles, rows = [], []
    for i, gain in enumerate(report.gains):
        metric = metrics[gain.metric].title if gain.metric in metrics else gain.metric
        bounds = [v for g in report.gains if g.metric == gain.metric for n in g.intervals for v in (n.low, n.high)]
        places = decimals_for([0.0, *bounds])
        against = titles.get(gain.against, gain.against)
        for interval in gain.intervals:
            between = f"{signed(interval.low, places)} to {signed(interval.high, places)}"
            p = "< 0.001" if interval.p_value < 0.001 else number(interval.p_value, 3)
            style, reading = _reading(interval.low, interval.high)
            degenerate = gain.metric in metrics and metrics[gain.metric].degenerate
            note = DEGENERATE if degenerate else ""
            covers = Cell(f"{interval.n:,} {interval.over}", interval.covers)
            row = (against, Cell(metric, note), signed(gain.mean, places), between, p, covers, Cell(reading, "", style))
            rows.append(row)
        if i < 2:
            p = f"p {p}" if p.startswith("<") else f"p = {p}"
            details = f"95 % interval {between}, {p}; the interval covers {gain.widest.covers}"
            tiles.append((signed(gain.mean, places), metric, f"compared with {against}", details, style))
    columns = (
        *(Column("Against"), Column("Metric"), Column("Gain", True), Column("95 % interval", True), Column("p", True)),
        *(Column("Bootstrap over", note="what the interval covers"), Column("The model is")),
    )
    caption = "Mean paired differences. Positive: the model is better, also in metrics of which lower is better."
    return (Tiles(tuple(tiles)), *_figures([gain_figure(report)]), table(columns, rows, caption))


def _reading(low: float, high: float) -> tuple[str, str]:
    if low > 0:
        return "better", "better"
    return ("worse", "worse") if high < 0 else ("unclear", "not significantly different")


def _contenders(report: ReportData) -> tuple[Block, ...]:
    if not report.contenders or not report.metrics:
        return ()
    return (contenders_table(report.contenders, report.metrics),)


def contenders_table(contenders: Sequence[ContenderScores], metrics: Sequence[MetricInfo]) -> Table:
    """The means of all contenders, grouped by kind."""
    columns = [Column("Model or baseline")]
    for metric in metrics:
        note = BETTER[metric.better] + (f"; {DEGENERATE}" if metric.degenerate else "")
        columns.append(Column(metric.title, True, note, "degenerate" if metric.degenerate else "", metric.brief))
    rows = []
    for kind, title in KINDS.items():
        group = [contender for contender in contenders if contender.kind == kind]
        for i, contender in enumerate(group):
            cells = [Cell(contender.title, contender.explanation)]
            for metric in metrics:
                value = contender.means.get(metric.id)
                decimals = decimals_for(other.means.get(metric.id) for other in contenders)
                cells.append(Cell(number(value, decimals), style=_style(contenders, metric, kind, value)))
            rows.append(Row(tuple(cells), "" if i else title, "" if i else kind))
    return Table(tuple(columns), tuple(rows), "Means over the held-out pairs. Bold: the best value, ceilings excluded.")


def _style(contenders: Sequence[ContenderScores], metric: MetricInfo, kind: str, value: float | None) -> str:
    if metric.degenerate:
        return "degenerate"
    means = [c.means[metric.id] for c in contenders if c.kind != "ceiling" and metric.id in c.means]
    best = min(filter(math.isfinite, means), key=lambda mean: distance(mean, metric.better), default=None)
    return "best" if kind != "ceiling" and value is not None and value == best else ""


def _retrieval(report: ReportData) -> tuple[Block, ...]:
    if report.retrieval is None:
        return ()
    r = report.retrieval
    rows = [
        (words, percent(found), percent(chance), f"{found / chance:.1f} ×" if chance > 0 else "–")
        for words, found, chance in (
            ("recall@1: the real image of the pair is the nearest", r.r1, r.chance_r1),
            ("recall@5: it is among the five nearest", r.r5, r.chance_r5),
        )
    ]
    columns = (Column(""), Column("Model", True), Column("Chance", True), Column("Times chance", True))
    caption = "How often the real image of the same pair is the nearest, or among the nearest, of all held-out images."
    return (table(columns, rows, caption, narrow=True),)


def _labels(report: ReportData) -> tuple[Block, ...]:
    if report.labels is None:
        return ()
    labels = report.labels
    overall = {
        "generated images": labels.generated,
        "images from shuffled audio": labels.shuffled,
        "always predicting the most frequent label": labels.most_frequent,
        "real held-out images (ceiling)": labels.real,
    }
    caption = "Accuracy of a probe: a classifier that was trained on real images."
    accuracy = table(
        (Column(""), Column("Accuracy", True)),
        [(name, percent(value)) for name, value in overall.items()],
        caption,
        narrow=True,
    )
    blocks: list[Block] = [accuracy, *_figures([label_figure(report)] if labels.by_label else [])]
    confusion = report.confusion()
    if confusion is not None and len(confusion) <= MAX_CONFUSION_LABELS:
        columns = [Column("true \\ predicted"), *(Column(str(name), True) for name in confusion.columns)]
        rows: list[Sequence[Cell | str]] = [
            (str(name), *(Cell(str(n), style="diagonal" if name == other else "") for other, n in row.items()))
            for name, row in confusion.iterrows()
        ]
        blocks.append(table(columns, rows, "Confusion matrix: the true label (rows) and the predicted one (columns)."))
    elif confusion is not None:
        most = sorted(
            ((int(n), str(name), str(other)) for name, row in confusion.iterrows() for other, n in row.items()),
            reverse=True,
        )
        shown = [(f"{a} as {b}", str(n)) for n, a, b in most if a != b and n][:MAX_CONFUSION_LABELS]
        blocks.append(table((Column("label"), Column("Images", True)), shown, "The most frequent confusions."))
    return tuple(blocks)


def _factors(report: ReportData) -> tuple[Block, ...]:
    if not report.factors:
        return ()
    rows = [(f.name, f.measure, number(f.generated, 3), number(f.real, 3)) for f in report.factors]
    columns = (Column("Factor"), Column("Measure"), Column("Generated", True), Column("Real", True))
    caption = "How well a probe that was trained on real images predicts each hidden factor; 1 is perfect."
    return (table(columns, rows, caption, narrow=True), *_figures([factor_figure(report)]))


def _measures(report: ReportData) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if report.measures:
        rows = [(m.title, number(m.value, 3), number(m.reference, 3), m.explanation) for m in report.measures]
        columns = (Column("Measure"), Column("Model", True), Column("Reference", True), Column("Explanation"))
        caption = "The last column states what the reference is: chance, shuffled or held-out audio, or real images."
        blocks.append(table(columns, rows, caption))
    if report.skipped:
        left_out = (Column("Measure not computed", brief=False), Column("Reason", brief=False))
        blocks.append(table(left_out, list(report.skipped.items()), narrow=True))
    return tuple(blocks)


def _paper(report: ReportData) -> tuple[Block, ...]:
    if not report.paper:
        return ()
    rows = [
        (name, number(published, 4), number(measured, 4), signed(measured - published, 4))
        for name, (published, measured) in report.paper.items()
    ]
    columns = (Column("Figure"), Column("Published", True), Column("Measured here", True), Column("Difference", True))
    caption = "Under the paper's own conventions, which differ from those above."
    return (table(columns, rows, caption, narrow=True),)


def _examples(report: ReportData) -> tuple[Block, ...]:
    members = {title: tuple(e for e in report.examples if e.group == group) for group, title in _GROUPS.items()}
    groups = tuple((title, examples) for title, examples in members.items() if examples)
    return (Gallery(groups),) if groups else ()


def _swapped(report: ReportData) -> tuple[Block, ...]:
    swapped = tuple(example for example in report.examples if example.group == "swapped")
    words = "The model receives the audio of another pair. If its image stays the same, it ignores the audio."
    return (Gallery((("", swapped),), words),) if swapped else ()


def _conventions(report: ReportData) -> tuple[Block, ...]:
    items = tuple(
        (m.title, BETTER[m.better] + (f"; {DEGENERATE}" if m.degenerate else ""), m.convention) for m in report.metrics
    )
    return (Terms(items),) if items else ()


def _repeat(report: ReportData) -> tuple[Block, ...]:
    facts = [f"{name} {version}" for name, version in report.versions.items()]
    facts += [f"{name} {value}" for name, value in report.environment.items()]
    facts += [f"configuration {report.configuration}"] if report.configuration else []
    return (Command(report.command, ", ".join(facts)),)


def _figures(figures: Iterable[Figure]) -> tuple[Figures, ...]:
    items = tuple(figures)
    return (Figures(items),) if items else ()


def gains_table(gains: Sequence[Gain], titles: dict[str, str]) -> Table:
    """Gains alone, as cross-validation shows them."""
    rows = [
        (
            *(titles.get(gain.against, gain.against), gain.metric, signed(gain.mean, 3)),
            f"{signed(interval.low, 3)} to {signed(interval.high, 3)}",
            *(number(interval.p_value, 4), Cell(f"{interval.n:,} {interval.over}", interval.covers)),
        )
        for gain in gains
        for interval in gain.intervals
    ]
    columns = (
        *(Column("Against"), Column("Metric"), Column("Gain", True), Column("95 % interval", True), Column("p", True)),
        Column("Bootstrap over", note="what the interval covers"),
    )
    return table(columns, rows, "Mean paired differences of the model and the baseline; positive is better.")
