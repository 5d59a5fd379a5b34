"""`keras-a2i live`: images of audio while it is captured."""

import contextlib
import math
import pathlib
import signal
import sys
import time
from collections.abc import Iterator

import click

from keras_a2i.cli.damaged_audio import damage_shown
from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.locations import LocalPath, ModelPath
from keras_a2i.cli.terminal import echo
from keras_a2i.counts import counted
from keras_a2i.durations import format_seconds
from keras_a2i.errors import UsageError
from keras_a2i.remote.address import local_path

_SECONDS_BETWEEN_LOG_LINES = 10.0


@click.command("live")
@click.argument("model", type=ModelPath())
@click.option(
    "--input",
    "input_",
    default="mic",
    show_default=True,
    metavar="mic|mic:NAME|FILE",
    help="The default microphone, a microphone by its name or number, or an audio or video file, read at real speed.",
)
@click.option("--rate", default=10.0, show_default=True, help="Images per second, 0.1 to 60.")
@click.option(
    "--to",
    default="mjpeg",
    show_default=True,
    metavar="mjpeg|FOLDER",
    help="Show the images on a page for browsers on this machine, or write PNG files to a folder.",
)
@click.option("--port", type=click.IntRange(0, 65_535), help="Port of the page (default: 8000; 0 picks a free port).")
@click.option("--seconds", type=float, help="Stop after this many seconds.")
@click.option(
    "--reference",
    type=LocalPath(),
    help="The PNG or JPEG image to animate with the audio; required for a model of the recipe talking.",
)
def command(model, input_, rate, to, port, seconds, reference):
    """Generate RATE images per second from live audio, each from the newest clip.

    MODEL is a run folder, a .keras file, a SavedModel folder, a .tflite or .onnx file, or the name of a shipped model.
    The session ends with a summary after Ctrl-C, after --seconds, or at the end of the file. If generating an image
    takes longer than 1/RATE seconds, images are dropped and counted: nothing is queued.

    Latency is the time from the capture of the newest audio of an image until the image is shown. An image belongs to
    the middle of its clip: with a clip of one second, to the audio half a second before the newest.

    The page is at http://127.0.0.1:PORT/ and isn't reachable from other machines. A microphone needs
    pip install "keras-a2i[live]".
    """
    from keras_a2i.serving.live import LiveSession, check_rate

    with flag_names():
        check_rate(rate)
    if seconds is not None and not 0 < seconds < math.inf:
        raise UsageError(f"--seconds must be more than 0. Received: {seconds:g}")
    if port is not None and to != "mjpeg":
        raise UsageError(f"--port must be left out unless --to is mjpeg. Received: --to {to}")
    # What can be refused is refused before the model takes seconds to load: the input, then a port or folder in use.
    with flag_names(device="--input"):
        _check_input(input_)
    with (
        flag_names(path="--to", device="--input"),
        contextlib.closing(_open_output(to, port)) as output,
        damage_shown(),
    ):
        from keras_a2i.serving.predictor import load

        predictor = load(model).with_reference(reference)
        predictor.metadata.require_audio(input_)
        source = _open_input(input_, predictor.metadata.features.sample_rate)
        session = LiveSession(predictor, source, output, rate)
        line = _StatusLine()
        try:
            with _stopped_by_signals(session):
                where = f"from {source.name} to {output.where}"
                echo(f"Generating {rate:g} images/s {where}. Press Ctrl-C to stop", err=True)
                session.run(seconds, line)
        finally:
            line.close()
            _print_summary(session, output.where)


def _open_output(to: str, port: int | None):
    if to == "mjpeg":
        from keras_a2i.serving.mjpeg import MjpegServer

        return MjpegServer(8000 if port is None else port)
    from keras_a2i.serving.outputs import ImageFolder

    return ImageFolder(local_path(to, "path"))


def _check_input(name: str) -> None:
    if _is_file(name):
        from keras_a2i.serving.audio_inputs import check_file

        check_file(pathlib.Path(name))
    else:
        from keras_a2i.serving.microphone import check_microphone

        check_microphone(_device(name))


def _open_input(name: str, sample_rate: int):
    if _is_file(name):
        from keras_a2i.serving.audio_inputs import FileInput

        return FileInput(pathlib.Path(name), sample_rate)
    from keras_a2i.serving.microphone import Microphone

    return Microphone(sample_rate, _device(name))


def _is_file(name: str) -> bool:
    return name != "mic" and not name.startswith("mic:")


def _device(name: str) -> str | int | None:
    device = name.removeprefix("mic").removeprefix(":")
    return int(device) if device.isdecimal() else device or None


@contextlib.contextmanager
def _stopped_by_signals(session) -> Iterator[None]:
    """Ends the session with its summary on the first Ctrl-C or SIGTERM, and at once on a second Ctrl-C."""

    def stop(number, frame):
        session.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _StatusLine:
    """The session's state on stderr: a line that is rewritten on a terminal, a line every 10 s in a log."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._shown_at = time.monotonic()

    def __call__(self, status) -> None:
        now = time.monotonic()
        # Called about once a second: half a second of tolerance keeps every tenth call.
        if not self._on_terminal and now - self._shown_at < _SECONDS_BETWEEN_LOG_LINES - 0.5:
            return
        self._shown_at = now
        text = _line(status)
        sys.stderr.write(f"\r{text}\x1b[K" if self._on_terminal else text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Ends the line."""
        if self._on_terminal:
            sys.stderr.write("\n")


def _line(status) -> str:
    rate = "-" if status.images_per_second is None else f"{status.images_per_second:.1f}"
    latency = "-"
    if status.latency_median is not None:
        latency = f"{status.latency_median:.0f} ms (95th percentile {status.latency_p95:.0f} ms)"
    overflows = f", {counted(status.overflows, 'audio overflow')}" if status.overflows else ""
    return (
        f"{format_seconds(status.seconds)}: {rate} images/s, {status.dropped} dropped, latency {latency}, "
        f"audio {status.level:.0f} dB{overflows}"
    )


def _print_summary(session, where: str) -> None:
    status, timings = session.status(), session.timings
    rate = status.images / status.seconds if status.seconds > 0 else 0.0
    echo(
        f"{status.source} to {where}: {counted(status.images, 'image')} in {status.seconds:.1f} s ({rate:.1f}/s), "
        f"{status.dropped} dropped, {counted(status.overflows, 'audio overflow')}"
    )
    if timings.count:
        median, p95, p99 = (1000 * timings.percentile(percent) for percent in (50, 95, 99))
        echo(
            f"latency from audio to image: median {median:.1f} ms, 95th percentile {p95:.1f} ms, 99th {p99:.1f} ms, "
            f"maximum {1000 * timings.max:.1f} ms"
        )
