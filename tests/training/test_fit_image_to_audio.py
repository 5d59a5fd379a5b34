"""Training from images to audio: the run folder, resuming, refusals."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image
from support.tone_source import ToneSource, build
from support.training_runs import CopyRun

from keras_a2i.cli import fit_image_to_audio as cli
from keras_a2i.config import FeatureConfig
from keras_a2i.errors import CorruptRecordError, KerasA2IError, TrainingInterrupted, UsageError
from keras_a2i.evaluation.run_overview import run_overview
from keras_a2i.exporters.export import export
from keras_a2i.models import ImageToAudio
from keras_a2i.recipes import get_recipe
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.pair import Plan
from keras_a2i.training.fit import fit
from keras_a2i.training.fit_image_to_audio import (
    _band_statistics,
    compile_training,
    fit_image_to_audio,
    training_network,
)

SETTINGS = {"epochs": 2, "batch_size": 9, "verbose": 0}


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    """The folder of a run, its model, and the folder as a process leaves it that is killed in the second epoch."""
    folder = tmp_path_factory.mktemp("image-to-audio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)
        copy = CopyRun(folder / "run", folder / "killed", 1)
        model = fit_image_to_audio(records, folder / "run", **SETTINGS, callbacks=[copy])
    return folder / "run", model, folder / "killed"


class UnevenSource(ToneSource):
    """The same with a single pair of the first source."""

    def plan(self):
        first, *others = super().plan().units
        return Plan((dataclasses.replace(first, keys=first.keys[:1]), *others))


def test_statistics_of_the_bands_count_every_source_alike(tmp_path):
    build(tmp_path / "records", UnevenSource(n_sources=2, seconds=4), split=SplitSpec(kind="random", val_fraction=0.0))
    records = Records(tmp_path / "records")
    pairs = records.decoded("train", "waveform")
    layer = ImageToAudio(image_size=16).log_mel
    values = np.maximum(np.asarray(layer(pairs.inputs)), -5).astype(np.float64)
    parts = [values[pairs.sources == name].reshape(-1, 80) for name in ("tone0", "tone1")]
    assert [len(part) for part in parts] == [59, 4 * 59]
    mean, deviation = _band_statistics(records)
    expected = (parts[0].mean(axis=0) + parts[1].mean(axis=0)) / 2
    np.testing.assert_allclose(mean, expected, atol=1e-5)
    square = (np.square(parts[0]).mean(axis=0) + np.square(parts[1]).mean(axis=0)) / 2
    np.testing.assert_allclose(deviation, np.maximum(np.sqrt(square - expected**2), 0.1), atol=1e-4)


@pytest.mark.training
def test_run_folder_holds_model_history_and_sheets(run, records):
    folder, model, _ = run
    config = json.loads((folder / "config.json").read_text())
    assert config["finished"] and config["recipe"]["name"] == "image-to-audio" and config["epochs"] == 2
    columns = (folder / "history.csv").read_text().splitlines()[0].split(",")
    assert {"epoch", "seconds", "loss", "labels_loss", "val_loss", "val_labels_loss", "learning_rate"} <= {*columns}
    assert Image.open(folder / "samples" / "epoch_0002.png").height > 3 * 128
    images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3))
    loaded = ImageToAudio.from_preset(folder)
    np.testing.assert_allclose(loaded.predict_log_mel(images), model.predict_log_mel(images), atol=1e-4)
    assert "image-to-audio on records" in run_overview([folder]).render_text()


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.training
def test_killed_and_interrupted_run_resumes_to_the_uninterrupted_one(run, records, tmp_path):
    shutil.copytree(run[2], tmp_path / "run")
    (tmp_path / "run" / "samples" / "epoch_0001.png").unlink()
    with pytest.raises(TrainingInterrupted, match=r"after epoch 1 of 2.*keras-a2i fit-image-to-audio .* --resume"):
        fit_image_to_audio(records, tmp_path / "run", resume=True, verbose=0, callbacks=[Stop()])
    assert (tmp_path / "run" / "samples" / "epoch_0001.png").is_file()
    result = CliRunner().invoke(cli.command, [str(records), "--out", str(tmp_path / "run"), "--resume"])
    assert result.exit_code == 0 and "model.keras: trained in" in result.stdout, result.output
    assert "recipe image-to-audio" in result.stderr and "epochs, resumed at epoch 2" in result.stderr
    assert "epoch 2/2" in result.stderr and "val_loss" in result.stderr
    for own, whole in zip(ImageToAudio.from_preset(tmp_path / "run").weights, run[1].weights, strict=True):
        np.testing.assert_array_equal(own, whole)
    with pytest.raises(UsageError, match=r"batch_size of a resumed run must stay 9. Received: batch_size=8"):
        fit_image_to_audio(records, tmp_path / "run", resume=True, batch_size=8)
    with pytest.raises(UsageError, match=r"learning_rate of a resumed run must stay 0.002"):
        fit_image_to_audio(records, tmp_path / "run", resume=True, learning_rate=0.1)
    with pytest.raises(UsageError, match=r"is resumed by fit_image_to_audio .* recipe 'image-to-audio'"):
        fit(records, tmp_path / "run", resume=True, epochs=9)


@pytest.mark.training
def test_damaged_record_ends_the_training_in_one_sentence(records, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise tf.errors.UnknownError(None, None, "CorruptRecordError: record 5 of train-00000 is damaged\n Traceback")

    monkeypatch.setattr("keras.Model.fit", fail)
    with pytest.raises(CorruptRecordError, match=r"^record 5 of train-00000 is damaged$"):
        fit_image_to_audio(records, tmp_path / "run", **SETTINGS)


@pytest.mark.training
def test_run_is_refused_by_export_and_replaced_on_request_alone(run, records, tmp_path):
    with pytest.raises(UsageError, match=r"must turn audio into images.* Griffin-Lim .* no exported file"):
        export(run[0], tmp_path / "model.tflite")
    with pytest.raises(UsageError, match=r"holds a run already"):
        fit_image_to_audio(records, run[0])


@pytest.mark.training
def test_network_learns_four_pairs_by_heart():
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    time = np.arange(2000) / 8000
    audio = np.stack([0.4 * np.sin(2 * np.pi * pitch * time) for pitch in (300, 600, 1200, 2400)]).astype(np.float32)
    images = random.uniform(-1, 1, (4, 16, 16, 1)).astype(np.float32)
    model = ImageToAudio(
        image_size=16, channels=1, sample_rate=8000, duration=0.25, latent_dim=16, widths=(16,) * 5, dropout=0.0
    )
    network = training_network(model, 1.0, 0, seed=0)
    compile_training(network, keras.optimizers.Adam(5e-3), 8000)
    # As one epoch: the start and the end of one take as long as a step.
    network.fit(tf.data.Dataset.from_tensors(((images, audio), audio)).repeat(120), verbose=0)
    heard = np.asarray(model.log_mel(model.generate(images)))[:, 4:-4].mean(axis=1)
    true = np.asarray(model.log_mel(audio))[:, 4:-4].mean(axis=1)
    assert (np.abs(heard.argmax(axis=1) - true.argmax(axis=1)) <= 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resume": True, "overwrite": True}, "resume and overwrite are mutually exclusive"),
        ({"learning_rate": 0.0}, r"learning_rate must lie in \(0, 1\]. Received: learning_rate=0.0"),
        ({"style_weight": 2.0}, r"style_weight must lie in \(0, 1\]. Received: style_weight=2.0"),
        ({"epochs": 0}, "epochs must be 1 or more. Received: epochs=0"),
        ({"resume": True}, "must hold a config.json, as written by fit"),
    ],
)
def test_arguments_out_of_range_are_refused(records, tmp_path, arguments, message):
    with pytest.raises(KerasA2IError, match=message):
        fit_image_to_audio(records, tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_records_without_audio_are_refused(tmp_path):
    build(tmp_path / "records", ToneSource(n_sources=1), waveform=False)
    with pytest.raises(UsageError, match=r"The records must hold audio. Received: records of 104 MFCC of audio"):
        fit_image_to_audio(tmp_path / "records", tmp_path / "run")


def test_clips_that_are_too_short_are_refused(records, tmp_path, monkeypatch):
    features = FeatureConfig(duration=0.1, frame=0.05, hop=0.05)
    monkeypatch.setattr(Records, "features", features)
    with pytest.raises(UsageError, match=r"must last 0.25 s or more. Received: 0.1 s"):
        fit_image_to_audio(records, tmp_path / "run")


def test_recipe_of_that_name_names_the_command():
    with pytest.raises(UsageError, match=r"Received: 'image-to-audio'. .*keras-a2i fit-image-to-audio"):
        get_recipe("image-to-audio")
