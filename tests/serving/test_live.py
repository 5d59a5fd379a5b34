"""Live images: the newest audio wins, drops are counted, memory is bounded, the page is for this machine alone."""

import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image
from support.networks import tiny_network
from support.processes import LESS_GARBAGE_COLLECTION

from keras_a2i.cli.main import cli
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import MissingPackageError, SourceError, UsageError
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.serving import local_server
from keras_a2i.serving.audio_inputs import FileInput
from keras_a2i.serving.live import LiveSession, check_rate
from keras_a2i.serving.live_status import MAX_KEPT, LiveStatus, Timings, audio_level
from keras_a2i.serving.microphone import Microphone
from keras_a2i.serving.mjpeg import MjpegServer
from keras_a2i.serving.outputs import ImageFolder
from keras_a2i.serving.predictor import Predictor
from keras_a2i.serving.ring_buffer import RingBuffer

RATE = 16_000
STATUS = LiveStatus(
    source="s", clip=1.0, seconds=1.0, images=3, dropped=0, overflows=0,
    images_per_second=None, latency_median=None, latency_p95=None, level=-90.0,
)  # fmt: skip


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        # As a real clock, it never stands still.
        self.time += max(seconds, 1e-6)


class Tape:
    """Audio whose sample number is its value, written up to now whenever the session asks."""

    name, overflows = "tape", 0

    def __init__(self, clock, seconds):
        self.clock, self.left = clock, round(seconds * RATE)
        self.stopped = False

    def start(self, buffer):
        self.buffer, self.started, self.heard = buffer, self.clock.now(), 0

    def is_finished(self):
        until = min(self.left, round((self.clock.now() - self.started) * RATE))
        self.buffer.write(np.arange(self.heard, until, dtype=np.float32) / 1e6, self.started + until / RATE)
        self.heard = until
        return until == self.left

    def stop(self):
        self.stopped = True


class Frames:
    where = "memory"

    def __init__(self, clock=None, seconds=0.0):
        self.images, self.statuses, self.clock, self.seconds = [], [], clock, seconds

    def show(self, image, status):
        self.images.append(image)
        self.statuses.append(status)
        if self.clock:
            self.clock.time += self.seconds

    def close(self):
        pass


def newest_sample_predictor(seen):
    metadata = ModelMetadata(features=FeatureConfig(), image=ImageConfig(size=16), input="waveform")

    def predict(clips):
        seen.append(clips[0, [0, -1]].copy())
        return np.zeros((len(clips), 16, 16, 3), np.float32)

    return Predictor(predict, metadata)


def session(seconds=3.0, generating=0.0, rate=10.0):
    clock, seen = Clock(), []
    output = Frames(clock, generating)
    live = LiveSession(
        newest_sample_predictor(seen), Tape(clock, seconds), output, rate, now=clock.now, sleep=clock.sleep
    )
    return live, output, seen


def test_live_session_uses_the_newest_clip_at_every_tick():
    live, _, seen = session()
    live.run()
    status = live.status()
    assert (status.images, status.dropped) == (31, 0) and status.seconds == pytest.approx(3.0)
    # The first clip was silence to warm up, the next ones end where the audio was captured to.
    newest = np.array([last for _, last in seen[1:]]) * 1e6
    np.testing.assert_allclose(newest[1:], np.arange(1, 31) * 1600 - 1, atol=30)
    assert seen[5][0] == 0 and seen[-1][0] * 1e6 == pytest.approx(32_000, abs=30)
    assert live.timings.percentile(50) == pytest.approx(0, abs=1e-3)


def test_live_session_that_is_too_slow_drops_ticks_and_queues_nothing():
    live, *_ = session(seconds=10.0, generating=0.25)
    live.run()
    status = live.status()
    assert status.images + status.dropped == pytest.approx(100, abs=3) and status.dropped > 55
    assert status.images_per_second == pytest.approx(4, rel=0.05)
    assert live.timings.percentile(50) == pytest.approx(0.25, rel=0.02)
    assert live.timings.max == pytest.approx(0.25, rel=0.02)


def test_live_session_ends_after_its_seconds_and_by_stop():
    live, *_ = session(seconds=100.0)
    live.run(seconds=2.0)
    assert live.status().seconds == pytest.approx(2.0) and live.status().images == 20
    live, output, _ = session(seconds=100.0)
    output.show = lambda image, status: live.stop()
    live.run()
    assert live.status().images == 1 and live._source.stopped
    reports = []
    live, *_ = session(seconds=5.0)
    live.run(report=reports.append)
    assert [round(status.seconds) for status in reports][:4] == [1, 2, 3, 4]


@pytest.mark.parametrize("rate", [0.0, 61.0, float("nan")])
def test_check_rate_out_of_range_is_refused(rate):
    with pytest.raises(UsageError, match=r"rate must be between 0.1 and 60 images per second. Received: rate="):
        check_rate(rate)


def test_ring_buffer_keeps_the_newest_samples_of_any_blocks():
    ring, rng = RingBuffer(1000), np.random.default_rng(0)
    assert ring.newest()[1] is None and not ring.newest()[0].any()
    samples = rng.normal(size=20_000).astype(np.float32)
    at = 0
    while at < len(samples):
        block = samples[at : at + rng.integers(0, 2500)]
        at += len(block)
        ring.write(block, at / 10)
        kept, captured_at = ring.newest()
        expected = samples[max(0, at - 1000) : at]
        np.testing.assert_array_equal(kept[len(kept) - len(expected) :], expected)
        assert captured_at is None or captured_at == at / 10


def test_timings_percentiles_equal_numpy_in_fixed_memory():
    seconds = np.random.default_rng(0).lognormal(-4, 1, MAX_KEPT + 5_000)
    timings = Timings()
    assert timings.percentile(50) is None and timings.per_second is None and timings.count == 0
    for i, value in enumerate(seconds):
        timings.add(i / 20, value)
    for percent in (50, 95, 99):
        assert timings.percentile(percent) == pytest.approx(np.percentile(seconds[-MAX_KEPT:], percent))
        assert timings.percentile(percent, recent=True) == pytest.approx(np.percentile(seconds[-100:], percent))
    assert timings.max == seconds.max() and timings.count == MAX_KEPT + 5_000
    assert timings.per_second == pytest.approx(20)
    timings.add(1e6, None)
    assert timings.count == MAX_KEPT + 5_000
    assert audio_level(np.full(10, 0.1)) == pytest.approx(-20) and audio_level(np.zeros(3)) == -90


def test_file_input_plays_at_real_speed(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.5, 0.5, 4000).astype(np.float32)
    soundfile.write(tmp_path / "sound.wav", samples, RATE, subtype="FLOAT")
    clock, ring, written = Clock(), RingBuffer(4000), []
    source = FileInput(tmp_path / "sound.wav", RATE, clock.now, clock.sleep)
    write = ring.write
    ring.write = lambda block, at: (written.append((len(block), at, clock.time)), write(block, at))
    source.start(ring)
    source._thread.join()
    assert source.is_finished() and source.name == "sound.wav"
    np.testing.assert_array_equal(ring.newest()[0], samples)
    assert [n for n, *_ in written] == [320] * 12 + [160]
    assert all(at == pytest.approx(100 + 0.02 * (i + 1)) for i, (_, at, _) in enumerate(written[:-1]))
    assert all(now >= at - 1e-9 for _, at, now in written)
    source.stop()
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(SourceError, match=r"bad.wav can't be read as audio"):
        FileInput(tmp_path / "bad.wav", RATE)


def test_file_input_that_breaks_off_raises_in_is_finished(tmp_path):
    samples = np.zeros(200_000, np.float32)
    samples[190_000] = np.nan
    soundfile.write(tmp_path / "sound.wav", samples, RATE, subtype="FLOAT")
    clock = Clock()
    source = FileInput(tmp_path / "sound.wav", RATE, clock.now, clock.sleep)
    source.start(RingBuffer(100))
    source._thread.join()
    with pytest.raises(SourceError, match=r"Samples must be finite"):
        source.is_finished()


@pytest.fixture
def server():
    server = MjpegServer(0)
    yield server
    server.close()


def get(server, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", path, headers=headers)
    return connection, connection.getresponse()


def test_server_serves_the_page_its_numbers_and_its_images(server):
    _, answer = get(server, "/image.jpg")
    assert answer.status == 503
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image[:] = np.linspace(0, 255, 32, dtype=np.uint8)[:, None, None]
    server.show(image, STATUS)
    _, answer = get(server, "/")
    page = answer.read().decode()
    assert answer.status == 200 and "keras-a2i live" in page and "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page and answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    for name in re.findall(r'(?:src|href)="([\w.]+)"', page):
        assert get(server, f"/{name}")[1].status == 200
        assert b"page.js" not in get(server, f"/{name}")[1].read()
    _, answer = get(server, "/status.json")
    assert json.loads(answer.read()) == {**vars(STATUS)}
    _, answer = get(server, "/image.jpg")
    shown = np.asarray(Image.open(io.BytesIO(answer.read())), int)
    assert np.abs(shown - image).mean() < 2
    _, answer = get(server, "/elsewhere")
    assert answer.status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_server_refuses_another_host_name(server, host):
    server.show(np.zeros((16, 16, 3), np.uint8), STATUS)
    for path in ("/", "/stream", "/image.jpg", "/status.json"):
        _, answer = get(server, path, Host=host)
        assert answer.status == 403
    _, answer = get(server, "/", Host="localhost:1")
    assert answer.status == 200


def test_stream_sends_every_viewer_the_newest_image(server):
    server.show(np.zeros((16, 16, 3), np.uint8), STATUS)
    viewers = [get(server, "/stream") for _ in range(3)]
    gone, _ = viewers.pop()
    gone.close()
    for _, answer in viewers:
        assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        assert read_part(answer).mean() == 0
    server.show(np.full((16, 16, 1), 255, np.uint8), STATUS)
    for _, answer in viewers:
        assert read_part(answer).mean() == 255


def read_part(answer):
    while not (line := answer.readline()).startswith(b"Content-Length"):
        assert line
    length = int(line.split(b":")[1])
    answer.readline()
    return np.asarray(Image.open(io.BytesIO(answer.read(length))))


def test_slow_viewer_receives_the_newest_image_and_blocks_nobody(server):
    rng = np.random.default_rng(0)
    server.show(np.zeros((256, 256, 3), np.uint8), STATUS)
    _, slow = get(server, "/stream")
    read_part(slow)
    for _ in range(60):
        server.show(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8), STATUS)
    server.show(np.full((256, 256, 3), 255, np.uint8), STATUS)
    parts = 1
    while read_part(slow).mean() <= 250:
        parts += 1
    assert parts < 40


@pytest.mark.training
def test_request_that_drips_loses_its_place(server, monkeypatch):
    monkeypatch.setattr(local_server, "_SECONDS_TO_ANSWER", 0.5)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as dripping:
        started = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - started < 5:
                dripping.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - started < 3
    _, viewer = get(server, "/stream")
    time.sleep(0.7)
    server.show(np.zeros((16, 16, 3), np.uint8), STATUS)
    assert read_part(viewer).mean() == 0, "Only the request has a limit, not its answer."


def test_server_close_frees_the_port_and_ends_streams():
    server = MjpegServer(0)
    server.show(np.zeros((16, 16, 3), np.uint8), STATUS)
    viewer, _ = get(server, "/stream")
    before = threading.active_count()
    with pytest.raises(
        UsageError, match=rf"port must be free. Received: port={server.port}, but another program uses it"
    ):
        MjpegServer(server.port)
    with pytest.raises(UsageError, match=r"port must be between 0 and 65535. Received: port=70000"):
        MjpegServer(70_000)
    server.close()
    assert threading.active_count() < before
    viewer.close()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", server.port))


def test_image_folder_numbers_images_and_never_mixes_sessions(tmp_path):
    folder = ImageFolder(tmp_path / "live")
    for shade in (0, 128):
        folder.show(np.full((16, 16, 1), shade, np.uint8), STATUS)
    assert [path.name for path in sorted((tmp_path / "live").iterdir())] == ["000000.png", "000001.png"]
    with pytest.raises(UsageError, match=r"path must not hold images of an earlier session"):
        ImageFolder(tmp_path / "live")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=r"path must be a folder. Received: the file"):
        ImageFolder(tmp_path / "file")
    folder.close()
    folder.close()
    assert len(list((tmp_path / "live").iterdir())) == 2


def test_image_folder_without_an_image_leaves_nothing(tmp_path):
    (tmp_path / "mine").mkdir()
    for path in (tmp_path / "new" / "live", tmp_path / "mine"):
        folder = ImageFolder(path)
        assert path.is_dir()
        folder.close()
        folder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    folder = ImageFolder(tmp_path / "new" / "live")
    (tmp_path / "new" / "notes.txt").write_text("mine")
    folder.close()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["notes.txt"]


class FakeSounddevice(types.SimpleNamespace):
    """A microphone of 44.1 kHz whose callback the tests call."""

    class PortAudioError(Exception):
        pass

    def query_devices(self, device=None, kind=None):
        if kind is None:
            return self.devices
        if device not in (None, "USB"):
            raise ValueError("no such device")
        if not self.devices:
            raise self.PortAudioError("none")
        return self.devices[0]

    def InputStream(self, *, samplerate, callback, channels, **options):
        if samplerate != 44_100:
            raise self.PortAudioError("Invalid sample rate")
        self.callback = callback
        return types.SimpleNamespace(samplerate=44_100.0, start=lambda: None, close=lambda ignore_errors: None)


@pytest.fixture
def microphones(monkeypatch):
    device = {"name": "USB mic", "max_input_channels": 1, "default_samplerate": 44_100.0}
    fake = FakeSounddevice(devices=[device])
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def test_microphone_of_another_rate_is_resampled_and_counts_overflows(microphones):
    clock, ring = Clock(), RingBuffer(RATE)
    microphone = Microphone(RATE, now=clock.now)
    microphone.start(ring)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(44_100 * 2) / 44_100).astype(np.float32)
    times = types.SimpleNamespace(inputBufferAdcTime=0.0, currentTime=0.0)
    for i, block in enumerate(np.split(tone[:, None], 100)):
        clock.time += 0.02
        microphones.callback(block, len(block), times, types.SimpleNamespace(input_overflow=i == 7))
    samples, captured_at = ring.newest()
    assert np.abs(np.fft.rfft(samples)).argmax() == 1000 and np.abs(samples).max() == pytest.approx(0.5, abs=0.01)
    assert microphone.overflows == 1 and clock.time - 0.2 < captured_at <= clock.time
    assert not microphone.is_finished()
    clock.time += 6
    with pytest.raises(SourceError, match=r"USB mic has recorded no audio for 5 s. Is it still connected"):
        microphone.is_finished()
    microphone.stop()


def test_microphone_that_is_missing_or_busy_is_refused(microphones, monkeypatch):
    with pytest.raises(SourceError, match=r"device must match exactly one microphone of USB mic. Received: 'other'"):
        Microphone(RATE, "other")
    microphones.InputStream = lambda **options: (_ for _ in ()).throw(microphones.PortAudioError("busy"))
    with pytest.raises(SourceError, match=r"USB mic can't be opened: busy. Another program may be using it"):
        Microphone(RATE)
    microphones.devices = []
    with pytest.raises(SourceError, match=r"must have a microphone. Received: none that PortAudio finds"):
        Microphone(RATE)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingPackageError, match=r'sounddevice, which isn\'t installed. .* "keras-a2i\[live\]"'):
        Microphone(RATE)


@pytest.mark.training
def test_live_command_plays_a_file_and_ends_with_a_summary_on_a_signal(tmp_path):
    save_model(tiny_network(image_size=16), tmp_path / "m.keras", ModelMetadata(image=ImageConfig(size=16)))
    soundfile.write(tmp_path / "short.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "long.wav", np.zeros(60 * RATE), RATE)
    arguments = ["live", str(tmp_path / "m.keras")]
    code = LESS_GARBAGE_COLLECTION + "from keras_a2i.cli.main import main; main()"
    live = [sys.executable, "-c", code, *arguments]
    done = CliRunner().invoke(
        cli, [*arguments, "--input", str(tmp_path / "short.wav"), "--to", str(tmp_path / "png")], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    assert "images in 1." in done.stdout and "latency from audio to image: median" in done.stdout
    assert 2 <= len(list((tmp_path / "png").iterdir())) <= 12
    process = subprocess.Popen(
        [*live, "--input", tmp_path / "long.wav", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    assert "long.wav to http://127.0.0.1:" in line
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "long.wav to http://127.0.0.1:" in out
    mistakes = [
        (
            ["--rate", "0"],
            "rate must be between 0.1 and 60 images per second. Received: rate=0. On the command line: --rate",
        ),
        (["--seconds", "0"], "--seconds must be more than 0"),
    ]
    mistakes += [(["--to", "x", "--port", "1"], "--port must be left out unless --to is mjpeg")]
    for words, sentence in mistakes:
        error = CliRunner().invoke(cli, [*arguments, *words]).exception
        assert isinstance(error, UsageError) and sentence in str(error)
