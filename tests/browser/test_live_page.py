"""The page of `keras-a2i live` in real Chromium: the images, numbers and buttons of a session."""

import contextlib
import time

import numpy as np
import pytest
from support.browser_page import NEEDS_CHROMIUM, message, saved_image

from keras_a2i.errors import UsageError
from keras_a2i.serving.live_status import LiveStatus
from keras_a2i.serving.mjpeg import MjpegServer

pytestmark = NEEDS_CHROMIUM
STATUS = LiveStatus(
    source="rain.wav",
    clip=1.0,
    seconds=65.0,
    images=3,
    dropped=2,
    overflows=0,
    images_per_second=9.5,
    latency_median=12.0,
    latency_p95=20.0,
    level=-30.0,
)


def show(server, red, blue, **changes):
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0], image[..., 2] = red, blue
    server.show(image, LiveStatus(**{**vars(STATUS), **changes}))


def color(page):
    """The middle pixel of the page's image."""
    return page.evaluate("[...document.getElementById('image').getContext('2d').getImageData(256, 256, 1, 1).data]")[:3]


@pytest.fixture
def live_page(browser):
    with contextlib.closing(MjpegServer(0)) as server:
        context = browser.new_context(viewport={"width": 1000, "height": 700})
        page = context.new_page()
        page.problems, page.server = [], server
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(server.where)
        yield page
        assert page.problems == []
        context.close()


def wait_for_color(page, expected):
    for _ in range(50):
        if np.abs(np.subtract(color(page), expected)).max() <= 6:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{color(page)} isn't {expected}")


def test_live_page_shows_the_newest_image_and_the_numbers(live_page):
    assert "Waiting for the first image." in live_page.inner_text("#start")
    assert live_page.is_disabled("#save") and live_page.is_hidden("#microphone") and live_page.is_hidden("#styles")
    for red in (40, 90, 200):
        show(live_page.server, red, 0)
        wait_for_color(live_page, (red, 0, 0))
    assert message(live_page, "rain.wav") == "rain.wav" and live_page.is_hidden("#start")
    figures = live_page.inner_text("#figures")
    assert figures == "1:05 · 9.5 images a second · latency 12 ms, 95 % below 20 ms · 2 dropped"
    assert "inset(0px 50% 0px 0px)" in live_page.evaluate("getComputedStyle(document.getElementById('bar')).clipPath")
    show(live_page.server, 200, 0, overflows=3)
    message(live_page, "rain.wav. Audio was lost 3 times.")


def test_live_page_freezes_and_saves_the_image_in_its_own_size(live_page):
    show(live_page.server, 200, 0)
    wait_for_color(live_page, (200, 0, 0))
    live_page.wait_for_selector("#freeze:enabled")
    live_page.keyboard.press("Space")
    show(live_page.server, 0, 250)
    live_page.wait_for_timeout(500)
    assert np.abs(np.subtract(color(live_page), (200, 0, 0))).max() <= 6
    saved = (saved_image(live_page) + 1) * 127.5
    assert saved.shape == (32, 32, 3) and np.abs(saved - [200, 0, 0]).max() <= 6
    live_page.keyboard.press("Space")
    show(live_page.server, 0, 250)
    wait_for_color(live_page, (0, 0, 250))


def test_live_page_saves_a_silent_film(live_page, tmp_path):
    import av

    show(live_page.server, 200, 0)
    live_page.wait_for_selector("#record:enabled")
    live_page.click("#record")
    for red in range(20, 220, 20):
        show(live_page.server, red, 0)
        live_page.wait_for_timeout(100)
    with live_page.expect_download() as download:
        live_page.click("#record")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    with av.open(path) as film:
        assert not film.streams.audio
        reds = [frame.to_ndarray(format="rgb24")[100, 100, 0] for frame in film.decode(video=0)]
    assert len(reds) >= 10 and max(reds) > 150 and min(reds) < 90


def test_live_page_tells_the_end_and_goes_on_with_another_session(live_page):
    show(live_page.server, 200, 0)
    wait_for_color(live_page, (200, 0, 0))
    port = live_page.server.port
    live_page.server.close()
    message(live_page, "The session has ended.")
    deadline = time.monotonic() + 10
    while True:
        try:
            again = MjpegServer(port)
            break
        except UsageError:
            assert time.monotonic() < deadline
            live_page.wait_for_timeout(200)
    with contextlib.closing(again):
        show(again, 0, 220, source="other.wav")
        wait_for_color(live_page, (0, 0, 220))
        message(live_page, "other.wav")
