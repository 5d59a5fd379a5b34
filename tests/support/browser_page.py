"""The web page in a browser: where Chromium and the runtime are, and what every test does on a page."""

import os
import re

import numpy as np
import pytest
from PIL import Image

CHROMIUM, LITERT = os.environ.get("KERAS_A2I_CHROMIUM"), os.environ.get("KERAS_A2I_LITERT")
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and LITERT), reason="KERAS_A2I_CHROMIUM and KERAS_A2I_LITERT aren't set"),
]
RATE = 16_000
# An image that is saved has steps of 2 / 255.
TOLERANCE = 2e-2


def open_page(context, address):
    page = context.new_page()
    page.problems, page.addresses = [], []
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: page.addresses.append(request.url))
    page.goto(address)
    page.wait_for_selector("#microphone:enabled", timeout=30_000)
    return page


def make_clip(seconds, rate, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tones = np.stack([0.25 * np.sin(2 * np.pi * 330 * (channel + 1) * time) for channel in range(channels)], 1)
    return tones + 0.1 * rng.normal(size=tones.shape)


def saved_image(page):
    with page.expect_download() as download:
        page.click("#save")
    assert re.fullmatch(r"keras-a2i-\d{4}-\d\d-\d\dT[\d-]+\.png", download.value.suggested_filename)
    return np.asarray(Image.open(download.value.path()).convert("RGB"), np.float32) / 127.5 - 1


def message(page, text):
    page.wait_for_selector(f'#message:has-text("{text}")', timeout=20_000)
    return page.inner_text("#message")


def check_fit(browser, server, tmp_path, width, height, name, smallest_image):
    context = browser.new_context(permissions=["microphone"], viewport={"width": width, "height": height})
    page = open_page(context, server.where)
    page.click("#microphone")
    page.wait_for_selector("#save:enabled")
    for each in page.query_selector_all("button:visible, #styles:visible, #label:visible"):
        box = each.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
        assert box["height"] >= (38 if each.get_attribute("id") != "label" else 18)
    image = page.query_selector("#image").bounding_box()
    assert image["width"] == pytest.approx(image["height"]) and image["width"] >= smallest_image * min(width, height)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=os.environ.get("KERAS_A2I_SCREENSHOTS", str(tmp_path)) + f"/{name}_{width}x{height}.png")
    context.close()
