"""`keras-a2i live`: sound into pictures while it is heard."""

import contextlib
import math
import pathlib
import signal
import sys
import time
from collections.abc import Iterator

import click

from keras_a2i.cli.progress import format_seconds
from keras_a2i.errors import UsageError

_SECONDS_BETWEEN_LOG_LINES = 10.0


@click.command("live")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--input",
    "heard",
    default="mic",
    show_default=True,
    metavar="mic|mic:NAME|FILE",
    help="The default microphone, one by its name or number, or a sound or video file played at real speed.",
)
@click.option("--rate", default=10.0, show_default=True, help="Pictures a second, 0.1 to 60.")
@click.option(
    "--to",
    default="mjpeg",
    show_default=True,
    metavar="mjpeg|window|FOLDER",
    help="A page for this machine's browsers, a window, or PNG files in a folder.",
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Of the page: 8000 unless told; 0 for any port that is free."
)
@click.option("--seconds", type=float, help="Stop after so many.")
def command(model, heard, rate, to, port, seconds):
    """Draw what is heard, now: RATE pictures a second, each from the newest window of sound.

    MODEL is a run folder, a .keras file, a SavedModel folder or a .tflite file. Ctrl-C ends it with a summary, as do
    the end of the file and --seconds. Where drawing takes longer than a picture's time, pictures are dropped and
    counted: nothing is queued.

    Latency is counted from when the newest sound of a picture was heard until the picture stands. A picture belongs to
    the middle of its window: with a window of a second, to what was heard half a second before its newest sound.

    The page is at http://127.0.0.1:PORT/ and isn't reachable from other machines. A microphone needs
    pip install "keras-a2i[live]".
    """
    from keras_a2i.serving.live import LiveSession, check_rate

    check_rate(rate)
    if seconds is not None and not 0 < seconds < math.inf:
        raise UsageError(f"seconds must be more than 0. Received: {seconds:g}")
    if port is not None and to != "mjpeg":
        raise UsageError(f"--port goes with --to mjpeg. Received: --to {to}")
    # Opened first: a busy port or a folder in use should show before a model takes seconds to load.
    with contextlib.closing(_open_output(to, 8000 if port is None else port)) as output:
        from keras_a2i.serving.predictor import load

        predictor = load(model)
        predictor.metadata.require_audio(heard)
        source = _open_input(heard, predictor.metadata.features.sample_rate)
        session = LiveSession(predictor, source, output, rate)
        line = _StatusLine()
        try:
            with _stopped_by_signals(session):
                click.echo(f"{source.name} to {output.where}, {rate:g} pictures/s. Ctrl-C ends it", err=True)
                session.run(seconds, line)
        finally:
            line.close()
            _print_summary(session, output.where)


def _open_output(to: str, port: int):
    if to == "mjpeg":
        from keras_a2i.serving.mjpeg import MjpegServer

        return MjpegServer(port)
    from keras_a2i.serving.outputs import ImageFolder, Window

    return Window() if to == "window" else ImageFolder(pathlib.Path(to))


def _open_input(heard: str, sample_rate: int):
    if heard != "mic" and not heard.startswith("mic:"):
        from keras_a2i.serving.audio_inputs import FileInput

        return FileInput(pathlib.Path(heard), sample_rate)
    from keras_a2i.serving.microphone import Microphone

    name = heard.removeprefix("mic").removeprefix(":")
    return Microphone(sample_rate, int(name) if name.isdecimal() else name or None)


@contextlib.contextmanager
def _stopped_by_signals(session) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the session in good order, a second Ctrl-C at once."""

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
    """How the session is doing, on stderr: a line that rewrites itself on a terminal, one every 10 s in a log."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._shown_at = time.monotonic()

    def __call__(self, status) -> None:
        now = time.monotonic()
        # Told once a second, and never exactly: half a second of grace keeps the tenth of them.
        if not self._on_terminal and now - self._shown_at < _SECONDS_BETWEEN_LOG_LINES - 0.5:
            return
        self._shown_at = now
        text = _line(status)
        sys.stderr.write(f"\r{text}\x1b[K" if self._on_terminal else text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Leaves the last line standing."""
        if self._on_terminal:
            sys.stderr.write("\n")


def _line(status) -> str:
    rate = "-" if status.images_per_second is None else f"{status.images_per_second:.1f}"
    latency = "-"
    if status.latency_median is not None:
        latency = f"{status.latency_median:.0f} ms (95 %: {status.latency_p95:.0f} ms)"
    overflows = f", {status.overflows} sound overflows" if status.overflows else ""
    return (
        f"{format_seconds(status.seconds)}: {rate} pictures/s, {status.dropped} dropped, latency {latency}, "
        f"sound {status.level:.0f} dB{overflows}"
    )


def _print_summary(session, where: str) -> None:
    status, latencies = session.status(), session.latencies
    rate = status.pictures / status.seconds if status.seconds > 0 else 0.0
    click.echo(
        f"{status.source} to {where}: {status.pictures} pictures in {status.seconds:.1f} s ({rate:.1f}/s), "
        f"{status.dropped} dropped, {status.overflows} sound overflows"
    )
    if latencies.count:
        median, p95, p99 = (1000 * latencies.percentile(percent) for percent in (50, 95, 99))
        click.echo(
            f"latency from sound to picture: median {median:.1f} ms, 95 % {p95:.1f} ms, 99 % {p99:.1f} ms, "
            f"at most {1000 * latencies.max:.1f} ms"
        )
