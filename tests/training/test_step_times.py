"""`fit` with jit_compile="auto": steps are measured once, nothing of the training changes by it."""

import keras
import pytest
import tensorflow as tf
from click.testing import CliRunner
from support.training_runs import SMALL, assert_same, train

from keras_a2i.cli.main import cli
from keras_a2i.errors import UsageError
from keras_a2i.training import step_times
from keras_a2i.training.epoch_lines import EpochLines
from keras_a2i.training.run_folder import RunFolder, is_faster_with_xla

pytestmark = pytest.mark.training

# XLA compiles fewer layers in less time.
OPTIONS = {"settings": SMALL | {"units": (8,), "layer_norm": False}, "epochs": 1}


@pytest.fixture
def measured(monkeypatch):
    """Has steps take these milliseconds without and with XLA, whatever the clock says; an exception is raised."""
    monkeypatch.setattr(step_times, "_MEASURED", 1)
    real = step_times._fastest_step

    def measured(plain, xla):
        def fastest_step(model, inputs, targets, **options):
            assert real(model, inputs, targets, **options) > 0
            found = xla if model.jit_compile else plain
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(step_times, "_fastest_step", fastest_step)

    return measured


@pytest.mark.parametrize(("plain", "xla", "jit_compile"), [(2.0, 3.0, False), (3.0, 2.0, True)])
def test_training_is_that_of_the_faster_steps(records, tmp_path, measured, plain, xla, jit_compile):
    measured(plain, xla)
    lines, seen = [], []
    note = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(note.model.jit_compile))
    callbacks = [note, EpochLines(RunFolder(tmp_path / "auto"), lines.append)]
    model = train(records, tmp_path / "auto", jit_compile="auto", callbacks=callbacks, **OPTIONS)
    assert_same(model, train(records, tmp_path / "given", jit_compile=jit_compile, **OPTIONS))
    config = RunFolder(tmp_path / "auto").read_config()
    assert seen == [jit_compile] and config.uses_xla is jit_compile
    assert (config.jit_compile, config.step_milliseconds) == ("auto", {"plain": plain, "xla": xla})
    use = "with" if jit_compile else "without"
    assert lines[0].endswith(f"1 epoch, {use} XLA ({plain:g} ms a step without, {xla:g} with it)")


def test_steps_that_xla_cannot_compile_run_without_it_and_are_not_measured_again(records, tmp_path, measured):
    measured(2.0, tf.errors.UnimplementedError(None, None, "no kernel"))
    lines = []
    callbacks = [EpochLines(RunFolder(tmp_path), lines.append)]
    train(records, tmp_path, jit_compile="auto", callbacks=callbacks, **OPTIONS)
    assert lines[0].endswith("1 epoch, without XLA, which can't compile these steps")
    measured(RuntimeError("measured again"), RuntimeError("measured again"))
    train(records, tmp_path, jit_compile="auto", callbacks=callbacks, **OPTIONS | {"epochs": 2, "resume": True})
    assert RunFolder(tmp_path).read_config().step_milliseconds == {"plain": 2.0}
    assert not is_faster_with_xla({})


def test_refused_values(records, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"must be True, False or 'auto'\. Received: jit_compile='fast'"):
        train(records, tmp_path, jit_compile="fast", **OPTIONS)
    result = CliRunner().invoke(cli, ["fit", str(records), "--out", str(tmp_path), "--jit-compile", "fast"])
    assert result.exit_code == 2 and "'fast' is not one of 'auto', 'always', 'never'" in result.output
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UsageError, match="must be True or False on PyTorch, for which it isn't measured"):
        train(records, tmp_path, jit_compile="auto", **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_step_that_takes_far_longer_is_measured_once(monkeypatch):
    steps, clock = [], iter(range(100))
    monkeypatch.setattr(step_times.time, "perf_counter", lambda: float(next(clock)))

    class Model:
        def train_on_batch(self, inputs, targets):
            steps.append(inputs)

    assert step_times._fastest_step(Model(), "x", "y", give_up=999.0) == 1000.0
    assert len(steps) == 2
    assert step_times._fastest_step(Model(), "x", "y", give_up=1001.0) == 1000.0
    assert len(steps) == 8
