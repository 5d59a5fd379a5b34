"""What `fit_audio_token` and its command refuse before KerasHub is needed; `tests/diffusion` has the trainings."""

import sys

import pytest
from click.testing import CliRunner
from support.tone_source import ToneSource, build

from keras_a2i.cli import fit_audio_token as cli
from keras_a2i.cli import generate as generate_command
from keras_a2i.config import ImageConfig
from keras_a2i.errors import KerasA2IError, MissingPackageError, UsageError
from keras_a2i.recipes import get_recipe
from keras_a2i.training.fit_audio_token import fit_audio_token


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"preset must name the Stable Diffusion 3 model .* Received: preset=None"),
        ({"preset": "x", "learning_rate": 2.0}, r"learning_rate must lie in \(0, 1\]. Received: learning_rate=2.0"),
        ({"preset": "x", "resume": True, "overwrite": True}, "resume and overwrite are mutually exclusive"),
        ({"resume": True}, "must hold a config.json, as written by fit"),
    ],
)
def test_arguments_out_of_range_are_refused(records, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr("keras_a2i.training.fit_audio_token.import_keras_hub", lambda: None)
    with pytest.raises(KerasA2IError, match=message):
        fit_audio_token(records, tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_grey_records_are_refused(tmp_path):
    build(tmp_path / "records", ToneSource(n_sources=1), image=ImageConfig(size=16, channels=1))
    with pytest.raises(UsageError, match=r"must hold colour images.* Received: grey ones. .*--channels 3"):
        fit_audio_token(tmp_path / "records", tmp_path / "run", preset="x")


def test_without_kerashub_nothing_is_written(records, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    arguments = [str(records), "--out", str(tmp_path / "run"), "--preset", "stable_diffusion_3.5_medium"]
    with pytest.raises(MissingPackageError, match=r"needs the package keras-hub, which isn't installed"):
        CliRunner().invoke(cli.command, arguments, catch_exceptions=False)
    assert not (tmp_path / "run").exists()


def test_recipe_of_that_name_names_the_command():
    with pytest.raises(UsageError, match=r"Received: 'audio-token'.*keras-a2i fit-audio-token"):
        get_recipe("audio-token")


@pytest.mark.parametrize("option", ["--steps", "--guidance-scale"])
def test_options_of_drawing_need_such_a_run(tmp_path, option):
    arguments = ["digits", "a.wav", "--out", str(tmp_path / "images"), option, "3"]
    with pytest.raises(UsageError, match=f"{option} must be left out without a run of fit-audio-token"):
        CliRunner().invoke(generate_command.command, arguments, catch_exceptions=False)
