"""`keras-a2i live`: what can't be an input is refused first."""

import socket
import sys

import pytest
import soundfile
from click.testing import CliRunner
from support.loudness_model import Loudness

from keras_a2i.cli.live import command
from keras_a2i.errors import MissingPackageError, ModelError, SourceError, UsageError


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


def test_session_that_does_not_begin_leaves_no_folder(tmp_path):
    soundfile.write(tmp_path / "a.wav", [0.0] * 8_000, 8_000)
    error = _error("--input", str(tmp_path / "a.wav"), "--to", str(tmp_path / "new" / "images"))
    assert isinstance(error, ModelError) and not (tmp_path / "new").exists()


def test_damaged_audio_is_told_once_in_a_sentence(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", [0.25] * 8_000, 16_000, subtype="PCM_16")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "a.wav").read_bytes()[: 44 + 6_400])
    monkeypatch.setattr("keras_a2i.serving.predictor.load", lambda _: Loudness())
    arguments = ["m", "--input", str(tmp_path / "cut.wav"), "--to", str(tmp_path / "images"), "--rate", "10"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and "DamagedAudioWarning" not in result.output
    assert result.output.count("damaged, but used: cut.wav breaks off at 0.2 s; its header states 0.5 s\n") == 1
    assert result.output.count("breaks off") == 1
    assert (tmp_path / "images" / "000000.png").is_file()


def test_port_is_checked_before_the_model(tmp_path, busy_port):
    soundfile.write(tmp_path / "a.wav", [0.0] * 8_000, 8_000)
    error = _error("--input", str(tmp_path / "a.wav"), "--port", busy_port)
    assert isinstance(error, UsageError) and "port must be free" in str(error)
