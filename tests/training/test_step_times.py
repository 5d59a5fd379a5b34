"""`fit` with jit_compile="auto": steps are measured once, nothing of the training changes by it."""

import dataclasses
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from support.training_runs import SMALL, assert_same, train

import keras_a2i as a2i
from keras_a2i.cli.fit import command as fit_options
from keras_a2i.cli.main import cli
from keras_a2i.cli.training_options import fit_command
from keras_a2i.errors import TrainingInterrupted, UsageError
from keras_a2i.models import AudioToImage
from keras_a2i.objectives import TrainingModel
from keras_a2i.records.records import Records
from keras_a2i.training import step_times
from keras_a2i.training.epoch_lines import EpochLines, _describe_xla
from keras_a2i.training.run_folder import RunConfig, RunFolder, is_faster_with_xla

pytestmark = pytest.mark.training

# XLA compiles fewer layers in less time.
OPTIONS = {"settings": SMALL | {"units": (8,), "layer_norm": False}, "epochs": 1}


@pytest.fixture(scope="module")
def plain_run(records, tmp_path_factory):
    """A run of one epoch without XLA, and its model."""
    run = tmp_path_factory.mktemp("plain") / "run"
    return run, train(records, run, jit_compile=False, **OPTIONS)


@pytest.fixture
def measured(monkeypatch):
    """Has steps take these milliseconds without and with XLA, whatever the clock says; an exception is raised."""
    monkeypatch.setattr(step_times, "_MEASURED", 1)
    real = step_times._fastest_step

    def measured(plain, xla):
        def fastest_step(model, inputs, targets, **options):
            assert real(model, inputs, targets, **options) > 0
            found = xla if model.jit_compile else plain
            if isinstance(found, BaseException):
                raise found
            return found

        monkeypatch.setattr(step_times, "_fastest_step", fastest_step)

    return measured


@pytest.mark.parametrize(("plain", "xla", "jit_compile"), [(2.0, 3.0, False), (3.0, 2.0, True)])
def test_training_is_that_of_the_faster_steps(records, plain_run, tmp_path, measured, plain, xla, jit_compile):
    measured(plain, xla)
    lines, seen = [], []
    note = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(note.model.jit_compile))
    callbacks = [note, EpochLines(RunFolder(tmp_path / "auto"), lines.append)]
    model = train(records, tmp_path / "auto", jit_compile="auto", callbacks=callbacks, **OPTIONS)
    given = train(records, tmp_path / "given", jit_compile=True, **OPTIONS) if jit_compile else plain_run[1]
    assert_same(model, given)
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
    with pytest.raises(UsageError, match=r"on PyTorch, on which step times aren't measured.*--jit-compile auto"):
        train(records, tmp_path, jit_compile="auto", **OPTIONS)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match=r"must be True or left out on JAX.*--jit-compile never"):
        a2i.fit_seeds(records, tmp_path / "runs", seeds=2, recipe="features", jit_compile=False)
    assert not list(tmp_path.iterdir())


def test_interrupted_measurement_is_undone(records, plain_run, tmp_path, measured):
    plain, kept = shutil.copytree(plain_run[0], tmp_path / "plain"), AudioToImage.from_preset(plain_run[0])
    shutil.copytree(plain_run[0], tmp_path / "run")
    measured(2.0, KeyboardInterrupt())
    resumed = OPTIONS | {"epochs": 2, "resume": True}
    with pytest.raises(TrainingInterrupted, match="Training stopped after epoch 1 of 2"):
        train(records, tmp_path / "run", jit_compile="auto", **resumed)
    # Without the random states, which every loading begins anew.
    for a, b in zip(kept.get_weights(), AudioToImage.from_preset(tmp_path / "run").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert RunFolder(tmp_path / "run").read_config().step_milliseconds == {}
    measured(2.0, 3.0)
    model = train(records, tmp_path / "run", jit_compile="auto", **resumed)
    assert_same(model, train(records, plain, **resumed))


def test_layers_without_xla_are_not_measured_with_it(records):
    found = Records(records)
    recipe = a2i.get_recipe("features", **OPTIONS["settings"])
    model = recipe.build(found.features, image_size=found.image.size)
    training = TrainingModel(model, recipe.make_objectives(batch_size=8), total_steps=10)
    training.compile(recipe.make_optimizer(10))
    model.layers[1].supports_jit = False
    inputs, images = found.sample("train", 8)
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        times = step_times.measure_step_times(training, recipe, inputs, images / np.float32(127.5) - 1)
    assert set(times) == {"plain"} and times["plain"] > 0 and not training.jit_compile


def test_words_of_the_option_are_its_values_and_are_stored():
    for word, value in {"auto": "auto", "always": True, "never": False}.items():
        given = fit_options.make_context("fit", ["records", "--out", "run", "--jit-compile", word]).params
        assert given["jit_compile"] == value
        stored = fit_command(fit_options, "records", pathlib.Path("run"), given | {"records": None, "out": None})
        assert stored == f"keras-a2i fit records --out run --jit-compile {word}"


def test_only_an_automatic_choice_is_described():
    times = {"plain": 2.0, "xla": 1.99}
    config = {"recipe": {}, "records": "", "fingerprint": "", "epochs": 1, "batch_size": 1, "monitor": "val_loss"}
    chosen = RunConfig(**config, jit_compile="auto", step_milliseconds=times)
    # Less than a twentieth may be chance.
    assert not chosen.uses_xla
    assert _describe_xla(chosen) == ", without XLA (2 ms a step without, 1.99 with it)"
    assert _describe_xla(dataclasses.replace(chosen, jit_compile=True)) == ""


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
