"""Live pictures: the newest sound wins, drops are counted, memory is bounded, the page is for this machine alone."""

import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
import soundfile
from PIL import Image

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import MissingPackageError, SourceError, UsageError
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.models.network import encoder_generator
from keras_a2i.serving.audio_inputs import FileInput
from keras_a2i.serving.live import LiveSession, check_rate
from keras_a2i.serving.live_status import Latencies, LiveStatus, RecentImages, audio_level
from keras_a2i.serving.microphone import Microphone
from keras_a2i.serving.mjpeg import MjpegServer
from keras_a2i.serving.outputs import ImageFolder, Window
from keras_a2i.serving.predictor import Predictor
from keras_a2i.serving.ring_buffer import RingBuffer

RATE = 16_000
STATUS = LiveStatus(
    source="s", window=1.0, seconds=1.0, pictures=3, dropped=0, overflows=0,
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
    """A sound whose sample number is its value, written up to now whenever the session asks."""

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
        self.pictures, self.statuses, self.clock, self.seconds = [], [], clock, seconds

    def show(self, picture, status):
        self.pictures.append(picture)
        self.statuses.append(status)
        if self.clock:
            self.clock.time += self.seconds

    def attend(self):
        return True

    def close(self):
        pass


def newest_sample_predictor(seen):
    metadata = ModelMetadata(features=FeatureConfig(), image=ImageConfig(size=16), input="waveform")

    def run(windows):
        seen.append(windows[0, [0, -1]].copy())
        return np.zeros((len(windows), 16, 16, 3), np.float32)

    return Predictor(run, metadata)


def session(seconds=3.0, drawing=0.0, rate=10.0):
    clock, seen = Clock(), []
    output = Frames(clock, drawing)
    live = LiveSession(
        newest_sample_predictor(seen), Tape(clock, seconds), output, rate, now=clock.now, sleep=clock.sleep
    )
    return live, output, seen


def test_every_tick_draws_the_newest_window():
    live, _, seen = session()
    live.run()
    status = live.status()
    assert (status.pictures, status.dropped) == (31, 0) and status.seconds == pytest.approx(3.0)
    # The first window was silence to warm up, the next ones end where the sound was heard to.
    newest = np.array([last for _, last in seen[1:]]) * 1e6
    np.testing.assert_allclose(newest[1:], np.arange(1, 31) * 1600 - 1, atol=30)
    assert seen[5][0] == 0 and seen[-1][0] * 1e6 == pytest.approx(32_000, abs=30)
    assert live.latencies.percentile(50) == pytest.approx(0, abs=1e-3)


def test_what_takes_too_long_drops_ticks_and_queues_nothing():
    live, *_ = session(seconds=10.0, drawing=0.25)
    live.run()
    status = live.status()
    assert status.pictures + status.dropped == pytest.approx(100, abs=3) and status.dropped > 55
    assert status.images_per_second == pytest.approx(4, rel=0.05)
    assert live.latencies.percentile(50) == pytest.approx(0.25, rel=0.02)
    assert live.latencies.max == pytest.approx(0.25, rel=0.02)


def test_a_session_ends_after_its_seconds_by_stop_and_by_its_viewer():
    live, *_ = session(seconds=100.0)
    live.run(seconds=2.0)
    assert live.status().seconds == pytest.approx(2.0) and live.status().pictures == 20
    live, output, _ = session(seconds=100.0)
    output.show = lambda picture, status: live.stop()
    live.run()
    assert live.status().pictures == 1 and live._source.stopped
    live, output, _ = session(seconds=100.0)
    output.attend = lambda: len(output.pictures) < 4
    live.run()
    assert len(output.pictures) == 4
    reports = []
    live, *_ = session(seconds=5.0)
    live.run(report=reports.append)
    assert [round(status.seconds) for status in reports][:4] == [1, 2, 3, 4]


@pytest.mark.parametrize("rate", [0.0, 61.0, float("nan")])
def test_rates_that_can_t_be(rate):
    with pytest.raises(UsageError, match=r"rate must lie between 0.1 and 60 pictures a second. Received"):
        check_rate(rate)


def test_a_ring_keeps_the_newest_whatever_the_blocks():
    ring, rng = RingBuffer(1000), np.random.default_rng(0)
    assert ring.newest()[1] is None and not ring.newest()[0].any()
    sound = rng.normal(size=20_000).astype(np.float32)
    at = 0
    while at < len(sound):
        block = sound[at : at + rng.integers(0, 2500)]
        at += len(block)
        ring.write(block, at / 10)
        kept, heard_at = ring.newest()
        expected = sound[max(0, at - 1000) : at]
        np.testing.assert_array_equal(kept[len(kept) - len(expected) :], expected)
        assert heard_at is None or heard_at == at / 10


def test_percentiles_in_fixed_memory_are_numpy_s():
    seconds = np.random.default_rng(0).lognormal(-4, 1, 20_000)
    found = Latencies()
    for value in seconds:
        found.add(value)
    for percent in (50, 95, 99):
        assert found.percentile(percent) == pytest.approx(np.percentile(seconds, percent), rel=0.011)
    assert found.max == seconds.max() and found.count == 20_000 and Latencies().percentile(50) == 0
    recent = RecentImages()
    for i in range(500):
        recent.add(i / 20, 0.001 * i)
    assert recent.per_second == pytest.approx(20) and recent.milliseconds(50) == pytest.approx(449.5)
    assert audio_level(np.full(10, 0.1)) == pytest.approx(-20) and audio_level(np.zeros(3)) == -90


def test_a_file_is_heard_at_real_speed(tmp_path):
    rng = np.random.default_rng(0)
    sound = rng.uniform(-0.5, 0.5, 4000).astype(np.float32)
    soundfile.write(tmp_path / "sound.wav", sound, RATE, subtype="FLOAT")
    clock, ring, written = Clock(), RingBuffer(4000), []
    source = FileInput(tmp_path / "sound.wav", RATE, clock.now, clock.sleep)
    write = ring.write
    ring.write = lambda block, heard_at: (written.append((len(block), heard_at, clock.time)), write(block, heard_at))
    source.start(ring)
    source._thread.join()
    assert source.is_finished() and source.name == "sound.wav"
    np.testing.assert_array_equal(ring.newest()[0], sound)
    assert [n for n, *_ in written] == [320] * 12 + [160]
    assert all(heard == pytest.approx(100 + 0.02 * (i + 1)) for i, (_, heard, _) in enumerate(written[:-1]))
    assert all(now >= heard - 1e-9 for _, heard, now in written)
    source.stop()
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    with pytest.raises(SourceError, match=r"bad.wav can't be read as audio"):
        FileInput(tmp_path / "bad.wav", RATE)


def test_a_sound_that_breaks_off_is_said(tmp_path):
    sound = np.zeros(200_000, np.float32)
    sound[190_000] = np.nan
    soundfile.write(tmp_path / "sound.wav", sound, RATE, subtype="FLOAT")
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


def test_the_page_its_numbers_and_its_pictures(server):
    _, answer = get(server, "/picture.jpg")
    assert answer.status == 503
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    picture[:] = np.linspace(0, 255, 32, dtype=np.uint8)[:, None, None]
    server.show(picture, STATUS)
    _, answer = get(server, "/")
    page = answer.read().decode()
    assert answer.status == 200 and "keras-a2i live" in page and "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    _, answer = get(server, "/status.json")
    assert json.loads(answer.read()) == {**vars(STATUS)}
    _, answer = get(server, "/picture.jpg")
    shown = np.asarray(Image.open(io.BytesIO(answer.read())), int)
    assert np.abs(shown - picture).mean() < 2
    _, answer = get(server, "/elsewhere")
    assert answer.status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_a_page_of_another_name_gets_nothing(server, host):
    server.show(np.zeros((16, 16, 3), np.uint8), STATUS)
    for path in ("/", "/stream", "/picture.jpg", "/status.json"):
        _, answer = get(server, path, Host=host)
        assert answer.status == 403
    _, answer = get(server, "/", Host="localhost:1")
    assert answer.status == 200


def test_a_stream_sends_every_viewer_the_newest_picture(server):
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


def test_a_slow_viewer_is_sent_what_is_newest_and_holds_nobody_up(server):
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


def test_closing_frees_the_port_and_ends_streams():
    server = MjpegServer(0)
    server.show(np.zeros((16, 16, 3), np.uint8), STATUS)
    viewer, _ = get(server, "/stream")
    before = threading.active_count()
    with pytest.raises(
        UsageError, match=rf"Port {server.port} is in use by another program. Choose another with --port"
    ):
        MjpegServer(server.port)
    server.close()
    assert threading.active_count() < before
    viewer.close()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", server.port))


def test_pictures_in_a_folder_are_numbered_and_never_mixed(tmp_path):
    folder = ImageFolder(tmp_path / "live")
    for shade in (0, 128):
        folder.show(np.full((16, 16, 1), shade, np.uint8), STATUS)
    assert [path.name for path in sorted((tmp_path / "live").iterdir())] == ["000000.png", "000001.png"]
    with pytest.raises(UsageError, match=r"holds pictures of an earlier call"):
        ImageFolder(tmp_path / "live")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=r"must go into a folder. Received: the file"):
        ImageFolder(tmp_path / "file")


def test_a_window_needs_tkinter_and_a_display(monkeypatch):
    tkinter = types.SimpleNamespace(TclError=RuntimeError)

    def refuse(**options):
        raise RuntimeError("no display name")

    tkinter.Tk = refuse
    monkeypatch.setitem(sys.modules, "tkinter", tkinter)
    with pytest.raises(UsageError, match=r"A window needs a display: no display name. .* --to mjpeg"):
        Window()
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(UsageError, match=r"A window needs Python's tkinter"):
        Window()


class FakeSounddevice(types.SimpleNamespace):
    """A microphone of 44.1 kHz that calls back when it is told."""

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


def test_a_microphone_of_another_rate_is_resampled_and_counts_what_is_lost(microphones):
    clock, ring = Clock(), RingBuffer(RATE)
    microphone = Microphone(RATE, now=clock.now)
    microphone.start(ring)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(44_100 * 2) / 44_100).astype(np.float32)
    times = types.SimpleNamespace(inputBufferAdcTime=0.0, currentTime=0.0)
    for i, block in enumerate(np.split(tone[:, None], 100)):
        clock.time += 0.02
        microphones.callback(block, len(block), times, types.SimpleNamespace(input_overflow=i == 7))
    heard, heard_at = ring.newest()
    assert np.abs(np.fft.rfft(heard)).argmax() == 1000 and np.abs(heard).max() == pytest.approx(0.5, abs=0.01)
    assert microphone.overflows == 1 and clock.time - 0.2 < heard_at <= clock.time
    assert not microphone.is_finished()
    clock.time += 6
    with pytest.raises(SourceError, match=r"USB mic has given no sound for 5 s. Is it still connected"):
        microphone.is_finished()
    microphone.stop()


def test_microphones_that_aren_t_there(microphones, monkeypatch):
    with pytest.raises(SourceError, match=r"The microphone must be one of USB mic, .* Received: 'other'"):
        Microphone(RATE, "other")
    microphones.InputStream = lambda **options: (_ for _ in ()).throw(microphones.PortAudioError("busy"))
    with pytest.raises(SourceError, match=r"USB mic can't be opened: busy. Another program may be using it"):
        Microphone(RATE)
    microphones.devices = []
    with pytest.raises(SourceError, match=r"must have a microphone. Received: none that PortAudio knows"):
        Microphone(RATE)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingPackageError, match=r'sounddevice, which isn\'t installed. .* "keras-a2i\[live\]"'):
        Microphone(RATE)


def test_the_command_plays_a_file_and_ends_in_good_order_on_a_signal(tmp_path):
    save_model(
        encoder_generator("tiny", image_size=16), tmp_path / "m.keras", ModelMetadata(image=ImageConfig(size=16))
    )
    soundfile.write(tmp_path / "short.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "long.wav", np.zeros(60 * RATE), RATE)
    code = "from keras_a2i.cli.main import main; main()"
    live = [sys.executable, "-c", code, "live", str(tmp_path / "m.keras")]
    done = subprocess.run(
        [*live, "--input", tmp_path / "short.wav", "--to", tmp_path / "png"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "pictures in 1." in done.stdout and "latency from sound to picture: median" in done.stdout
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
    mistakes = [(["--rate", "0"], "rate must lie"), (["--seconds", "0"], "seconds must be more than 0")]
    mistakes += [(["--to", "x", "--port", "1"], "--port goes with --to mjpeg")]
    for words, sentence in mistakes:
        done = subprocess.run([*live, *words], capture_output=True, text=True)
        assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr
