"""`keras-a2i quickstart`: every step, continued by the same command after an interruption."""

import json

import pytest
from click.testing import CliRunner

from keras_a2i.cli import quickstart
from keras_a2i.errors import TrainingInterrupted, UsageError


def _run(*arguments):
    return CliRunner().invoke(quickstart.command, [str(each) for each in arguments])


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(quickstart, "N_PAIRS", 48)
    monkeypatch.setattr(quickstart, "IMAGE_SIZE", 16)
    monkeypatch.setattr(quickstart, "EPOCHS", 2)


def _interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.usefixtures("untrained", "small")
@pytest.mark.training
def test_quickstart_runs_every_step_and_continues_after_interruptions(tmp_path, monkeypatch):
    out = tmp_path / "quickstart"

    def echo(text, **options):
        if text.startswith("epoch 1/2"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quickstart, "echo", echo)
        stopped = _run("--out", out).exception
    assert isinstance(stopped, TrainingInterrupted)
    assert str(stopped).endswith(f"kept in {out}. Resume it with: keras-a2i quickstart --out {out} --seed 0")
    before = {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    config = json.loads((out / "run" / "config.json").read_text())
    assert not config["finished"] and len((out / "run" / "history.csv").read_text().splitlines()) == 2

    result = _run("--out", out)
    assert result.exit_code == 0, result.output
    assert "resuming the quickstart that was interrupted in this folder" in result.output
    assert "epoch 1/2" not in result.output
    for text in ("[5/5]", "mean training image", "shuffled", "Next, with your own videos"):
        assert text in result.output
    for name in ("held_out.png", "records/records.json", "run/model.keras", "run/report.html", "model.tflite"):
        assert (out / name).is_file(), name
    assert (out / "held_out.png").stat().st_size > 5_000
    assert len((out / "run" / "history.csv").read_text().splitlines()) == 3
    assert {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()} == before

    finished = _run("--out", out).exception
    assert isinstance(finished, UsageError) and "holds a quickstart already" in str(finished)


@pytest.fixture
def interrupted(small, monkeypatch, tmp_path):
    """A quickstart with the seed 1 that was interrupted while it built its records, as all that follow are."""
    monkeypatch.setattr(quickstart, "_build", _interrupt)
    assert isinstance(_run("--out", tmp_path / "quickstart", "--seed", 1).exception, TrainingInterrupted)
    return tmp_path / "quickstart"


def test_quickstart_with_another_seed_is_refused(interrupted):
    refused = _run("--out", interrupted).exception
    assert isinstance(refused, UsageError) and "--seed must be 1 to continue the quickstart" in str(refused)
    assert isinstance(_run("--out", interrupted, "--seed", 1).exception, TrainingInterrupted)


def test_quickstart_that_overwrite_began_anew_is_continued_without_it(interrupted):
    (interrupted / "run" / "state").mkdir(parents=True)
    (interrupted / "run" / "config.json").write_text("{}")
    assert isinstance(_run("--out", interrupted, "--overwrite").exception, TrainingInterrupted)
    assert not (interrupted / "run" / "state").exists()
    assert isinstance(_run("--out", interrupted).exception, TrainingInterrupted)


def test_quickstart_does_not_continue_what_it_did_not_begin(interrupted):
    (interrupted / "run").mkdir()
    (interrupted / quickstart.STATE_FILE).unlink()
    foreign = _run("--out", interrupted).exception
    assert isinstance(foreign, UsageError) and "which holds other files" in str(foreign)


@pytest.mark.parametrize("state", [None, "{", '{"seed": 1}', "[]"])
def test_overwrite_spares_a_training_that_no_quickstart_made(state, small, tmp_path):
    (tmp_path / "run" / "state").mkdir(parents=True)
    for name in ("config.json", "model.keras"):
        (tmp_path / "run" / name).write_text("mine")
    if state is not None:
        (tmp_path / quickstart.STATE_FILE).write_text(state)
    before = sorted(tmp_path.rglob("*"))
    refused = _run("--out", tmp_path, "--overwrite").exception
    assert isinstance(refused, UsageError)
    assert str(refused).startswith("--out must be a new or empty folder, or that of an earlier quickstart. Received: ")
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "run" / "model.keras").read_text() == "mine"
    file = _run("--out", tmp_path / "run" / "config.json", "--overwrite").exception
    assert isinstance(file, UsageError) and "--out must be a folder. Received: the file" in str(file)
