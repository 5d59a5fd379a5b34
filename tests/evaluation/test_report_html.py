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

from keras_a2i.evaluation import report_examples, report_plots
from keras_a2i.evaluation.report_data import (
    Example,
    FactorRecovery,
    Gain,
    LabelAccuracy,
    Leak,
    Measure,
    MetricInfo,
    PredictorScores,
    Report,
    Retrieval,
)
from keras_a2i.evaluation.report_html import render_html, write_html

VOID = {"meta", "img", "br", "hr", "link", "input"}
N_PAIRS = 120


def picture(rng, size=256):
    """A smooth random picture, which compresses about as a photograph does."""
    coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC), dtype=np.int16)
    return np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def predictor(rng, name, kind, explanation, ssim, mse):
    values = {
        "ssim": np.clip(rng.normal(ssim, 0.08, N_PAIRS), 0, 1).tolist(),
        "mse": np.abs(rng.normal(mse, 0.02, N_PAIRS)).tolist(),
        "sharpness": rng.normal(0.4 + ssim, 0.1, N_PAIRS).tolist(),
        "hss": rng.normal(0.9993, 1e-5, N_PAIRS).tolist(),
    }
    means = {metric: float(np.mean(scores)) for metric, scores in values.items()}
    return PredictorScores(name=name, kind=kind, explanation=explanation, means=means, values=values)


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(0)
    titles = ("real", "generated", "mean of the source")
    examples = [
        Example(
            id=f"surf_{10 * i + j:03d}@{4.2 * j:.2f}s",
            group=group,
            score=0.6 - 0.1 * i + 0.01 * j,
            pictures={title: picture(rng) for title in titles},
        )
        for i, group in enumerate(("best", "median", "worst"))
        for j in range(4)
    ]
    swapped = ("real", "own sound", "sound of surf_031", "sound of surf_077")
    examples += [
        Example(id=f"surf_{i}", group="swapped", score=0.5, pictures={title: picture(rng) for title in swapped})
        for i in range(3)
    ]
    return Report(
        model="runs/surf-default",
        records="records/surf",
        split="val",
        n_pairs=N_PAIRS,
        n_sources=6,
        verdict=[
            "The model's pictures are closer to the real ones than any picture made without sound (p < 0.001).",
            "With shuffled sounds the gain is gone, so it comes from the sound.",
        ],
        level="good",
        metrics=[
            MetricInfo(name="ssim", title="SSIM", convention="Gaussian window 11, sigma 1.5.", better="higher"),
            MetricInfo(name="mse", title="MSE", convention="Pictures in [-1, 1].", better="lower"),
            MetricInfo(name="sharpness", title="Sharpness", convention="Laplacian variance, relative.", better="one"),
            MetricInfo(name="hss", title="HSS (seed)", convention="256³ histogram.", better="higher", degenerate=True),
        ],
        predictors=[
            predictor(rng, "model", "model", "runs/surf-default", 0.52, 0.06),
            predictor(rng, "shuffled sounds", "control", "The model given another pair's sound.", 0.41, 0.1),
            predictor(rng, "silence", "control", "The model given silence.", 0.38, 0.11),
            predictor(rng, "mean of all", "baseline", "Mean of the training pictures.", 0.4, 0.1),
            predictor(rng, "mean of the source", "baseline", "Mean of the source's training pictures.", 0.45, 0.09),
            predictor(rng, "nearest sound", "sound baseline", "Training picture with the nearest MFCC.", 0.44, 0.1),
            predictor(rng, "nearest picture", "ceiling", "The nearest training picture.", 0.71, 0.03),
        ],
        gains=[
            Gain(against="mean of the source", metric="ssim", mean=0.0712, low=0.052, high=0.0913, p_value=0.0002),
            Gain(against="shuffled sounds", metric="ssim", mean=0.1103, low=0.088, high=0.1312, p_value=0.0002),
            Gain(against="mean of the source", metric="mse", mean=0.0021, low=-0.0011, high=0.0048, p_value=0.21),
            Gain(against="shuffled sounds", metric="mse", mean=-0.0121, low=-0.0211, high=-0.0048, p_value=0.0131),
        ],
        leak=Leak(within=2.0, count=0, total=N_PAIRS),
        retrieval=Retrieval(r1=0.1417, r5=0.3583, chance_r1=1 / 120, chance_r5=5 / 120),
        labels=LabelAccuracy(
            generated=0.7412,
            shuffled=0.2105,
            real=0.9083,
            most_frequent=0.25,
            by_label={"breaking": 0.91, "calm": 0.83, "spray": 0.55, "barrel": 0.42},
        ),
        factors=[
            FactorRecovery(name="wave height", measure="R2", generated=0.63, real=0.94),
            FactorRecovery(name="phase", measure="R2", generated=-0.08, real=0.9),
            FactorRecovery(name="day or night", measure="accuracy", generated=0.97, real=1.0),
        ],
        measures=[Measure("follows a swapped sound", 0.874, 0.5, "nearer to the sound it heard")],
        paper={"SSIM": (0.5513, 0.4987), "HSS": (0.8, 0.9993)},
        notes=["The pictures are a made-up stand-in, not the paper's data."],
        examples=examples,
        command="keras-a2i evaluate runs/surf-default records/surf --split val",
        versions={"keras_a2i": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.0"},
    )


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

    def styled(self, style):
        return [tag for tag, attrs in self.tags if style in (attrs.get("class") or "").split()]


@pytest.fixture(scope="module")
def text(report):
    return render_html(report)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_holds_everything_that_was_found(report, page):
    for predictor in report.predictors:
        assert predictor.name in page.text
        assert predictor.explanation in page.text
    for metric in report.metrics:
        assert f"{metric.title}" in page.text
        assert metric.convention in page.text
    for words in (*report.verdict, *report.notes, report.command, "tensorflow 2.21.0", "120", report.records):
        assert words in page.text
    assert "+0.071 SSIM over mean of the source 95 % interval +0.052 to +0.091, p < 0.001" in page.text
    assert "+0.052 to +0.091" in page.text
    assert "shuffled sounds MSE −0.0121 −0.0211 to −0.0048 0.013 worse" in page.text
    assert "mean of the source MSE +0.0021 −0.0011 to +0.0048 0.210 not shown to differ" in page.text
    assert "14.2 % 0.8 % 17.0 ×" in page.text
    assert "74.1 %" in page.text
    assert "wave height R2 0.630 0.940" in page.text
    assert "SSIM 0.5513 0.4987 −0.0526" in page.text
    assert len(page.of("img")) == 12 * 3 + 3 * 4
    assert len(page.of("svg")) == 6


def test_the_verdict_comes_before_all_sections(text):
    assert text.index('class="verdict good"') < text.index("<section")
    assert text.index("<header") < text.index('class="verdict good"')


def test_needs_nothing_from_outside(text, page):
    words = re.sub(r"data:image/png;base64,[\w+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", words)
    assert not page.of("script") + page.of("link") + page.of("iframe")
    for _, attrs in page.tags:
        assert attrs.get("href", "#").startswith("#")
        assert attrs.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")


def test_is_accessible(page):
    assert page.of("html") == [{"lang": "en"}]
    assert all(attrs["alt"] for attrs in page.of("img"))
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in page.of("svg"))
    assert all(attrs["scope"] in ("row", "col", "rowgroup") for attrs in page.of("th"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"][1:] for _, attrs in page.tags if "href" in attrs}
    assert targets <= set(ids)


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
        predictors=[dataclasses.replace(p, name=p.name + evil, explanation=evil) for p in report.predictors],
        metrics=[dataclasses.replace(m, title=m.title + evil, convention=evil) for m in report.metrics],
        gains=[dataclasses.replace(gain, against=evil) for gain in report.gains],
        labels=dataclasses.replace(report.labels, by_label={evil: 0.5}),
        factors=[FactorRecovery(name=evil, measure=evil, generated=0.1, real=0.2)],
        measures=[Measure(evil, 0.1, 0.2, evil)],
        paper={evil: (1.0, 2.0)},
        examples=[
            dataclasses.replace(e, id=evil, pictures={evil: e.pictures["real"]}) for e in report.examples if e.pictures
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


def test_degenerate_metrics_are_marked_and_never_bold(report, page):
    assert page.text.count("degenerate: says nothing") == 2
    assert page.styled("degenerate").count("td") == len(report.predictors)
    assert page.styled("best") == ["td"] * 3


@pytest.mark.parametrize(
    ("better", "best"), [("higher", "2.000"), ("lower", "0.100"), ("one", "0.900")], ids=["higher", "lower", "one"]
)
def test_the_best_of_a_metric_is_bold_and_no_ceiling(short, better, best):
    metric = MetricInfo(name="m", title="M", convention="", better=better)
    means = {"a": ("model", 2.0), "b": ("control", 0.9), "c": ("baseline", 0.1), "d": ("ceiling", 1.0)}
    means |= {"e": ("ceiling", 3.0), "f": ("ceiling", 0.0), "g": ("baseline", float("nan"))}
    predictors = [
        PredictorScores(name=name, kind=kind, explanation="", means={"m": mean}, values={})
        for name, (kind, mean) in means.items()
    ]
    text = render_html(dataclasses.replace(short, metrics=[metric], predictors=predictors))
    assert re.findall(r'<td class="number best">([^<]*)<', text) == [best]


def test_the_red_box_shows_only_when_training_leaks(short, page):
    assert page.styled("leak") == []
    leaking = dataclasses.replace(short, leak=Leak(within=2.0, count=114, total=120), level="leak")
    page = Page(render_html(leaking))
    assert page.styled("leak") == ["div"]
    assert page.styled("leak-level") == ["div"]
    assert "114 of 120 held-out pairs (95.0 %) have a training pair of the same source within 2 seconds" in page.text
    assert Page(render_html(dataclasses.replace(short, level="nothing"))).styled("nothing") == ["div"]


def test_empty_parts_are_left_out(report):
    bare = dataclasses.replace(
        report, retrieval=None, labels=None, factors=[], measures=[], paper=None, notes=[], examples=[], gains=[]
    )
    page = Page(render_html(bare))
    headings = [tag for tag, _ in page.tags if tag == "h2"]
    assert len(headings) == 1 + 4
    for words in ("Retrieval", "LabelCrossentropy", "Hidden factors", "paper", "Examples", "swapped", "Notes", "gains"):
        assert words not in page.text
    nothing = dataclasses.replace(bare, metrics=[], predictors=[], verdict=[], versions={}, n_pairs=0)
    assert len(Page(render_html(nothing)).of("section")) == 1


def test_odd_values_don_t_stop_the_report(report):
    constant = [dataclasses.replace(p, means={"ssim": 0.5}, values={"ssim": [0.5]}) for p in report.predictors[:-1]]
    page = Page(render_html(dataclasses.replace(report, predictors=constant, n_pairs=1, examples=[])))
    assert len(page.of("svg")) == 6
    broken = [
        dataclasses.replace(p, means={"ssim": float("nan")}, values={"ssim": [float("nan")] * 3})
        for p in report.predictors
    ]
    page = Page(render_html(dataclasses.replace(report, predictors=broken, examples=[])))
    assert len(page.of("svg")) == 3
    nan = float("nan")
    factors = [FactorRecovery(name="a", measure="R2", generated=-7.0, real=nan)]
    page = Page(render_html(dataclasses.replace(report, factors=factors, predictors=[], examples=[])))
    assert "a R2 −7.000 –" in page.text
    alone = Page(render_html(dataclasses.replace(report, predictors=report.predictors[:1], examples=[])))
    assert len(alone.of("svg")) == 4


def test_counts_the_pairs_in_which_the_model_is_better(short):
    def with_values(metric_better, model, baseline):
        metric = MetricInfo(name="m", title="M", convention="", better=metric_better)
        predictors = [
            PredictorScores(name=kind, kind=kind, explanation="", means={"m": 1.0}, values={"m": values})
            for kind, values in (("model", model), ("baseline", baseline))
        ]
        return Page(render_html(dataclasses.replace(short, metrics=[metric], predictors=predictors))).text

    assert "better in 1 of 3 pairs over baseline" in with_values("higher", [1, 2, 3], [2, 1, 4])
    assert "better in 2 of 3 pairs over baseline" in with_values("lower", [1, 2, 3], [2, 1, 4])
    assert "better in 1 of 2 pairs over baseline" in with_values("one", [0.9, 2.0], [1.2, 0.1])


def test_the_same_report_gives_the_same_bytes_whatever_the_user_s_settings(report, text, tmp_path):
    import matplotlib

    path = tmp_path / "report.html"
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        write_html(report, path)
    assert path.read_bytes() == text.encode()
    assert dict(matplotlib.rcParams) == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_pictures_are_scaled_to_what_the_page_shows(report, text, page):
    first = page.of("img")[0]["src"].partition(",")[2]
    image = Image.open(io.BytesIO(base64.b64decode(first)))
    assert image.size == (160, 160)
    expected = Image.fromarray(report.examples[0].pictures["real"]).resize((160, 160), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(np.asarray(image, float), np.asarray(expected, float), atol=2)
    assert len(text) < 4_000_000


def test_grey_pictures_keep_their_values(short):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    example = Example(id="a", group="worst", score=0.1, pictures={"real": grey})
    (image,) = Page(render_html(dataclasses.replace(short, examples=[example]))).of("img")
    decoded = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(decoded), grey[..., 0])
    assert image["class"] == "small"


def test_many_pictures_are_embedded_smaller(short, monkeypatch):
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (12, 256, 256, 3), dtype=np.uint8)
    examples = [Example(id=str(i), group="best", score=0.0, pictures={"real": noise[i]}) for i in range(12)]
    monkeypatch.setattr(report_examples, "IMAGE_BYTES", 12 * 64 * 64 * 3 * 4 // 3 + 12 * 500)
    images = Page(render_html(dataclasses.replace(short, examples=examples))).of("img")
    sizes = {Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))).size for image in images}
    assert len(images) == 12
    assert sizes == {(64, 64)}


def test_many_pairs_and_labels_are_thinned_out(report):
    rng = np.random.default_rng(2)
    values = {"ssim": rng.uniform(size=20_000).tolist()}
    predictors = [dataclasses.replace(p, values=values) for p in report.predictors]
    labels = dataclasses.replace(report.labels, by_label={f"label {i}": i / 100 for i in range(100)})
    text = render_html(dataclasses.replace(report, predictors=predictors, labels=labels, examples=[]))
    assert len(text) < 1_000_000
    assert "Of 100 labels the 20 highest and the 20 lowest are shown." in text
    assert "label 99" in text
    assert "label 50" not in text


def test_nothing_is_written_when_drawing_fails(report, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(ImportError):
        write_html(report, path)
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_plots_take_their_colours_from_the_page(text):
    plot = text[text.index("<svg") : text.index("</svg>")]
    assert "var(--good)" in plot
    assert not set(re.findall(r"#[0-9a-f]{6}\b", plot)) & set(report_plots.COLOURS.values())
    variables = set(re.findall(r"var\(--([a-z-]+)\)", text))
    light, _, dark = text[: text.index("</style>")].partition("prefers-color-scheme: dark")
    for name in variables:
        assert f"--{name}:" in light
        assert f"--{name}:" in dark
