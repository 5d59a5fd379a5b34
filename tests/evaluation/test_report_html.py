"""The HTML report: one file, nothing from outside, every figure in it, hostile names harmless."""

import base64
import dataclasses
import html.parser
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image
from support.made_up_report import make_report

from keras_a2i.evaluation import report_html
from keras_a2i.evaluation.report_data import (
    ContenderScores,
    Example,
    FactorRecovery,
    Leak,
    MeasureResult,
    MetricInfo,
)
from keras_a2i.evaluation.report_html import render_html
from keras_a2i.evaluation.report_text import render_text

VOID = {"meta", "img", "br", "hr", "link", "input"}


@pytest.fixture(scope="module")
def report():
    return make_report()


@pytest.fixture(scope="module")
def short(report):
    """The same without the parts that take time to draw."""
    return dataclasses.replace(report, labels=None, factors=[], gains=[], examples=[])


class Page(html.parser.HTMLParser):
    """Checks nesting and collects what the tests ask about."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def of(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]

    @property
    def plots(self):
        return [attrs for attrs in self.of("img") if attrs.get("class") == "plot"]

    @property
    def images(self):
        return [attrs for attrs in self.of("img") if attrs.get("class") != "plot"]

    def styled(self, style):
        return [tag for tag, attrs in self.tags if style in (attrs.get("class") or "").split()]


@pytest.fixture(scope="module")
def text(report):
    return render_html(report)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_page_holds_everything_in_the_report(report, page):
    for contender in report.contenders:
        assert contender.title in page.text
        assert contender.explanation in page.text
    for metric in report.metrics:
        assert f"{metric.title}" in page.text
        assert metric.convention in page.text
    for words in (*report.verdict, *report.notes, report.command, "tensorflow 2.21.0", "120", report.records):
        assert words in page.text
    tile = "+0.071 SSIM compared with mean of the source 95 % interval +0.052 to +0.091, p < 0.001; "
    assert f"{tile}the interval covers other sources like" in page.text
    row = "shuffled audio MSE −0.0121 −0.0211 to −0.0048 0.013 12 blocks other moments of the same sources worse"
    assert row in page.text
    row = "mean of the source MSE +0.0021 −0.0011 to +0.0048 0.210 12 sources other sources like these not signif"
    assert row in page.text
    assert "configuration 0123456789ab" in page.text and "threads 2" in page.text
    assert "calm 0 0 30 0" in page.text and "breaking 0 20 10 0" in page.text
    assert "variety the model generates one image of an audio" in page.text
    assert "14.2 % 0.8 % 17.0 ×" in page.text
    assert "74.1 %" in page.text
    assert "wave height R2 0.630 0.940" in page.text
    assert "SSIM 0.5513 0.4987 −0.0526" in page.text
    assert len(page.images) == 12 * 3 + 3 * 4
    assert len(page.plots) == 6


def test_verdict_precedes_all_sections(text):
    assert text.index('class="verdict good"') < text.index("<section")
    assert text.index("<header") < text.index('class="verdict good"')


def test_page_needs_nothing_from_the_network(text, page):
    words = re.sub(r"data:image/(png|svg\+xml);base64,[\w+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", words)
    assert not page.of("script") + page.of("link") + page.of("iframe")
    for _, attrs in page.tags:
        assert attrs.get("href", "#").startswith("#")
        assert re.match(r"data:image/(png|svg\+xml);base64,", attrs.get("src", "data:image/png;base64,"))
    for plot in page.plots:
        drawing = base64.b64decode(plot["src"].partition(",")[2]).decode()
        assert "<script" not in drawing and not re.search(r"(href|src)=\"(?!#)", drawing)


def test_page_is_accessible(page):
    assert page.of("html") == [{"lang": "en"}]
    assert all(attrs["alt"] for attrs in page.of("img"))
    assert all(attrs["scope"] in ("row", "col", "rowgroup") for attrs in page.of("th"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"][1:] for _, attrs in page.tags if "href" in attrs}
    assert targets <= set(ids)


@pytest.mark.training
def test_hostile_names_stay_text(report):
    evil = '<script>alert("1")</script>&amp;\'$x_$\x00\ud800'
    shown = evil.replace("\x00", "�").replace("\ud800", "�")
    hostile = dataclasses.replace(
        report,
        model=evil,
        records=evil,
        verdict=[evil],
        notes=[evil],
        command=evil,
        contenders=[dataclasses.replace(c, title=c.title + evil, explanation=evil) for c in report.contenders],
        metrics=[dataclasses.replace(m, title=m.title + evil, convention=evil) for m in report.metrics],
        gains=[dataclasses.replace(gain, against=evil) for gain in report.gains],
        labels=dataclasses.replace(report.labels, by_label={evil: 0.5}, named=dict.fromkeys(report.held_out.ids, evil)),
        held_out=dataclasses.replace(report.held_out, labels=[evil] * report.n_pairs, sources=[evil] * report.n_pairs),
        skipped={evil: evil},
        environment={evil: evil},
        configuration=evil,
        factors=[FactorRecovery(name=evil, measure=evil, generated=0.1, real=0.2)],
        measures=[MeasureResult(id=evil, title=evil, better="higher", value=0.1, reference=0.2, explanation=evil)],
        paper={evil: (1.0, 2.0)},
        examples=[
            dataclasses.replace(e, id=evil, images={evil: e.images["real"]}) for e in report.examples if e.images
        ],
        versions={evil: evil},
    )
    text = render_html(hostile)
    text.encode("utf-8")
    page = Page(text)
    assert not page.of("script")
    assert f"Evaluation of {shown}" in page.text
    assert any(shown in attrs["alt"] for attrs in page.of("img"))
    assert not re.search(r"<[^>]*\bonerror=", text)
    assert "\x00" not in render_text(hostile) and shown in render_text(hostile)


def test_degenerate_metrics_are_marked_and_never_bold(report, page):
    assert page.text.count("degenerate: nearly the same for every image") == 2
    assert page.styled("degenerate").count("td") == len(report.contenders)
    assert page.styled("best") == ["td"] * 3


@pytest.mark.parametrize(
    ("better", "best"), [("higher", "2.000"), ("lower", "0.100"), ("one", "0.900")], ids=["higher", "lower", "one"]
)
def test_best_mean_is_bold_unless_a_ceiling(short, better, best):
    metric = MetricInfo(id="m", title="M", convention="", better=better)
    means = {"a": ("model", 2.0), "b": ("control", 0.9), "c": ("baseline", 0.1), "d": ("ceiling", 1.0)}
    means |= {"e": ("ceiling", 3.0), "f": ("ceiling", 0.0), "g": ("baseline", float("nan"))}
    contenders = [
        ContenderScores(id=name, title=name, kind=kind, explanation="", means={"m": mean}, values={})
        for name, (kind, mean) in means.items()
    ]
    text = render_html(dataclasses.replace(short, metrics=[metric], contenders=contenders))
    assert re.findall(r'<td class="number best">([^<]*)<', text) == [best]


@pytest.mark.training
def test_leak_box_appears_only_where_pairs_leak(short, page):
    assert page.styled("leak") == []
    leaking = dataclasses.replace(short, leak=Leak(within=2.0, count=114, total=120), level="leak")
    page = Page(render_html(leaking))
    assert page.styled("leak") == ["div"]
    assert page.styled("bad") == ["div"]
    assert "114 of 120 held-out pairs (95.0 %) have a training pair of the same source within 2 seconds" in page.text
    assert Page(render_html(dataclasses.replace(short, level="not"))).styled("weak") == ["div"]
    assert Page(render_html(dataclasses.replace(short, level="follows-but"))).styled("mixed") == ["div"]


def test_empty_parts_are_left_out(report):
    bare = dataclasses.replace(
        report,
        retrieval=None,
        labels=None,
        factors=[],
        measures=[],
        skipped={},
        paper=None,
        notes=[],
        examples=[],
        gains=[],
    )
    page = Page(render_html(bare))
    headings = [tag for tag, _ in page.tags if tag == "h2"]
    assert len(headings) == 1 + 4
    for words in ("Retrieval", "Labels", "Hidden factors", "The paper's", "Examples", "swapped", "Notes", "gains"):
        assert words not in page.text
    nothing = dataclasses.replace(bare, metrics=[], contenders=[], verdict=[], versions={}, n_pairs=0)
    assert len(Page(render_html(nothing)).of("section")) == 1


@pytest.mark.training
def test_constant_and_missing_values_are_rendered(report):
    constant = [dataclasses.replace(p, means={"ssim": 0.5}, values={"ssim": [0.5]}) for p in report.contenders[:-1]]
    page = Page(render_html(dataclasses.replace(report, contenders=constant, n_pairs=1, examples=[])))
    assert len(page.plots) == 6
    broken = [
        dataclasses.replace(p, means={"ssim": float("nan")}, values={"ssim": [float("nan")] * 3})
        for p in report.contenders
    ]
    page = Page(render_html(dataclasses.replace(report, contenders=broken, examples=[])))
    assert len(page.plots) == 3
    nan = float("nan")
    factors = [FactorRecovery(name="a", measure="R2", generated=-7.0, real=nan)]
    page = Page(render_html(dataclasses.replace(report, factors=factors, contenders=[], examples=[])))
    assert "a R2 −7.000 –" in page.text
    alone = Page(render_html(dataclasses.replace(report, contenders=report.contenders[:1], examples=[])))
    assert len(alone.plots) == 4


@pytest.mark.training
def test_counts_the_pairs_in_which_the_model_is_better(short):
    def with_values(metric_better, model, baseline):
        metric = MetricInfo(id="m", title="M", convention="", better=metric_better)
        contenders = [
            ContenderScores(id=kind, title=kind, kind=kind, explanation="", means={"m": 1.0}, values={"m": values})
            for kind, values in (("model", model), ("baseline", baseline))
        ]
        return Page(render_html(dataclasses.replace(short, metrics=[metric], contenders=contenders))).text

    assert "better than baseline in 1 of 3 pairs" in with_values("higher", [1, 2, 3], [2, 1, 4])
    assert "better than baseline in 2 of 3 pairs" in with_values("lower", [1, 2, 3], [2, 1, 4])
    assert "better than baseline in 1 of 2 pairs" in with_values("one", [0.9, 2.0], [1.2, 0.1])


@pytest.mark.training
def test_same_report_has_same_bytes_whatever_matplotlib_settings(report, text, tmp_path):
    import matplotlib

    path = tmp_path / "report.html"
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        report.save(path)
    assert path.read_bytes() == text.encode()
    assert dict(matplotlib.rcParams) == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_images_are_scaled_to_their_size_on_the_page(report, text, page):
    first = page.images[0]["src"].partition(",")[2]
    image = Image.open(io.BytesIO(base64.b64decode(first)))
    assert image.size == (160, 160)
    expected = Image.fromarray(report.examples[0].images["real"]).resize((160, 160), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(np.asarray(image, float), np.asarray(expected, float), atol=2)
    assert len(text) < 4_000_000


def test_grey_images_keep_their_values(short):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    example = Example(id="a", group="worst", score=0.1, images={"real": grey})
    (image,) = Page(render_html(dataclasses.replace(short, examples=[example]))).images
    decoded = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(decoded), grey[..., 0])
    assert image["class"] == "small"


@pytest.mark.training
def test_many_images_are_embedded_smaller(short, monkeypatch):
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (12, 256, 256, 3), dtype=np.uint8)
    examples = [Example(id=str(i), group="best", score=0.0, images={"real": noise[i]}) for i in range(12)]
    monkeypatch.setattr(report_html, "IMAGE_BYTES", 12 * 64 * 64 * 3 * 4 // 3 + 12 * 500)
    images = Page(render_html(dataclasses.replace(short, examples=examples))).images
    sizes = {Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))).size for image in images}
    assert len(images) == 12
    assert sizes == {(64, 64)}


@pytest.mark.training
def test_many_pairs_and_labels_are_thinned_out(report):
    rng = np.random.default_rng(2)
    values = {"ssim": rng.uniform(size=20_000).tolist()}
    contenders = [dataclasses.replace(p, values=values) for p in report.contenders]
    labels = dataclasses.replace(report.labels, by_label={f"label {i}": i / 100 for i in range(100)})
    text = render_html(dataclasses.replace(report, contenders=contenders, labels=labels, examples=[]))
    assert len(text) < 1_500_000
    assert "Of 100 labels the 20 highest and the 20 lowest are shown." in text
    assert "label 99" in text
    assert "label 50" not in text


def test_failed_drawing_leaves_the_old_file(report, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(ImportError):
        report.save(path)
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_terminal_and_page_show_the_same_sections(report, page):
    shown = render_text(report)
    for title in (
        "Gains over controls and baselines",
        "Scores of the model and the baselines",
        "Retrieval of real images by generated ones",
        "Labels predicted by a probe",
        "Hidden factors predicted by a probe",
        "The paper's figures",
    ):
        assert f"{title}:" in shown and title in page.text
    assert re.search(r"mean of the source +MSE +\+0.0021 +−0.0011 to \+0.0048 +0.210 +12 sources", shown)
    assert "data:image" not in shown and "How each metric" not in shown
    lines = shown.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Model or baseline "))
    # Numbers are aligned to the right.
    assert len({len(line) for line in lines[start : start + 7]}) == 1


def test_notebook_shows_the_page_in_a_frame_of_its_own(report, page):
    shown = Page(report._repr_html_())
    ((tag, attributes),) = shown.tags
    assert tag == "iframe" and attributes["sandbox"] is None and shown.text == ""
    inner = Page(attributes["srcdoc"])
    assert inner.tags == page.tags and inner.text == page.text
    hostile = dataclasses.replace(report, model='"></iframe><script>', examples=[], labels=None, factors=[], gains=[])
    assert [tag for tag, _ in Page(hostile._repr_html_()).tags] == ["iframe"]


def test_report_in_one_line_and_printed(report):
    model = report.contenders[0].means["ssim"]
    assert repr(report) == (
        f"Report('runs/surf-default': 'follows'; 120 pairs of 'records/surf', val; ssim {model:.3f})"
    )
    assert str(report) == "\n".join([*report.verdict, "", render_text(report)])
    assert str(dataclasses.replace(report, verdict=["a\x1b[31m"])).startswith("a\N{REPLACEMENT CHARACTER}[31m\n\n")


def test_terminal_leaves_out_columns_that_are_not_brief(report):
    metrics = [dataclasses.replace(m, brief=m.id == "ssim") for m in report.metrics]
    shown = render_text(dataclasses.replace(report, metrics=metrics, examples=[]))
    table = shown[shown.index("Scores of the model") : shown.index("Retrieval")]
    assert "SSIM" in table and "Sharpness" not in table
