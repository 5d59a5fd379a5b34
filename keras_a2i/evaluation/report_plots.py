"""Plots of the report: SVG by Matplotlib, on white whatever the page's style is."""

import contextlib
import io
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.evaluation.report_data import Gain
from keras_a2i.evaluation.report_format import printable
from keras_a2i.spread import spread_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1b2130",
    "muted": "#566073",
    "grid": "#dbe0e9",
    "good": "#18794e",
    "nothing": "#8a5300",
    "bad": "#b4232c",
    "model": "#0b62c4",
    "control": "#b3500a",
    "baseline": "#667085",
    "audio-baseline": "#7a35d6",
    "ceiling": "#0b7a6e",
}
MAX_POINTS = 1500
MAX_BARS = 40
# R2 has no lower bound; longer bars are cut.
LOWEST_BAR = -0.5
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "keras-a2i",
    # A dollar in a label is no formula.
    "text.parse_math": False,
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "grid.color": COLOURS["grid"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "legend.frameon": False,
    "legend.fontsize": 10.5,
}


def plot_gains(gains: Sequence[Gain], titles: dict[str, str], metrics: dict[str, str]) -> str:
    """A forest plot: one panel per metric, a dot and its widest interval per gain; right of the dashed line is better.

    Args:
        gains: what to plot.
        titles: id of a contender -> title.
        metrics: id of a metric -> title.
    """
    by_metric: dict[str, list[Gain]] = {}
    for gain in gains:
        by_metric.setdefault(gain.metric, []).append(gain)
    heights = [0.9 + len(group) for group in by_metric.values()]

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(len(by_metric), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (metric, group) in zip(panels, by_metric.items(), strict=True):
            for row, gain in enumerate(group):
                interval = gain.widest
                colour = COLOURS["good" if interval.low > 0 else "bad" if interval.high < 0 else "nothing"]
                axes.plot(
                    [interval.low, interval.high], [row, row], color=colour, linewidth=2.5, solid_capstyle="round"
                )
                axes.plot([gain.mean], [row], "o", color=colour, markersize=8)
            axes.axvline(0, color=COLOURS["muted"], linewidth=1.2, linestyle="--")
            axes.set_yticks(range(len(group)), [_wrap(titles.get(gain.against, gain.against), 22) for gain in group])
            axes.set_ylim(len(group) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="y", visible=False)
            axes.margins(x=0.08)
            axes.set_xlabel(_wrap(f"gain in {metrics.get(metric, metric)}, 95 % interval (right is better)", 54))

    return _svg((440, 34 * sum(heights) + 26 * len(heights)), draw)


def plot_distributions(values: dict[str, Sequence[float]], kinds: dict[str, str], xlabel: str) -> str:
    """Cumulative distributions of per-pair scores, one line per contender."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for (name, scores), line in zip(values.items(), _LINES, strict=False):
            shares = np.linspace(0, 1, min(len(scores), 400) + 1)
            quantiles = np.quantile(scores, shares, method="inverted_cdf")
            axes.step(
                quantiles, shares, where="post", color=_colour(kinds[name]), label=_wrap(name, 34), linestyle=line, lw=2
            )
        axes.set(xlabel=_wrap(xlabel, 48), ylabel="share of pairs below", ylim=(0, 1))
        _legend_above(axes)

    return _svg((360, 330), draw)


def plot_differences(differences: dict[str, Sequence[float]], kinds: dict[str, str], xlabel: str) -> str:
    """Histograms of the model's advantage pair by pair, one outline per contender it is compared with."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        edges = np.histogram_bin_edges(np.concatenate(list(differences.values())), bins=24).tolist()
        for (name, values), line in zip(differences.items(), _LINES[1:], strict=False):
            colour = _colour(kinds[name])
            label = _wrap(f"over {name}", 34)
            axes.hist(values, edges, color=colour, alpha=0.25)
            axes.hist(values, edges, histtype="step", color=colour, linewidth=1.8, linestyle=line, label=label)
        axes.axvline(0, color=COLOURS["ink"], linewidth=1.2, linestyle="--")
        axes.set(xlabel=_wrap(xlabel, 48), ylabel="pairs")
        _legend_above(axes)

    return _svg((360, 330), draw)


def plot_scatter(other: Sequence[float], model: Sequence[float], xlabel: str, ylabel: str) -> str:
    """Scores pair by pair, the other contender's across and the model's up; at most `MAX_POINTS`, evenly chosen."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        shown = spread_rows(len(model), MAX_POINTS)
        x, y = np.asarray(other)[shown], np.asarray(model)[shown]
        axes.scatter(x, y, s=18, color=COLOURS["model"], alpha=0.55, linewidths=0)
        axes.axline((x[0], x[0]), slope=1, color=COLOURS["ink"], linewidth=1.2, linestyle="--")
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        room = 0.05 * (high - low) or 0.05
        axes.set(xlim=(low - room, high + room), ylim=(low - room, high + room))
        axes.set(xlabel=_wrap(xlabel, 48), ylabel=_wrap(ylabel, 40), aspect="equal")

    return _svg((360, 330), draw)


def plot_bars(
    labels: Sequence[str],
    series: Mapping[str, tuple[str, Sequence[float]]],
    xlabel: str,
    marks: dict[str, tuple[str, float]] | None = None,
) -> str:
    """Horizontal bars, a group per label.

    Args:
        labels: from top to bottom.
        series: title -> (colour, one value per label).
        xlabel: of the value axis.
        marks: title -> (colour, value) of vertical lines.
    """
    marks = marks or {}

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        width = 0.8 / len(series)
        shown: list[Any] = []
        for i, (title, (colour, values)) in enumerate(series.items()):
            rows = np.arange(len(labels)) + (i - (len(series) - 1) / 2) * width
            shown.append(axes.barh(rows, values, width * 0.92, color=COLOURS[colour], label=title))
        for (title, (colour, value)), line in zip(marks.items(), _LINES[1:], strict=False):
            shown.append(axes.axvline(value, color=COLOURS[colour], linewidth=1.6, linestyle=line, label=title))
        axes.set_yticks(range(len(labels)), [_shorten(label, 28) for label in labels])
        lowest = np.nanmin([0.0, *(value for _, values in series.values() for value in values)])
        axes.set(ylim=(len(labels) - 0.5, -0.5), xlim=(max(lowest, LOWEST_BAR), 1), xlabel=xlabel)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        _legend_above(axes, handles=shown, ncols=min(2, len(shown)))

    rows = len(labels) * len(series)
    return _svg((440, 90 + 22 * (len(series) + len(marks) + 1) // 2 + (24 if len(series) == 1 else 18) * rows), draw)


def plot_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str, better: str
) -> str:
    """Lines over one axis, a colour and a dash each; what is far worse than every line's last value is cut.

    Args:
        curves: name -> (x, y), not empty.
        xlabel, ylabel: of the axes.
        better: "higher" or "lower".
    """

    def draw(figure: "Figure") -> None:
        axes, handles = figure.subplots(), []
        for i, (name, (x, y)) in enumerate(curves.items()):
            line, marker = _LINES[i // 10 % len(_LINES)], "o" if len(x) == 1 else ""
            handles += axes.plot(x, y, color=f"C{i % 10}", linestyle=line, marker=marker, lw=1.8)
            handles[-1].set_label(_shorten(name, 46).lstrip("_"))  # Matplotlib hides labels that begin with it
        axes.set(xlabel=xlabel, ylabel=_wrap(ylabel, 40), ylim=curve_limits([y for _, y in curves.values()], better))
        _legend_above(axes, handles=handles)

    return _svg((480, 320 + 17 * len(curves)), draw)


def curve_limits(curves: Sequence[Sequence[float]], better: str) -> tuple[float, float]:
    """The range that shows every curve's last and best values, and 95 % of the others."""
    values, last = np.concatenate(curves), [y[-1] for y in curves]
    low, high = values.min(), values.max()
    if better == "lower":
        high = max(np.quantile(values, 0.95), *last, *(min(y) for y in curves))
    else:
        low = min(np.quantile(values, 0.05), *last, *(max(y) for y in curves))
    room = 0.05 * (high - low) or 0.05
    return float(low - room), float(high + room)


_LINES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)))


def _colour(kind: str) -> str:
    return COLOURS[kind]


def _wrap(text: str, width: int) -> str:
    return textwrap.fill(str(printable(text)), width)


def _shorten(text: str, length: int) -> str:
    text = " ".join(str(printable(text)).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _legend_above(axes: "Axes", **options: Any) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.3, handlelength=2.4, **options)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's own defaults and this report's style, whatever the user's matplotlibrc says; undone afterwards."""
    import matplotlib.style

    with warnings.catch_warnings(), matplotlib.style.context(["default", _STYLE]):
        # Text stays text: the browser has glyphs that Matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _svg(size: tuple[float, float], draw: Callable[["Figure"], None]) -> str:
    buffer = io.StringIO()
    with _style():
        from matplotlib.figure import Figure

        # 72 dots per inch: a point is a pixel of the page.
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72, layout="constrained")
        draw(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
