"""One training with several seeds: each run is that of `fit`; finished ones are skipped, unfinished ones resumed."""

import re
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from support.training_runs import SMALL, train

from keras_a2i.cli.main import cli
from keras_a2i.errors import RunsFailedError, TrainingInterrupted, UsageError
from keras_a2i.models.model_file import load_model
from keras_a2i.objectives import MeanSquaredError
from keras_a2i.training.fit_seeds import fit_seeds
from keras_a2i.training.run_folder import RunFolder

OPTIONS = {"recipe": "features", "settings": SMALL, "epochs": 4, "batch_size": 8}


def history(run):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in RunFolder(run).read_history()]


def config(run):
    return {name: value for name, value in vars(RunFolder(run).read_config()).items() if name != "command"}


def assert_same_run(a, b):
    assert history(a) == history(b) and config(a) == config(b)
    for x, y in zip(*(load_model(run / "model.keras")[0].weights for run in (a, b)), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def in_turn(whole, records, tmp_path_factory):
    """Runs of the seeds 0 and 1 in one process; the first was killed by an earlier call. And what was told."""
    out, told = tmp_path_factory.mktemp("seeds") / "runs", []
    shutil.copytree(whole.killed, out / "seed-0")
    runs = fit_seeds(records, out, seeds=2, progress=told.append, **OPTIONS)
    assert runs == [out / "seed-0", out / "seed-1"]
    return out, told


@pytest.mark.training
def test_each_seed_is_the_run_of_fit_also_after_a_kill(in_turn, whole, records, tmp_path):
    out, told = in_turn
    assert_same_run(out / "seed-0", whole.run)
    train(records, tmp_path / "other", seed=1)
    assert_same_run(out / "seed-1", tmp_path / "other")
    assert told[0] == "seed-0: run 1 of 2" and any("4 epochs, resumed at epoch 3" in line for line in told)
    assert any(line.startswith("seed-0: done in") and "; 1 of 2 runs done, about" in line for line in told)


@pytest.mark.training
def test_runs_in_processes_of_their_own_are_the_same(in_turn, records, tmp_path):
    told = []
    for run in fit_seeds(records, tmp_path / "runs", seeds=2, jobs=2, progress=told.append, **OPTIONS):
        assert_same_run(run, in_turn[0] / run.name)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["seed-0", "seed-1"]
    assert len(told) == 4 and not any("epoch" in line for line in told)


@pytest.mark.training
def test_finished_runs_are_skipped_and_others_settings_refused(in_turn, records):
    out, told = in_turn[0], []
    times = [path.stat().st_mtime_ns for path in sorted(out.rglob("*"))]
    runs = fit_seeds(records, out, seeds=(0, 1), progress=told.append, **OPTIONS)
    assert runs == fit_seeds(records, out, seeds=2, resume=True) and told == ["2 of 2 runs had finished already"]
    for options, message in (
        (OPTIONS | {"epochs": 5}, r"same settings and records.*seed-0 with others \(epochs 4, now 5\). Choose another"),
        (OPTIONS | {"settings": SMALL | {"learning_rate": 0.1}}, r"others \(learning_rate 0.001, now 0.1\)"),
        ({"resume": True, "recipe": "paper"}, r"Resumed runs keep their recipe"),
        ({"resume": True, "batch_size": 4}, r"batch_size of a resumed run must stay 8"),
    ):
        with pytest.raises(UsageError, match=message):
            fit_seeds(records, out, seeds=3, **options)
    assert [path.stat().st_mtime_ns for path in sorted(out.rglob("*"))] == times


@pytest.mark.training
def test_resumed_runs_train_longer_and_new_seeds_as_the_first(whole, records, tmp_path):
    shutil.copytree(whole.run, tmp_path / "runs" / "seed-0")
    runs = fit_seeds(records, tmp_path / "runs", seeds=(0, 3), resume=True, epochs=5)
    assert [[row["epoch"] for row in history(run)] for run in runs] == [[1, 2, 3, 4, 5]] * 2
    first, second = map(config, runs)
    assert second["seed"] == 3 and first == second | {"seed": 0} and first["recipe"]["encoder"]["units"] == [16, 8]


class Fragile(keras.losses.Loss):
    """A loss that can't be made again in another process: nothing registers it."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=(1, 2, 3))


def test_mistakes_are_named_before_anything_is_trained(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.training.fit_seeds.run_jobs", lambda *_, **__: pytest.fail("trained"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out, options, message in (
        ("runs", {"seeds": 0}, r"seeds must be a number of seeds from 1, .* Received: seeds=0"),
        ("runs", {"seeds": (1, 1)}, r"different whole numbers from 0. Received: seeds=\[1, 1\]"),
        ("runs", {"seeds": (-1,)}, r"different whole numbers from 0. Received: seeds=\[-1\]"),
        ("runs", {"jobs": 0}, r"jobs must be 1 or more trainings at the same time. Received: jobs=0"),
        ("runs", {"settings": {"learning_rat": 1}}, r"Did you mean 'learning_rate'"),
        ("runs", {"objectives": [Fragile()]}, r"registered with Keras .*Received: Fragile"),
        ("runs", {"recipe": None, "settings": None, "resume": True}, r"runs must hold a run to be resumed"),
        ("other", {}, r"new or empty folder, or that of an earlier call. Received: .*other, which holds other files"),
        ("file", {}, r"out must be a folder. Received: the file"),
    ):
        with pytest.raises(UsageError, match=message):
            fit_seeds(records, tmp_path / out, **{"seeds": 2} | OPTIONS | options)
    with pytest.raises(TypeError, match=r"fit has no argument 'epoch'"):
        fit_seeds(records, tmp_path / "runs", seeds=2, epoch=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_failed_seed_is_named_after_the_others_are_trained(records, tmp_path, monkeypatch):
    def run_jobs(jobs, work, records, **options):
        assert options["at_once"] == 3
        yield from ((job, "It broke" if job.name == "seed-1" else "") for job in jobs)

    monkeypatch.setattr("keras_a2i.training.fit_seeds.run_jobs", run_jobs)
    # What a call leaves that was killed before a run began.
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0.log").touch()
    with pytest.raises(RunsFailedError, match=rf"1 of 3 runs failed, the others are in {tmp_path}. seed-1: It broke"):
        fit_seeds(records, tmp_path, seeds=3, jobs=3, objectives=[MeanSquaredError(0.5)], **OPTIONS)


@pytest.mark.parametrize(
    ("overwrite", "advice"), [(False, "call, trains"), (True, r"call, without overwrite.* trains")]
)
def test_interruption_names_the_call_that_trains_the_rest(records, tmp_path, monkeypatch, overwrite, advice):
    def run_jobs(*_, **__):
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_a2i.training.fit_seeds.run_jobs", run_jobs)
    with pytest.raises(TrainingInterrupted, match=rf"are saved in .*\. The same command, or {advice} the rest"):
        fit_seeds(records, tmp_path / "runs", seeds=2, overwrite=overwrite, **OPTIONS)


@pytest.mark.training
def test_fit_command_with_seeds_prints_scores_and_stores_the_command_of_each(records, tmp_path):
    options = ["--recipe", "features", "--set", "units=16,8", "--size", "tiny", "--epochs", "1", "--cache", "never"]
    arguments = ["fit", str(records), "--out", str(tmp_path / "runs"), *options]
    result = CliRunner().invoke(cli, [*arguments, "--seeds", "1", "--seed", "4"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    run = RunFolder(tmp_path / "runs" / "seed-4")
    own = f"keras-a2i fit {records} --out {run.path} --recipe features --size tiny --set units=16,8"
    assert run.read_config().command == f"{own} --epochs 1 --seed 4 --cache never"
    (value,) = re.findall(r"^  val_ssim +([\d.]+)  \(higher is better\)$", result.output, re.M)
    assert float(value) == pytest.approx(run.read_history()[-1]["val_ssim"], rel=1e-3)
    assert "one seed, without an interval" in result.output and f"compare {tmp_path}/runs/seed-*" in result.output
    with pytest.raises(UsageError, match="--jobs can only be used with --seeds"):
        CliRunner().invoke(cli, [*arguments, "--jobs", "2"], catch_exceptions=False)
