"""`fit`: the run folder, seeds, best weights, own models and objectives, errors."""

import dataclasses
import io
import json
import os
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
from PIL import Image
from support.tone_source import build
from support.training_runs import SMALL, tensorboard_logs, train, weights

import keras_a2i as a2i
from keras_a2i.errors import KerasA2IError, LockedError, ModelError, SourceError, UsageError
from keras_a2i.media.folder_lock import LOCK_FILE, folder_lock
from keras_a2i.models import AudioToImage, DenseEncoder
from keras_a2i.models.model_file import load_model
from keras_a2i.models.prediction import predict_batch
from keras_a2i.objectives import MeanSquaredError, Objective, Spectrum
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.training.fit import fit
from keras_a2i.training.plan import plan_run
from keras_a2i.training.run_folder import RunFolder

pytestmark = pytest.mark.training


def held_out_mse(model, records):
    val = Records(records).decoded("val")
    real = val.images.astype(np.float32) / 127.5 - 1
    return np.mean((model.predict(val.inputs, verbose=0) - real) ** 2)


def test_run_folder_holds_everything(whole, records):
    out, model, _ = whole
    config = json.loads((out / "config.json").read_text())
    assert config["recipe"]["name"] == "features" and config["epochs"] == 4 and config["n_parameters"] > 0
    rows = RunFolder(out).read_history()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert {"loss", "val_loss", "val_mse", "val_ssim", "val_histogram_similarity", "learning_rate", "seconds"} <= set(
        rows[0]
    )
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert [p.name for p in sorted((out / "samples").iterdir())] == [f"epoch_{i:04d}.png" for i in (1, 2, 3, 4)]
    assert Image.open(out / "samples" / "epoch_0004.png").width > 300
    loaded, metadata = load_model(out / "model.keras")
    for a, b in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    with zipfile.ZipFile(out / "model.keras") as archive, h5py.File(archive.open("model.weights.h5")) as file:
        assert "layers" in file and "optimizer" not in file
    assert metadata.image.size == 16 and metadata.recipe == "features" and len(metadata.feature_mean) == 104
    assert model.metadata.recipe == loaded.metadata.recipe == "features"
    assert not list(out.glob("**/*.tmp*"))


def test_no_more_images_are_predicted_than_are_held_out(records, tmp_path, monkeypatch):
    predicted = []

    def predict(model, inputs):
        predicted.append(len(inputs))
        return predict_batch(model, inputs)

    monkeypatch.setattr("keras_a2i.training.trainer.predict_batch", predict)
    train(records, tmp_path / "run", epochs=1)
    # One number for scores and for the sheet, so that TensorFlow traces the network once.
    assert set(predicted) == {Records(records).counts["val"]}


def tensorboard_events(run, name):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    return event_accumulator.EventAccumulator(str(run / "tensorboard" / name), size_guidance={"tensors": 0}).Reload()


def test_tensorboard_logs_hold_losses_histograms_and_the_sample_sheets(whole):
    found = tensorboard_events(whole.run, "train")
    tags, losses = found.Tags()["tensors"], found.Tensors("epoch_loss")
    assert "epoch_loss" in tags and any(tag.endswith("kernel/histogram") for tag in tags)
    logged = tensorboard_events(whole.run, "samples").Tensors("real above generated")
    assert [event.step for event in logged] == [event.step for event in losses] == [0, 1, 2, 3]
    image = Image.open(io.BytesIO(logged[-1].tensor_proto.string_val[2]))
    np.testing.assert_array_equal(image, Image.open(whole.run / "samples" / "epoch_0004.png"))


def test_history_val_scores_equal_those_of_the_model_on_held_out_pairs(whole, records):
    out, model, _ = whole
    row, mse = RunFolder(out).read_history()[-1], held_out_mse(model, records)
    assert row["val_mse"] == pytest.approx(mse, rel=1e-4)
    # The recipe optimises the mean squared error times the batch size.
    assert row["val_loss"] == pytest.approx(8 * mse, rel=1e-4)


def test_normalization_uses_training_features_only(whole, records):
    x = Records(records).decoded("train").inputs
    model = whole.model
    np.testing.assert_allclose(model.get_layer("normalize").mean[0], x.mean(axis=0), atol=1e-3)


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({}, 20),  # 27 training pairs in batches of 8 are 4 steps
        ({"batch_size": 60}, 80),
        ({"epochs": 3}, 3),
        ({"settings": {"min_steps": 80, "epochs": 2}}, 2),
        ({"settings": {"min_steps": 16}}, 4),
        ({"settings": {"min_steps": 80, "max_epochs": 12}}, 12),
        ({"settings": {"min_steps": 80, "max_epochs": 3}}, 4),
    ],
)
def test_min_steps_extend_epochs_unless_given(records, tmp_path, monkeypatch, options, epochs):
    class Begun(Exception):
        pass

    def begin(folder, config, *_, **__):
        assert config.epochs == epochs
        raise Begun

    monkeypatch.setattr("keras_a2i.training.fit.Trainer", begin)
    recipe = dataclasses.replace(a2i.get_recipe("features"), epochs=4)
    with pytest.raises(Begun):
        given = {"settings": {"min_steps": 80}, "batch_size": 8} | options
        fit(records, tmp_path / "run", recipe=recipe, **given)


def test_existing_run_is_not_replaced(whole, records, tmp_path):
    with pytest.raises(UsageError, match=r"holds a run already. Resume it"):
        train(records, whole.run)
    with pytest.raises(UsageError, match="must be written to a new or empty folder"):
        train(records, records)
    with pytest.raises(UsageError, match="resume and overwrite are mutually exclusive"):
        fit(records, whole.run, resume=True, overwrite=True)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError, match=r"must be written to a folder. Received: the file"):
        train(records, file)
    assert file.read_text() == "mine"


class Worsen(keras.callbacks.Callback):
    """Worsens the weights from an epoch on, so that the best epoch is the one before."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= 2:
            for variable in self.model.trainable_variables:
                variable.assign(variable * 3)


def test_restore_best_weights_and_patience(records, tmp_path):
    out = tmp_path / "run"
    with tensorboard_logs():
        model = train(records, out, epochs=9, restore_best_weights=True, patience=2, callbacks=[Worsen()])
    rows = RunFolder(out).read_history()
    best = min(rows, key=lambda row: row["val_mse"])
    assert len(rows) == best["epoch"] + 2 < 9
    assert best["val_mse"] == pytest.approx(held_out_mse(model, records), rel=1e-4)
    # TensorBoard shows the images of the model that is kept apart, and those of every epoch once.
    logged = tensorboard_events(out, "samples")
    assert [event.step for event in logged.Tensors("real above generated")] == list(range(len(rows)))
    assert [event.step + 1 for event in logged.Tensors("kept: real above generated")] == [best["epoch"]]


def test_records_without_held_out_pairs(tmp_path):
    build(tmp_path / "records", split=SplitSpec(kind="block", val_fraction=0))
    train(tmp_path / "records", tmp_path / "run", epochs=1)
    assert "val_loss" not in RunFolder(tmp_path / "run").read_history()[0]
    assert (tmp_path / "run" / "samples" / "epoch_0001.png").is_file()
    with pytest.raises(UsageError, match=r"require held-out pairs. Received: .*, which has no split val. Build"):
        train(tmp_path / "records", tmp_path / "other", restore_best_weights=True)


def test_loss_not_finite_raises(records, tmp_path):
    settings = SMALL | {"learning_rate": 10.0, "schedule": "constant", "normalize": False, "layer_norm": False}

    class Poison(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.trainable_variables[0].assign(self.model.trainable_variables[0] * np.nan)

    with pytest.raises(KerasA2IError, match=r"loss must stay finite. Received: nan in epoch 1. Lower learning_rate"):
        train(records, tmp_path / "run", settings=settings, callbacks=[Poison()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 or more. Received: epochs=0"),
        ({"patience": 0}, "patience must be 1 epoch or more"),
        ({"dtype_policy": "float8"}, "dtype_policy must be one of float32"),
        ({"recipe": "papper"}, "Did you mean 'paper'"),
        ({"monitor": "val_sim"}, r"Received: monitor='val_sim'. Did you mean 'val_ssim'\?"),
        ({"monitor": "val_beauty", "patience": 1}, r"monitor must be one of val_loss.*Received: monitor='val_beauty'"),
    ],
)
def test_options_out_of_range_raise(records, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        train(records, tmp_path / "run", **options)
    assert not (tmp_path / "run" / "config.json").exists() and not (tmp_path / "run" / "history.csv").exists()


def test_damaged_config_and_history_are_one_sentence(whole, tmp_path):
    values = json.loads((whole.run / "config.json").read_text())
    for change in ({"epochs": "four"}, {"recipe": 3}, {"patience": 1.5}, {"seed": None}, {"finished": 1}, {"more": 0}):
        (tmp_path / "config.json").write_text(json.dumps(values | change))
        with pytest.raises(ModelError, match="isn't a run configuration of this version"):
            RunFolder(tmp_path).read_config()
    for text in ("[", "[1, 2]", "\x00", '{"recipe": ' + "[" * 100_000):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ModelError, match="isn't a run configuration of this version"):
            RunFolder(tmp_path).read_config()
    (tmp_path / "history.csv").write_text("epoch,loss\n1,half")
    with pytest.raises(ModelError, match=r"history\.csv must hold a row of numbers for every epoch"):
        RunFolder(tmp_path).read_history()


def test_only_one_training_writes_into_a_folder(records, tmp_path):
    with folder_lock(tmp_path / "run"), pytest.raises(LockedError, match=rf"process {os.getpid()} is writing"):
        train(records, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_overwrite_deletes_nothing_before_the_new_run_begins(whole, records, tmp_path):
    shutil.copytree(whole.run, tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    options = {"recipe": "words-aligned", "settings": {}, "image_folder": tmp_path / "nowhere"}
    with pytest.raises(SourceError, match="image_folder must be a folder"):
        train(records, tmp_path / "run", overwrite=True, **options)
    assert sorted(tmp_path.rglob("*")) == before


class Brightness(Objective):
    """An own objective: the squared difference of the mean brightness."""

    id = "brightness"

    def loss(self, state):
        real, generated = (keras.ops.mean(images, axis=(1, 2, 3)) for images in (state.images, state.generated))
        return keras.ops.mean(keras.ops.square(real - generated))


def own_model():
    generator = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16 * 16 * 3, activation="tanh"),
            keras.layers.Reshape((16, 16, 3)),
        ]
    )
    return AudioToImage(DenseEncoder(units=(16, 8)), generator)


def test_own_model_and_own_objectives_are_trained_and_resumed_for_longer(records, tmp_path):
    keras.utils.get_custom_objects()["Brightness"] = Brightness
    keras.utils.set_random_seed(3)
    model, objectives = own_model(), [MeanSquaredError(0.5, batch_size=9), Brightness(2.0), keras.losses.Huber()]
    fit(records, tmp_path / "run", model=model, objectives=objectives, epochs=2, batch_size=9, verbose=0)
    rows = RunFolder(tmp_path / "run").read_history()
    assert {"mse_loss", "brightness_loss", "huber_loss", "val_brightness_loss"} <= set(rows[0])
    total = 0.5 * rows[0]["mse_loss"] + 2 * rows[0]["brightness_loss"] + rows[0]["huber_loss"]
    assert rows[0]["loss"] == pytest.approx(total, rel=1e-3)
    # The recipe's moving average of the weights has no memory yet in so short a run, and some in the longer one.
    resumed = fit(records, tmp_path / "run", resume=True, epochs=8, verbose=0)
    assert [row["epoch"] for row in RunFolder(tmp_path / "run").read_history()] == list(range(1, 9))
    assert isinstance(resumed, AudioToImage) and isinstance(AudioToImage.from_preset(tmp_path / "run"), AudioToImage)


def test_frozen_encoder_stays_as_it_is_and_the_run_can_be_resumed(records, tmp_path):
    model = own_model()
    model.encoder.trainable = False
    before = [np.array(weight) for weight in model.encoder.weights]
    fit(records, tmp_path / "run", model=model, objectives="mse", epochs=1, batch_size=9, verbose=0)
    resumed = fit(records, tmp_path / "run", resume=True, epochs=2, verbose=0)
    for a, b in zip(before, resumed.encoder.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not resumed.encoder.trainable_weights and resumed.generator.trainable_weights


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("digits", "model must be an AudioToImage. Received: 'digits'. .*AudioToImage.from_preset"),
        (DenseEncoder(), "Received: an object of the class DenseEncoder"),
        (keras.Sequential([keras.Input((104,)), keras.layers.Dense(4)]), "Received: an object of the class Sequential"),
    ],
)
def test_what_is_no_model_raises(records, tmp_path, model, message):
    with pytest.raises(UsageError, match=message):
        fit(records, tmp_path / "run", model=model)


def test_model_is_trained_as_in_its_own_recipe(records):
    model = a2i.encoder_generator("features", image_size=16, n_features=104)
    opened = Records(records)
    assert plan_run(opened, model=model, options={}).recipe["name"] == "features"
    assert plan_run(opened, model=own_model(), options={}).recipe["name"] == "scenes"
    assert plan_run(opened, model=model, recipe="paper", options={}).recipe["name"] == "paper"


def test_own_model_of_another_size_raises(records, tmp_path):
    model = AudioToImage(DenseEncoder(units=(8,)), a2i.models.ResidualGenerator(channels=(8,)), image_size=32)
    with pytest.raises(UsageError, match="The records must have images of the model's size, 32 x 32"):
        fit(records, tmp_path / "run", model=model)


def test_objectives_of_a_recipe_can_be_replaced(records, tmp_path):
    train(
        records, tmp_path / "run", objectives=[Spectrum(0.5)], epochs=1, monitor="val_loss", restore_best_weights=True
    )
    row = RunFolder(tmp_path / "run").read_history()[0]
    assert row["loss"] > 0 and "mse_loss" not in row
    with pytest.raises(UsageError, match="objectives must be one or more"):
        train(records, tmp_path / "none", objectives=[])


def test_another_seed_gives_another_model_and_verbose_prints_epochs_with_held_out_values(
    whole, records, tmp_path, capsys
):
    other = train(records, tmp_path / "other", seed=1, verbose=2)
    assert any((a != b).any() for a, b in zip(weights(other), weights(whole.model), strict=True))
    printed = capsys.readouterr().out
    assert "Epoch 4/4" in printed and "val_ssim: " in printed


def test_dtype_policy_and_jit_compile(whole, records, tmp_path):
    seen = []
    note = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(note.model.jit_compile))
    # XLA compiles fewer layers in less time.
    settings = SMALL | {"units": (8,), "layer_norm": False, "feature_noise": 0.0}
    options = {"settings": settings, "dtype_policy": "mixed_bfloat16", "jit_compile": True}
    model = train(records, tmp_path / "run", epochs=1, callbacks=[note], **options)
    policies = [each.get_layer("encoder_0").dtype_policy.name for each in (model, whole.model)]
    assert policies == ["mixed_bfloat16", "float32"]
    assert seen == [True]
    assert model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    assert np.isfinite(RunFolder(tmp_path / "run").read_history()[0]["loss"])


def test_cleared_run_keeps_no_report_of_its_model(tmp_path):
    for name in ("config.json", "model.keras", "report.json", "report.html", "per_pair.csv", "card.md", "notes.txt"):
        (tmp_path / name).write_text("{}")
    RunFolder(tmp_path).clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "notes.txt"]


def test_folder_that_another_process_is_writing_is_named_by_its_lock(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    (run.path / ".config.json.tmp").write_text("{}")
    with pytest.raises(UsageError, match=r"must be written to a new or empty folder.*which holds other files"):
        run.check_free(overwrite=True)
    (run.path / LOCK_FILE).touch()
    run.check_free(overwrite=True)
    with pytest.raises(UsageError, match=r"must be written to a new or empty folder.*which holds other files"):
        run.check_free(overwrite=True, is_locked=True)
