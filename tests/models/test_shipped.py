"""Shipped models: found by name everywhere, whole, and described."""

import pathlib
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import keras_a2i as a2i
from keras_a2i.cli.main import cli
from keras_a2i.errors import ModelError
from keras_a2i.models.model_file import read_metadata
from keras_a2i.models.shipped import find_model, shipped_models
from keras_a2i.serving.page_server import page_folder

MAX_BYTES = 15e6


def test_every_shipped_model_is_whole_and_all_are_small():
    models = shipped_models()
    assert "surf" in models
    for name, folder in models.items():
        assert sorted(file.name for file in folder.iterdir()) == [
            "card.md",
            "held_out.png",
            "model.keras",
            "model.tflite",
        ]
        small, large = (read_metadata(folder / file) for file in ("model.tflite", "model.keras"))
        assert small.input == "waveform" and small.image == large.image and small.license
        assert (folder / "card.md").read_text().startswith(f"# {name}: ")
    assert sum(file.stat().st_size for folder in models.values() for file in folder.iterdir()) < MAX_BYTES


@pytest.mark.training
@pytest.mark.parametrize("name", shipped_models())
def test_files_of_a_shipped_model_generate_the_same_images(name):
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, 16_000).astype(np.float32)
    by_name = a2i.load(name).predict(samples, 16_000)
    of_keras = a2i.load(shipped_models()[name] / "model.keras").predict(samples, 16_000)
    assert np.abs(by_name - of_keras).mean() < 0.01
    model = a2i.AudioToImage.from_preset(name)
    assert model.calibration == read_metadata(shipped_models()[name] / "model.keras").calibration
    assert model.metadata.image.shape == by_name.shape[1:] and model.license == a2i.load(name).metadata.license != ""


def test_model_of_the_same_name_comes_before_a_shipped_model_and_a_folder_of_data_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = shipped_models()["surf"] / "model.tflite"
    assert find_model("surf", "model.tflite") == shipped
    (tmp_path / "surf").mkdir()
    (tmp_path / "surf" / "waves.wav").write_bytes(b"")
    assert find_model("surf", "model.tflite") == shipped and a2i.load("surf").metadata.image.size == 64
    (tmp_path / "surf" / "config.json").write_text("{}")
    assert str(find_model("surf")) == "surf"
    with pytest.raises(ModelError, match=r"The run in surf has no model\.keras yet"):
        a2i.load("surf")
    (tmp_path / "digits").write_bytes(b"")
    assert str(find_model("digits")) == "digits"
    with pytest.raises(ModelError, match=r"Received: digits, which is something else$"):
        a2i.load("digits")
    for file in ("seed-0/config.json", "mine.tflite"):
        folder = (tmp_path / "instruments" / file).parent
        folder.mkdir(parents=True)
        (tmp_path / "instruments" / file).write_text("{}")
        assert str(find_model("instruments")) == "instruments"
        shutil.rmtree(tmp_path / "instruments")


def test_mistyped_name_of_a_shipped_model_is_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for load in (a2i.load, a2i.AudioToImage.from_preset, lambda name: page_folder(pathlib.Path(name)).__enter__()):
        with pytest.raises(ModelError, match=r"Received: '?surv.*\. Did you mean 'surf'\?$"):
            load("surv")
        with pytest.raises(ModelError) as error:
            load("nothing_of_this_kind")
        assert "Did you mean" not in str(error.value)


def test_models_command_lists_the_models_and_prints_a_card():
    run = CliRunner().invoke
    listed = run(cli, ["models"]).output
    for name in shipped_models():
        assert re.search(rf"^{name} +\S", listed, re.MULTILINE)
    assert run(cli, ["models", "surf"]).output.startswith("# surf: ")
    unknown = run(cli, ["models", "surff"])
    assert unknown.exit_code == 2 and "It must be one of" in unknown.output and "Did you mean 'surf'?" in unknown.output


def test_evaluate_of_a_shipped_model_needs_a_folder_for_its_report():
    found = CliRunner().invoke(cli, ["evaluate", "surf", "records"])
    assert found.exit_code == 2 and "--out must be given with a shipped model" in found.output
