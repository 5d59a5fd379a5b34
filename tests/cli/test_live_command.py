"""`keras-a2i live`: what can't be an input is refused first."""

import socket
import sys

import pytest
import soundfile
from click.testing import CliRunner

from keras_a2i.cli.live import command
from keras_a2i.errors import MissingPackageError, SourceError, UsageError


@pytest.fixture
def busy_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def _error(*arguments):
    return CliRunner().invoke(command, ["nowhere.keras", *arguments]).exception


def test_input_is_checked_before_the_port(tmp_path, busy_port, monkeypatch):
    (tmp_path / "text.wav").write_text("no audio")
    for name, reason in (("nofile.wav", "doesn't exist"), ("text.wav", "can't be read as audio")):
        error = _error("--input", str(tmp_path / name), "--port", busy_port)
        assert isinstance(error, SourceError) and reason in str(error)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    error = _error("--port", busy_port)
    assert isinstance(error, MissingPackageError) and "sounddevice" in str(error)


def test_port_is_checked_before_the_model(tmp_path, busy_port):
    soundfile.write(tmp_path / "a.wav", [0.0] * 8_000, 8_000)
    error = _error("--input", str(tmp_path / "a.wav"), "--port", busy_port)
    assert isinstance(error, UsageError) and "port must be free" in str(error)
