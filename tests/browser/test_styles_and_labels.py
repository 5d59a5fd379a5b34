"""Styles and labels on the web page in real Chromium, as Python computes them."""

import contextlib
import itertools
import json
import shutil

import numpy as np
import pytest
import soundfile
from support.browser_page import (
    LITERT,
    NEEDS_CHROMIUM,
    RATE,
    TOLERANCE,
    check_fit,
    make_clip,
    message,
    open_page,
    saved_image,
)
from support.styled_models import LABELS, exemplar_model, mosaic_model

from keras_a2i.exporters import FORMATS
from keras_a2i.exporters.export import export
from keras_a2i.models.label_calibration import probabilities_of
from keras_a2i.serving.page_server import PageServer
from keras_a2i.serving.predictor import load

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def styled_folder(tmp_path_factory):
    """A page of a model with a style that knows labels."""
    path = tmp_path_factory.mktemp("styled") / "page"
    return export(exemplar_model("waveform"), path, format="web", runtime=LITERT).path


@pytest.fixture(scope="module")
def styled_server(styled_folder):
    with contextlib.closing(PageServer(0)) as server:
        server.show(styled_folder)
        yield server


def page_style(seed, temperature, length):
    """The page's style, in Python: mulberry32 and the Box-Muller transform."""
    state, values = seed, []
    for _ in range(2 * length):
        state = (state + 0x6D2B79F5) % 2**32
        t = (state ^ state >> 15) * (state | 1) % 2**32
        t ^= (t + (t ^ t >> 7) * (t | 61)) % 2**32
        values.append((t ^ t >> 14) / 2**32)
    first, second = np.reshape(values, (length, 2)).T
    return (temperature * np.sqrt(-2 * np.log(1 - first)) * np.cos(2 * np.pi * second)).astype(np.float32)


def test_drawn_style_has_a_normal_distribution():
    style = page_style(3, 1.0, 4000)
    assert abs(style.mean()) < 0.05 and abs(style.std() - 1) < 0.05 and np.abs(style).max() > 3


def test_style_and_temperature_choose_the_image_and_its_label_is_told(browser, styled_folder, styled_server, tmp_path):
    served, _ = FORMATS["web"].load(styled_folder)
    soundfile.write(tmp_path / "a.wav", make_clip(1.0, RATE) * np.linspace(0, 1, RATE)[:, None], RATE)
    clip = next(load(styled_folder).stream_inputs(tmp_path / "a.wav"))
    page = open_page(browser.new_context(), styled_server.where)
    page.set_input_files("#file", tmp_path / "a.wav")
    message(page, "a.wav has ended.")
    assert np.abs(saved_image(page) - served(clip)[0]).max() <= TOLERANCE
    probabilities = probabilities_of(served.classify(clip))[0]
    told = f"{LABELS[probabilities.argmax()]}, {100 * probabilities.max():.0f} %"
    page.wait_for_selector(f'#label:has-text("{told}")', timeout=5000)
    assert page.get_attribute("#label", "role") == "status"

    def check(seed, temperature):
        page.wait_for_timeout(1000)
        assert (page.input_value("#seed"), page.input_value("#temperature")) == (str(seed), f"{temperature:g}")
        expected = served(clip, page_style(seed, temperature, 4)[None])[0]
        assert np.abs(saved_image(page) - expected).max() <= TOLERANCE
        return expected

    page.keyboard.press("n")
    first = check(1, 1.0)
    page.fill("#seed", "77")
    page.keyboard.press("Enter")
    assert np.abs(check(77, 1.0) - first).mean() > TOLERANCE
    page.focus("#temperature")
    page.keyboard.press("ArrowRight")
    check(77, 1.1)
    page.focus("#temperature")
    page.keyboard.press("Home")
    assert np.abs(check(77, 0.0) - served(clip)[0]).max() == 0
    assert page.problems == []
    page.context.close()


def test_page_of_a_mosaic_draws_pythons_images(browser, tmp_path):
    folder = export(mosaic_model(), tmp_path / "page", format="web", runtime=LITERT).path
    soundfile.write(tmp_path / "a.wav", make_clip(1.0, RATE) * np.linspace(0, 1, RATE)[:, None], RATE)
    served, _ = FORMATS["web"].load(folder)
    clip = next(load(folder).stream_inputs(tmp_path / "a.wav"))
    with contextlib.closing(PageServer(0)) as server:
        server.show(folder)
        page = open_page(browser.new_context(), server.where)
        page.set_input_files("#file", tmp_path / "a.wav")
        message(page, "a.wav has ended.")
        usual = saved_image(page)
        page.keyboard.press("n")
        page.wait_for_timeout(1000)
        styled = saved_image(page)
        assert np.abs(usual - served(clip)[0]).max() <= TOLERANCE
        assert np.abs(styled - served(clip, page_style(1, 1.0, 4)[None])[0]).max() <= TOLERANCE
        assert np.abs(styled - usual).max() > 10 * TOLERANCE and page.problems == []
        page.context.close()


def test_page_of_a_file_with_latents_fades_between_latent_vectors(browser, tmp_path):
    path, page_path = tmp_path / "a.wav", tmp_path / "page"
    export(exemplar_model("waveform"), page_path, format="web", runtime=LITERT, latents=True)
    predictor = load(page_path)
    soundfile.write(path, make_clip(1.6, RATE) * np.linspace(0.05, 1, round(1.6 * RATE))[:, None], RATE)
    with contextlib.closing(PageServer(0)) as server:
        server.show(page_path)
        context = browser.new_context()
        context.add_init_script(
            """window.latents = [];
            const post = Worker.prototype.postMessage;
            Worker.prototype.postMessage = function (data, ...rest) {
                if (data.latent) window.latents.push([...data.latent]);
                return post.call(this, data, ...rest);
            };"""
        )
        page = open_page(context, server.where)
        page.set_input_files("#file", path)
        message(page, "a.wav has ended.")
        page.wait_for_timeout(800)
        latents, image = np.asarray(page.evaluate("latents"), np.float32), saved_image(page)
        samples, _ = soundfile.read(path, dtype="float32")
        clip = samples[None, -RATE:]
        np.testing.assert_allclose(latents[-1], predictor.encode(clip)[0], atol=1e-3)
        assert len(np.unique(latents.round(4), axis=0)) >= 5
        assert np.abs(image - predictor.predict_inputs(clip)[0]).max() <= TOLERANCE
        # What is shown, as single pixels, is the image of the last latent vector.
        page.click("#image")
        size, canvas = image.shape[0], 512
        shown = page.evaluate(
            "[...document.getElementById('image').getContext('2d').getImageData(0, 0, 512, 512).data]"
        )
        shown = np.reshape(shown, (canvas, canvas, 4))[canvas // size // 2 :: canvas // size, :, :3]
        shown = shown[:, canvas // size // 2 :: canvas // size] / 127.5 - 1
        assert np.abs(shown - predictor.decode(latents[-1:])[0]).max() <= TOLERANCE
        assert page.problems == []
        context.close()


def test_int8_page_with_dynamic_ranges_draws_what_python_draws(browser, tmp_path):
    model, path = exemplar_model("waveform"), tmp_path / "page"
    export(model, path, format="web", runtime=LITERT, quantize="int8", ranges="dynamic")
    served, _ = FORMATS["web"].load(path)
    soundfile.write(tmp_path / "a.wav", make_clip(1.0, RATE), RATE)
    clip = next(load(path).stream_inputs(tmp_path / "a.wav"))
    with contextlib.closing(PageServer(0)) as server:
        server.show(path)
        page = open_page(browser.new_context(), server.where)
        page.set_input_files("#file", tmp_path / "a.wav")
        message(page, "a.wav has ended.")
        # Both measure the ranges themselves; a rounding of them shows in single pixels.
        assert np.abs(saved_image(page) - served(clip)[0]).mean() <= TOLERANCE
        assert page.problems == []
        page.context.close()


def test_label_is_told_at_most_once_a_second(browser, styled_server):
    page = open_page(browser.new_context(permissions=["microphone"]), styled_server.where)
    page.evaluate(
        """() => {
            window.told = [];
            const watch = new MutationObserver(() => told.push(performance.now()));
            watch.observe(document.getElementById("label"), { childList: true, characterData: true, subtree: true });
        }"""
    )
    page.click("#microphone")
    page.wait_for_timeout(4000)
    told = page.evaluate("told")
    assert told and all(after - before >= 990 for before, after in itertools.pairwise(told))
    page.context.close()


def test_page_of_a_model_without_style_and_labels_shows_neither(page):
    assert page.is_hidden("#styles") and page.is_hidden("#label")
    page.keyboard.press("n")
    assert page.input_value("#seed") == "0"


@pytest.mark.parametrize(("width", "height"), [(390, 844), (320, 568), (844, 390), (1280, 800)])
def test_page_with_styles_and_a_label_fits_the_window(browser, styled_server, tmp_path, width, height):
    check_fit(browser, styled_server, tmp_path, width, height, "styled", 0.3)


def test_audio_below_the_threshold_of_evidence_is_told_as_unknown(browser, styled_folder, tmp_path):
    folder = shutil.copytree(styled_folder, tmp_path / "page")
    description = json.loads((folder / "model.json").read_text())
    description["calibration"] = {"temperature": 1.0, "threshold": 1e6}
    (folder / "model.json").write_text(json.dumps(description))
    soundfile.write(tmp_path / "a.wav", make_clip(1.0, RATE), RATE)
    with contextlib.closing(PageServer(0)) as server:
        server.show(folder)
        page = open_page(browser.new_context(), server.where)
        page.set_input_files("#file", tmp_path / "a.wav")
        page.wait_for_selector('#label:has-text("unknown")', timeout=10_000)
        assert page.problems == []
        page.context.close()
