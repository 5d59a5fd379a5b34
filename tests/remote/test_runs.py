"""Runs in an object store: trained, interrupted, resumed, evaluated and used as those of the disk."""

import dataclasses
import json
import pathlib
import sys

import keras
import numpy as np
import pandas
import pytest
from click.testing import CliRunner
from support.tone_source import build
from support.training_runs import train

import keras_a2i as a2i
from keras_a2i.cli.evaluate import _report_folder
from keras_a2i.cli.fit import command as fit
from keras_a2i.cli.generate import command as generate
from keras_a2i.cli.inspect import command as inspect
from keras_a2i.errors import AddressNotFoundError, LockedError, ModelError, RemoteError, TrainingInterrupted, UsageError
from keras_a2i.evaluation.report import Report
from keras_a2i.evaluation.subject import open_subject
from keras_a2i.exporters.export import _records_of_run
from keras_a2i.media.sound_file import save_wav
from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.models.shipped import find_model
from keras_a2i.records.manifest import Manifest
from keras_a2i.remote import mirror, store
from keras_a2i.remote.address import as_location
from keras_a2i.remote.lock import store_lock
from keras_a2i.remote.mirror import UploadWarning
from keras_a2i.training.run_folder import RunConfig, RunFolder

CONFIG = RunConfig(
    recipe={"name": "features"}, records="r", fingerprint="f", epochs=2, batch_size=8, monitor="val_loss"
)


@pytest.fixture
def run(memory):
    return as_location(memory) / "runs" / "a"


def fail(file, address):
    raise RemoteError(f"no network for {address}")


def test_run_is_written_in_steps_and_its_model_before_the_finished_configuration(run, monkeypatch):
    names, upload = [], store.upload
    monkeypatch.setattr(mirror, "upload", lambda file, address: (names.append(address.name), upload(file, address)))
    folder = RunFolder(str(run))
    assert not folder.exists
    folder.check_start(resume=False, overwrite=False)
    with folder.opened(resume=False):
        folder.clear()
        folder.create(CONFIG)
        assert names == ["config.json"] and RunFolder(str(run)).read_config() == CONFIG
        folder.write_state({"epoch": 1}, [np.ones(3)])
        folder.write_state({"epoch": 2}, [np.zeros(3)])
        assert names[1:] == ["variables.npz", "variables.npz"]
        folder.model.write_bytes(b"model")
        folder.create(CONFIG)
    # The configuration was written anew, too.
    assert names[3:] == ["model.keras", "config.json"]
    assert set(store.list_objects(run)) == {"config.json", "model.keras", "state/variables.npz"}


def test_resumed_run_has_its_state(run):
    folder = RunFolder(str(run))
    with folder.opened(resume=False):
        folder.create(CONFIG)
        folder.write_state({"epoch": 1}, [np.arange(3)])
    again = RunFolder(str(run))
    again.check_start(resume=True, overwrite=False)
    with again.opened(resume=True):
        values, variables = again.read_state()
        assert values == {"epoch": 1} and variables[0].tolist() == [0, 1, 2]
        assert again.read_config() == CONFIG


def test_overwritten_run_loses_what_the_old_one_wrote_and_nothing_else(run):
    names = ("config.json", "model.keras", "state/variables.npz", "samples/epoch_0001.png", "notes.txt")
    for name in (*names, "report.json", "report.html", "per_pair.csv", "card.md"):
        store.write_bytes(run / name, b"old")
    folder = RunFolder(str(run))
    with pytest.raises(UsageError, match=rf"{run} holds a run already\. Resume it"):
        folder.check_start(resume=False, overwrite=False)
    folder.check_start(resume=False, overwrite=True)
    with folder.opened(resume=False):
        folder.check_free(overwrite=True, is_locked=True)
        folder.clear()
        folder.create(CONFIG)
    assert set(store.list_objects(run)) == {"config.json", "notes.txt"}
    assert json.loads(store.read_bytes(run / "config.json"))["epochs"] == 2


def test_folder_that_can_t_hold_a_run(run):
    with pytest.raises(
        ModelError, match=rf"A run folder must hold a config\.json, .* Received: {run}, which holds none"
    ):
        RunFolder(str(run)).check_start(resume=True, overwrite=False)
    store.write_bytes(run / "notes.txt", b"1")
    with pytest.raises(UsageError, match=rf"new or empty folder\. Received: {run}, which holds other files"):
        RunFolder(str(run)).check_free(overwrite=False)
    with pytest.raises(UsageError, match=rf"must be written to a folder\. Received: the file {run}/notes\.txt"):
        RunFolder(str(run / "notes.txt")).check_free(overwrite=False)
    store.write_bytes(run / "config.json", b"[1]")
    with pytest.raises(ModelError, match=rf"{run}/config\.json isn't a run configuration of this version"):
        RunFolder(str(run)).read_config()
    with store_lock(run), pytest.raises(LockedError), RunFolder(str(run)).opened(resume=True):
        pass


def test_state_that_can_t_be_uploaded_is_uploaded_with_the_next_one(run, monkeypatch):
    folder = RunFolder(str(run))
    with folder.opened(resume=False):
        folder.create(CONFIG)
        with monkeypatch.context() as patch, pytest.warns(UploadWarning, match="The work continues and uploads again"):
            patch.setattr(mirror, "upload", fail)
            folder.write_state({"epoch": 1}, [np.ones(3)])
        folder.write_state({"epoch": 2}, [np.ones(3)])
        assert "state/variables.npz" in store.list_objects(run)


def test_model_that_can_t_be_uploaded_is_kept(run, monkeypatch):
    folder = RunFolder(str(run))
    with (
        pytest.raises(RemoteError, match=rf"is kept in {folder.path}: copy it to the store"),
        folder.opened(resume=False),
    ):
        folder.create(CONFIG)
        folder.model.write_bytes(b"model")
        monkeypatch.setattr(mirror, "upload", fail)
    assert folder.model.read_bytes() == b"model" and set(store.list_objects(run)) == {"config.json"}


def test_report_is_uploaded_whole(run, monkeypatch):
    monkeypatch.setattr(Report, "to_dict", lambda report: {"model": "m"})
    monkeypatch.setattr("keras_a2i.evaluation.report.render_html", lambda report: "<html>")
    monkeypatch.setattr(Report, "pairs", lambda report: pandas.DataFrame({"id": ["a"]}))
    report = object.__new__(Report)
    assert report.save(str(run)) == run / "report.html"
    assert set(store.list_objects(run)) == {"report.json", "report.html", "per_pair.csv"}
    assert report.save(f"{run}/own.json") == run / "own.json" and b'"m"' in store.read_bytes(run / "own.json")
    with pytest.raises(UsageError, match=r"path must be a folder or end in \.html, \.json or \.csv"):
        report.save(f"{run}/own.txt")


def test_report_goes_into_the_run_or_beside_the_model(run):
    store.write_bytes(run / "config.json", b"{}")
    assert _report_folder(run) == _report_folder(run / "model.keras") == run
    assert _report_folder(run.parent / "m.tflite") == run.parent / "m-report"


@pytest.mark.parametrize(
    "call",
    [
        lambda run: a2i.compare([run]),
        lambda run: a2i.generate_images("digits", "a.wav", run),
        lambda run: a2i.generate_video("digits", "a.wav", f"{run}.mp4"),
        lambda run: a2i.export("digits", f"{run}.tflite"),
        lambda run: a2i.fit_seeds("records", run, seeds=2),
    ],
)
def test_what_must_be_on_the_disk_is_refused(run, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keras_a2i.training.fit_seeds.as_records", lambda records: records)
    with pytest.raises(
        UsageError, match=rf"must be a path on the disk\. Received: {run}.*\. Choose a local path and copy"
    ):
        call(str(run))
    assert list(tmp_path.iterdir()) == []


def test_command_refuses_an_address_where_it_must_write_to_the_disk(run):
    result = CliRunner().invoke(generate, ["digits", "a.wav", "--out", str(run)])
    assert result.exit_code == 2
    assert f"Invalid value for '--out': it must be a path on the disk. Received: {run}. Choose a local" in result.output


def test_missing_model(run):
    with pytest.raises(AddressNotFoundError, match=rf"Received: {run}, where nothing is"):
        a2i.load(str(run))


class Interrupted(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.training
def test_run_on_a_server_of_s3_from_training_to_an_image(bucket, tmp_path, cache):
    """A training that is interrupted and resumed equals a local one that isn't; its model is loaded by its address."""
    records, run = f"{bucket.address}/records", f"{bucket.address}/runs/a"
    build(tmp_path / "records"), build(records)
    whole = train(tmp_path / "records", tmp_path / "run", epochs=2)
    message = rf"Training stopped after epoch 1 of 2, which is saved in {run}\. .* keras-a2i fit {records} --out {run}"
    with pytest.raises(TrainingInterrupted, match=message):
        train(records, run, epochs=2, callbacks=[Interrupted()])
    assert {"runs/a/config.json", "runs/a/state/variables.npz"} <= set(bucket.keys("runs/"))
    assert not list((cache / "outgoing").iterdir())
    result = CliRunner().invoke(inspect, [records])
    assert result.exit_code == 0 and "21 train, 9 val" in result.output, result.output
    result = CliRunner().invoke(fit, [records, "--out", run, "--resume"])
    assert result.exit_code == 0 and f"{run}/model.keras: trained in" in result.output, result.output
    assert "2 epochs, resumed at epoch 2" in result.output
    assert RunFolder(run).read_config().records == records and RunFolder(run).read_config().finished
    local = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert set(bucket.keys("runs/")) == {f"runs/a/{name}" for name in local - {"state/variables.previous.npz"}}
    # A path that lost a slash names the same run.
    for address in (run, pathlib.Path(run), f"{run}/model.keras"):
        for loaded, trained in zip(AudioToImage.from_preset(address).get_weights(), whole.get_weights(), strict=True):
            # The states of random numbers aren't saved.
            assert loaded.dtype.kind == "u" or (loaded == trained).all()
    subject = open_subject(run, Manifest.read(records))
    assert (
        subject.name == run
        and subject.configuration == open_subject(tmp_path / "run", Manifest.read(records)).configuration
    )
    copied = find_model(run)
    assert not (copied / "state").exists() and _records_of_run(copied) == as_location(records)
    save_wav(tmp_path / "a.wav", np.sin(np.arange(16_000) / 20), 16_000)
    result = CliRunner().invoke(generate, [run, str(tmp_path / "a.wav"), "--out", str(tmp_path / "images")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "images" / "a" / "0000.png").is_file()
    expected = a2i.load(tmp_path / "run").predict(str(tmp_path / "a.wav"))
    np.testing.assert_array_equal(a2i.load(run).predict(str(tmp_path / "a.wav")), expected)


@pytest.mark.parametrize("package", ["", "fsspec"])
def test_run_whose_records_can_t_be_read_has_none_to_export_with(run, tmp_path, monkeypatch, package):
    RunFolder(tmp_path).create(dataclasses.replace(CONFIG, records=f"{run}/nothing"))
    if package:
        monkeypatch.setitem(sys.modules, package, None)
    assert _records_of_run(tmp_path) is None
