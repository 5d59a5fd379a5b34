"""The web page in real Chromium: images equal Python's, and every button and sentence is tried.

KERAS_A2I_CHROMIUM names the browser's executable and KERAS_A2I_LITERT the installed npm package @litertjs/core.
"""

import contextlib
import functools
import http.server
import io
import pathlib
import re
import threading

import keras
import numpy as np
import pytest
import soundfile
from support.browser_page import (
    CHROMIUM,
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

from keras_a2i.exporters import web
from keras_a2i.exporters.export import export
from keras_a2i.serving.page_server import PageServer

pytestmark = NEEDS_CHROMIUM


@pytest.mark.parametrize(
    ("name", "rate", "channels", "seconds"),
    [
        ("16 kHz.wav", 16_000, 1, 1.0),
        ("44 kHz stereo.wav", 44_100, 2, 1.0),
        ("96 kHz.flac", 96_000, 2, 1.0),
        ("48 kHz.mp3", 48_000, 1, 1.0),
        ("short.ogg", 44_100, 1, 0.4),
    ],
)
def test_image_of_a_file_equals_pythons(page, predictor, tmp_path, name, rate, channels, seconds):
    path, other = tmp_path / name, tmp_path / "other.wav"
    soundfile.write(path, make_clip(seconds, rate, channels), rate)
    soundfile.write(other, 0.01 * make_clip(1.0, RATE, seed=1), RATE)
    page.set_input_files("#file", path)
    message(page, f"{name} has ended.")
    image, expected = saved_image(page), predictor.predict(path)[0]
    assert image.shape == expected.shape and np.abs(image - expected).max() <= TOLERANCE
    # The comparison means something: other audio has another image.
    assert np.abs(expected - predictor.predict(other)[0]).max() > 5 * TOLERANCE


def test_image_of_a_long_file_is_that_of_its_newest_clip(page, predictor, tmp_path):
    samples = make_clip(2.3, 44_100, seed=2) * np.linspace(0.1, 1, round(2.3 * 44_100))[:, None]
    soundfile.write(tmp_path / "long.wav", samples, 44_100, subtype="FLOAT")
    page.set_input_files("#file", tmp_path / "long.wav")
    message(page, "long.wav has ended.")
    expected = predictor.predict(samples[-44_100:, 0].astype(np.float32), 44_100)[0]
    assert np.abs(saved_image(page) - expected).mean() <= TOLERANCE


def test_dropped_file_is_played_as_a_chosen_one(page, predictor, tmp_path):
    content = io.BytesIO()
    soundfile.write(content, make_clip(1.0, RATE), RATE, format="WAV")
    page.evaluate(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.wav"));
            for (const type of ["dragenter", "dragover", "drop"]) {
                const event = new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data });
                document.body.dispatchEvent(event);
            }
        }""",
        list(content.getvalue()),
    )
    message(page, "dropped.wav has ended.")
    (tmp_path / "dropped.wav").write_bytes(content.getvalue())
    assert np.abs(saved_image(page) - predictor.predict(tmp_path / "dropped.wav")[0]).max() <= TOLERANCE


def test_microphone_yields_ten_images_a_second_of_its_audio(page, predictor, tone):
    page.click("#microphone")
    page.wait_for_timeout(4000)
    figures = page.inner_text("#figures")
    assert float(re.fullmatch(r"([\d.]+) images a second", figures)[1]) >= 10
    assert page.evaluate("getComputedStyle(document.getElementById('bar')).clipPath") != "inset(0px 100% 0px 0px)"
    image, expected = saved_image(page), predictor.predict(tone)[3]
    silence = predictor.predict(np.zeros(RATE, np.float32), RATE)[0]
    assert np.abs(image - expected).mean() < 0.25 * np.abs(image - silence).mean()
    page.click("#stop")
    assert message(page, "Stopped.") and page.inner_text("#figures") == ""


def test_keys_start_freeze_and_stop(page, tmp_path):
    page.keyboard.press("m")
    page.wait_for_selector("#save:enabled")
    page.keyboard.press("Space")
    assert page.get_attribute("#freeze", "aria-pressed") == "true"
    first = saved_image(page)
    page.wait_for_timeout(300)
    np.testing.assert_array_equal(saved_image(page), first)
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON" and outline == "solid"
    page.keyboard.press("x")
    assert message(page, "Stopped.")


def test_film_has_image_and_sound(page, tmp_path):
    av = pytest.importorskip("av")
    soundfile.write(tmp_path / "film.wav", make_clip(6.0, 44_100), 44_100)
    page.set_input_files("#file", tmp_path / "film.wav")
    page.wait_for_selector("#save:enabled")
    page.click("#record")
    page.wait_for_timeout(2500)
    with page.expect_download() as download:
        page.click("#record")
    assert download.value.suggested_filename.endswith(".webm")
    ends = {}
    for kind in ("video", "audio"):
        with av.open(str(download.value.path())) as film:
            frames = list(film.decode(**{kind: 0}))
        ends[kind] = frames[-1].time
        if kind == "video":
            assert (frames[0].width, frames[0].height) == (512, 512) and len(frames) >= 5
            assert frames[-1].to_ndarray(format="rgb24").std() > 1
        else:
            assert np.abs(frames[len(frames) // 2].to_ndarray()).max() > 0.05
    # On a busy machine, the encoder leaves out the last frames.
    assert ends["video"] > 1 and abs(ends["audio"] - ends["video"]) < 1


def test_film_shows_an_image_when_its_audio_sounds(browser, tmp_path):
    av = pytest.importorskip("av")
    inputs = keras.Input((16_000,), name="waveform")
    loudness = keras.ops.mean(keras.ops.abs(inputs[:, -800:]), axis=1, keepdims=True)
    image = keras.ops.tile(keras.ops.clip(20 * loudness, 0, 2) - 1, (1, 16 * 16 * 3))
    model = keras.Model(inputs, keras.ops.reshape(image, (-1, 16, 16, 3)))
    folder = export(model, tmp_path / "page", format="web", runtime=LITERT).path
    time = np.arange(7 * RATE) / RATE
    soundfile.write(tmp_path / "bursts.wav", 0.5 * np.sin(3000 * time) * (time % 1 > 0.6), RATE)
    with contextlib.closing(PageServer(0)) as server:
        server.show(folder)
        page = open_page(browser.new_context(), server.where)
        page.set_input_files("#file", tmp_path / "bursts.wav")
        page.wait_for_selector("#save:enabled")
        page.click("#record")
        page.wait_for_timeout(4500)
        with page.expect_download() as download:
            page.click("#record")
        path = str(download.value.path())
        page.close()
    starts = {}
    for kind, measure in (
        ("video", lambda frame: frame.to_ndarray(format="gray")),
        ("audio", lambda f: f.to_ndarray()),
    ):
        with av.open(path) as film:
            frames = [(frame.time, np.abs(measure(frame)).mean()) for frame in film.decode(**{kind: 0})]
        times, values = np.transpose(frames)
        is_loud = values > values.max() / 2
        starts[kind] = times[1:][is_loud[1:] & ~is_loud[:-1]]
    assert len(starts["audio"]) >= 3
    apart = [starts["video"][np.abs(starts["video"] - start).argmin()] - start for start in starts["audio"]]
    assert abs(np.median(apart)) <= 0.1


def test_files_that_are_no_audio_end_in_a_sentence(page, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVE no audio at all")
    (tmp_path / "empty.mp3").write_bytes(b"")
    page.click("#microphone")
    page.wait_for_selector("#save:enabled")
    page.set_input_files("#file", tmp_path / "broken.wav")
    assert message(page, "broken.wav") == (
        "broken.wav can't be read as audio by this browser. Choose a WAV, MP3, FLAC, Ogg or M4A file."
    )
    page.set_input_files("#file", tmp_path / "empty.mp3")
    assert message(page, "empty.mp3") == "empty.mp3 is empty."
    # The microphone goes on meanwhile.
    assert page.is_visible("#stop")


def test_file_of_more_than_fifteen_minutes_is_refused(page, tmp_path):
    soundfile.write(tmp_path / "hour.flac", np.zeros(16 * 60 * 8_000, np.int16), 8_000)
    page.set_input_files("#file", tmp_path / "hour.flac")
    assert message(page, "hour.flac") == ("A file may have at most 200 MB and 15 minutes. Cut a part out of hour.flac.")


def test_refused_microphone_ends_in_a_sentence(browser, server):
    context = browser.new_context()
    page = open_page(context, server.where)
    page.click("#microphone")
    assert message(page, "refused") == (
        "The microphone was refused. Allow it for this page in the browser's address bar, then press Microphone again."
    )
    assert page.is_enabled("#microphone") and page.is_hidden("#stop")
    context.close()


def test_missing_microphone_ends_in_a_sentence(chromium, server):
    browser = chromium.launch(executable_path=CHROMIUM)
    page = open_page(browser.new_context(permissions=["microphone"]), server.where)
    page.click("#microphone")
    assert message(page, "No mic") == "No microphone was found. Connect one, or choose an audio file."
    browser.close()


def test_microphone_that_is_busy_or_pulled_out_ends_in_a_sentence(page):
    page.evaluate(
        """() => {
            const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            let calls = 0;
            navigator.mediaDevices.getUserMedia = async wanted => {
                if (calls++ === 0) throw new DOMException("busy", "NotReadableError");
                window.stream = await open(wanted);
                return window.stream;
            };
        }"""
    )
    page.click("#microphone")
    assert message(page, "opened") == "The microphone can't be opened. Another program may be using it."
    page.click("#microphone")
    page.wait_for_selector("#save:enabled")
    page.evaluate("stream.getTracks()[0].dispatchEvent(new Event('ended'))")
    assert message(page, "disconnected") == "The microphone was disconnected."
    assert page.is_hidden("#stop") and page.is_disabled("#record")


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("model.json", "model.json can't be loaded: status 404."),
        ("model.tflite", "Something went wrong: model.tflite can't be loaded: status 404"),
        ("litert_wasm_internal.js", "Something went wrong: "),
    ],
)
def test_page_that_lacks_a_file_says_so(browser, server, file, sentence):
    page = browser.new_page()
    page.route(f"**/{file}", lambda route: route.fulfill(status=404))
    page.goto(server.where)
    assert sentence in message(page, sentence)
    assert page.is_disabled("#microphone")
    page.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_page_without_a_secure_context_plays_files_and_says_so(chromium, folder, tmp_path):
    plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder))
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    browser = chromium.launch(executable_path=CHROMIUM, args=["--host-resolver-rules=MAP page.test 127.0.0.1"])
    page = open_page(browser.new_context(), f"http://page.test:{plain.server_port}/")
    assert message(page, "Ready") == "Ready for audio files. The microphone needs a secure page (https)."
    page.click("#microphone")
    assert message(page, "needs a secure page: https, or localhost on this device. Audio files work here too.")
    soundfile.write(tmp_path / "a.wav", make_clip(1.0, RATE), RATE)
    page.set_input_files("#file", tmp_path / "a.wav")
    assert message(page, "a.wav has ended.")
    browser.close()
    plain.shutdown()


def test_nothing_leaves_the_device_from_page_or_worker(page, server):
    page.click("#microphone")
    page.wait_for_selector("#save:enabled")
    assert all(address.startswith((server.where, "blob:", "data:")) for address in page.addresses)
    other = "http://127.0.0.1:9/"
    assert "Failed to fetch" in page.evaluate(f"fetch('{other}').catch(error => error.message)")
    in_worker = page.evaluate(
        """address => new Promise(resolve => {
            const code = `fetch("${address}").catch(error => postMessage(error.message));
                self.addEventListener("securitypolicyviolation", event => postMessage(event.effectiveDirective));`;
            const answers = [];
            new Worker(URL.createObjectURL(new Blob([code]))).onmessage = ({ data }) => {
                answers.push(data);
                if (answers.length === 2) resolve(answers);
            };
        })""",
        other,
    )
    assert "connect-src" in in_worker
    # These two were on purpose.
    assert page.problems and all("Content Security Policy" in text for text in page.problems)
    page.problems.clear()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (320, 568), (844, 390), (1280, 800)])
def test_page_fits_the_window(browser, server, tmp_path, width, height):
    check_fit(browser, server, tmp_path, width, height, "page", 0.45)


def test_full_screen_shows_the_image_alone(page):
    page.click("#microphone")
    page.wait_for_selector("#save:enabled")
    page.keyboard.press("f")
    page.wait_for_selector("body.resting", timeout=6000)
    page.wait_for_timeout(400)
    assert page.evaluate("document.fullscreenElement === document.documentElement")
    assert page.evaluate("getComputedStyle(document.getElementById('panel')).opacity") == "0"
    page.mouse.move(300, 300)
    page.wait_for_timeout(400)
    assert page.evaluate("getComputedStyle(document.getElementById('panel')).opacity") == "1"


def test_page_from_a_file_says_that_it_needs_a_server(browser, folder):
    page = browser.new_page()
    page.goto((folder / "index.html").as_uri())
    assert "open the page through a web server" in page.inner_text("#message")
    page.close()


@pytest.fixture
def cdn_server(predictor, folder, tmp_path):
    """The same page with the runtime of a content delivery network."""
    page = tmp_path / "page"
    page.mkdir()
    web.write_page(page, web.copy_model(folder / web.MODEL_FILE, page), web.CDN)
    with contextlib.closing(PageServer(0)) as server:
        server.show(page)
        yield server


def from_package(change):
    """Answers requests to the network from the npm package, with a change to each file."""

    def answer(route):
        name = route.request.url.removeprefix(web.CDN_ADDRESS)
        content = change((pathlib.Path(LITERT) / "wasm" / name).read_bytes())
        route.fulfill(body=content, headers={"Access-Control-Allow-Origin": "*"})

    return answer


def test_cdn_runtime_is_checked_and_its_image_equals_pythons(browser, cdn_server, predictor, tmp_path):
    context = browser.new_context()
    context.route(web.CDN_ADDRESS + "*", from_package(lambda content: content))
    page = open_page(context, cdn_server.where)
    soundfile.write(tmp_path / "clip.wav", make_clip(1.0, RATE), RATE)
    page.set_input_files("#file", tmp_path / "clip.wav")
    message(page, "clip.wav has ended.")
    assert np.abs(saved_image(page) - predictor.predict(tmp_path / "clip.wav")[0]).max() <= TOLERANCE
    elsewhere = [address for address in page.addresses if not address.startswith((cdn_server.where, "blob:", "data:"))]
    assert len(elsewhere) == 2 and all(address.startswith(web.CDN_ADDRESS) for address in elsewhere)
    context.close()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (from_package(lambda content: content + b" "), "isn't the expected file: it wasn't run."),
        (
            lambda route: route.abort(),
            "The runtime can't be loaded from https://cdn.jsdelivr.net/npm/@litertjs/core@2.5.3",
        ),
    ],
)
def test_cdn_runtime_that_differs_or_is_missing_is_refused_and_told(browser, cdn_server, answer, text):
    context = browser.new_context()
    context.route(web.CDN_ADDRESS + "*", answer)
    page = context.new_page()
    page.goto(cdn_server.where)
    assert text in message(page, text)
    assert page.is_disabled("#microphone")
    context.close()
