"""Resuming a training: after an interruption, a kill, a failure and with damaged files, to the very same model."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from support.tone_source import ToneSource, build
from support.training_runs import SMALL, CopyRun, assert_same, train

import keras_a2i as a2i
from keras_a2i.cli.main import cli
from keras_a2i.errors import ModelError, TrainingInterrupted, UsageError
from keras_a2i.models.model_file import load_model
from keras_a2i.training.fit import fit
from keras_a2i.training.run_folder import RunFolder
from keras_a2i.training.trainer import save_model

pytestmark = pytest.mark.training


class StopIn(keras.callbacks.Callback):
    """Simulates Ctrl-C in the second step of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.stop_epoch, self.current = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.current = epoch + 1

    def on_train_batch_begin(self, batch, logs=None):
        if self.current == self.stop_epoch and batch == 1:
            raise KeyboardInterrupt


class StopAtEnd(keras.callbacks.Callback):
    """Simulates Ctrl-C after an epoch has been reported."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_interrupted_training_resumes_to_the_model_of_another_training_with_its_seed(whole, records, tmp_path):
    out, reported = tmp_path / "run", []
    report = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: reported.append(epoch + 1))
    with pytest.raises(
        TrainingInterrupted, match=r"stopped after epoch 2 of 4, which is saved in .*Resume it with resume=True"
    ):
        train(records, out, callbacks=[report, StopAtEnd()])
    # An epoch that is reported is saved.
    assert reported == [1, 2] and (out / "model.keras").is_file()
    with pytest.raises(TrainingInterrupted, match="stopped after epoch 3 of 4, which is saved"):
        fit(records, out, resume=True, callbacks=[StopIn(4)])
    before = load_model(out / "model.keras")[0]
    # Once more, before an epoch is finished: what is saved stays.
    with pytest.raises(TrainingInterrupted, match="after epoch 3 of 4"):
        fit(records, out, resume=True, callbacks=[StopIn(4)])
    assert_same(load_model(out / "model.keras")[0], before)
    assert_same(fit(records, out, resume=True), whole.model)
    rows, expected = (RunFolder(folder).read_history() for folder in (out, whole.run))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["loss"] == pytest.approx(expected[-1]["loss"])


def test_training_that_ends_before_a_sheet_is_due_leaves_one(records, tmp_path):
    out = tmp_path / "run"

    class EndAfter(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch + 1 == 4

    with pytest.raises(TrainingInterrupted, match="after epoch 2 of 60"):
        train(records, out, epochs=60, callbacks=[StopAtEnd()])
    assert [path.name for path in (out / "samples").iterdir()] == ["epoch_0002.png"]
    fit(records, out, resume=True, callbacks=[EndAfter()])
    # Every third epoch, and the last.
    assert sorted(path.name for path in (out / "samples").iterdir()) == [f"epoch_000{i}.png" for i in (2, 3, 4)]


def test_resume_after_kill_continues_from_last_saved_epoch(whole, records, tmp_path):
    shutil.copytree(whole.killed, tmp_path / "run")
    assert RunFolder(tmp_path / "run").read_history()[-1]["epoch"] == 3
    began = []
    record = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: began.append(epoch))
    assert_same(fit(records, tmp_path / "run", resume=True, callbacks=[record]), whole.model)
    assert began == [2, 3]


def test_damaged_state_falls_back_to_the_one_before(whole, records, tmp_path):
    run, state = tmp_path / "run", tmp_path / "run" / "state"
    shutil.copytree(whole.killed, run)
    data = bytearray((state / "variables.npz").read_bytes())
    data[len(data) // 2] ^= 255
    (state / "variables.npz").write_bytes(data)
    (run / "history.csv").write_text("epoch,loss\n1,half a")
    began = []
    record = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: began.append(epoch))
    assert_same(fit(records, run, resume=True, callbacks=[record]), whole.model)
    assert began == [1, 2, 3] and [row["epoch"] for row in RunFolder(run).read_history()] == [1, 2, 3, 4]
    (run / "config.json").write_text((run / "config.json").read_text().replace('"finished": true', '"finished": false'))
    for name in ("variables.npz", "variables.previous.npz"):
        (state / name).write_bytes(b"PK\3\4 cut")
    with pytest.raises(
        ModelError, match=r"must be readable to resume it.*variables\.npz: .*variables\.previous\.npz: "
    ):
        fit(records, run, resume=True)


def test_interrupt_before_first_epoch_raises(records, tmp_path):
    with pytest.raises(TrainingInterrupted, match="before the first epoch was finished; nothing is saved"):
        train(records, tmp_path / "run", callbacks=[StopIn(1)])


def test_resume_on_another_backend_is_refused(whole, records, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match=r"Received: jax instead of tensorflow. Set KERAS_BACKEND=tensorflow"):
        fit(records, whole.run, resume=True)


def test_resume_with_changes_raises(whole, records, tmp_path):
    out = whole.run
    with pytest.raises(UsageError, match=r"batch_size of a resumed run must stay 8. Received: batch_size=4"):
        fit(records, out, resume=True, batch_size=4)
    with pytest.raises(UsageError, match=r"A resumed run keeps its recipe, 'features'. Received: the recipe 'paper'"):
        fit(records, out, resume=True, recipe="paper")
    with pytest.raises(UsageError, match=r"A resumed run keeps its settings. Received: {'units': \(4, 4\)}"):
        fit(records, out, resume=True, recipe="features", settings={"units": (4, 4)})
    with pytest.raises(UsageError, match="A resumed run keeps its model and objectives"):
        fit(records, out, resume=True, objectives=[])
    for size in ("base", "large"):
        with pytest.raises(UsageError, match=rf"A resumed run keeps its settings. Received: {{'size': '{size}'}}"):
            fit(records, out, resume=True, settings={"size": size})
    same = fit(records, out, resume=True, recipe="features", settings=SMALL)
    np.testing.assert_array_equal(same.trainable_variables[-1], whole.model.trainable_variables[-1])
    build(tmp_path / "other", ToneSource(n_sources=2))
    with pytest.raises(UsageError, match="can only be resumed on the records that it was trained on"):
        fit(tmp_path / "other", out, resume=True)
    with pytest.raises(ModelError, match=r"A run folder must hold a config.json"):
        fit(records, tmp_path / "nowhere", resume=True)


def test_run_of_a_recipe_that_this_version_lacks_resumes_loads_and_is_evaluated(whole, records, tmp_path):
    out, recipe = tmp_path / "run", dataclasses.replace(a2i.get_recipe("features", **SMALL), name="feature-maps")
    with pytest.raises(TrainingInterrupted, match="after epoch 2 of 4"):
        train(records, out, recipe=recipe, settings=None, callbacks=[StopAtEnd()])
    own = ["fit", str(records), "--out", str(out), "--recipe", "feature-maps", "--set", "units=16,8"]
    for options, message in (
        ([], r"must be one of the known ones. Received: 'feature-maps'. Did you mean 'features'\?"),
        (["--resume", "--set", "units=4,4"], r"A resumed run keeps its settings. Received: {'units': \(4, 4\)}"),
        (["--resume", "--size", "tiny"], "size must be left out to resume a run .* with the recipe 'feature-maps'"),
    ):
        with pytest.raises(UsageError, match=message):
            CliRunner().invoke(cli, [*own, *options], catch_exceptions=False)
    resumed = CliRunner().invoke(cli, [*own, "--resume"])
    assert resumed.exit_code == 0 and "resumed at epoch 3" in resumed.output, resumed.output
    loaded, metadata = load_model(out / "model.keras")
    for found, expected in zip(loaded.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert metadata.recipe == loaded.recipe == "feature-maps"
    reports = [a2i.evaluate(run, records, measures=(), verbose=0) for run in (out, whole.run)]
    assert reports[0].contenders[0].means == reports[1].contenders[0].means


def test_resume_of_a_streamed_training_on_waveforms_equals_uninterrupted_run(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)
    settings = SMALL | {"input": "waveform", "noise_snr_db": 10.0, "mix_snr_db": 5.0}
    copy = CopyRun(tmp_path / "whole", tmp_path / "parts", 2)
    model = train(records, tmp_path / "whole", settings=settings, callbacks=[copy], cache=False)
    assert len(RunFolder(tmp_path / "parts").read_history()) == 2
    assert model.input_shape == (None, 16_000)
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert config["recipe"]["augmentation"]["mix_snr_db"] == 5.0 and config["recipe"]["encoder"]["input"] == "waveform"
    loaded, metadata = load_model(tmp_path / "whole" / "model.keras")
    assert metadata.input == "waveform" and loaded.input_shape == (None, 16_000)

    assert_same(fit(records, tmp_path / "parts", resume=True, cache=False), model)
    still = train(
        records, tmp_path / "still", settings=SMALL | {"input": "waveform", "augmentation": a2i.Augmentation()}
    )
    with pytest.raises(AssertionError):
        assert_same(still, model)


@pytest.mark.parametrize("options", [{}, {"restore_best_weights": True}, {"patience": 1, "epochs": 30}])
def test_run_that_ends_after_its_last_state_resumes_to_the_same_model(records, tmp_path, monkeypatch, options):
    def copy_and_save(*arguments):
        # What a failure to write the model leaves.
        shutil.copytree(tmp_path / "whole", tmp_path / "run")
        save_model(*arguments)

    options = {"settings": SMALL | {"ema_momentum": 0.9, "learning_rate": 0.05}} | options
    with monkeypatch.context() as patch:
        patch.setattr("keras_a2i.training.trainer.save_model", copy_and_save)
        expected = train(records, tmp_path / "whole", **options)
    assert not (tmp_path / "run" / "model.keras").exists()
    found = fit(records, tmp_path / "run", resume=True)
    assert_same(found, expected)
    rows = [[row["loss"] for row in RunFolder(tmp_path / name).read_history()] for name in ("whole", "run")]
    assert rows[0] == rows[1] and len(rows[0]) < 30
    loaded, _ = load_model(tmp_path / "run" / "model.keras")
    np.testing.assert_array_equal(loaded.get_weights()[-1], expected.get_weights()[-1])
