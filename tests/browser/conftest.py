"""Chromium, a page of an untrained model, and a microphone that plays a file."""

import contextlib

import keras
import numpy as np
import pytest
import soundfile
from support.browser_page import CHROMIUM, LITERT, RATE, open_page

from keras_a2i.exporters.export import export
from keras_a2i.recipes import get_recipe
from keras_a2i.serving.page_server import PageServer
from keras_a2i.serving.predictor import load


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A page of an untrained model of audio whose images depend on it."""
    keras.utils.set_random_seed(0)
    model = get_recipe("scenes", size="tiny").build(image_size=32)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "moving" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    path = tmp_path_factory.mktemp("browser") / "page"
    return export(model, path, format="web", input="waveform", runtime=LITERT).path


@pytest.fixture(scope="session")
def predictor(folder):
    return load(folder)


@pytest.fixture(scope="session")
def server(folder):
    with contextlib.closing(PageServer(0)) as server:
        server.show(folder)
        yield server


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        yield running.chromium


@pytest.fixture(scope="session")
def tone(tmp_path_factory):
    """The file that the faked microphone plays in a loop: any second of it sounds the same."""
    path = tmp_path_factory.mktemp("microphone") / "tone.wav"
    time = np.arange(10 * RATE) / RATE
    soundfile.write(path, sum(0.2 * np.sin(2 * np.pi * f * time) for f in (220, 440, 1760)), RATE)
    return path


@pytest.fixture(scope="session")
def browser(chromium, tone):
    flags = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={tone}"]
    browser = chromium.launch(executable_path=CHROMIUM, args=flags)
    yield browser
    browser.close()


@pytest.fixture
def page(browser, server):
    context = browser.new_context(permissions=["microphone"], viewport={"width": 1280, "height": 800})
    page = open_page(context, server.where)
    yield page
    # Nothing of the page may break its own policy or end in an exception.
    assert page.problems == []
    context.close()
