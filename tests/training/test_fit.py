"""`fit`: the run folder, exact resuming, interruption, best weights, own models and objectives, errors."""

import dataclasses
import json
import os
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
import soundfile
from PIL import Image
from support.tone_source import ToneSource, build

import keras_a2i as a2i
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import KerasA2IError, LockedError, ModelError, UsageError
from keras_a2i.media.folder_lock import folder_lock
from keras_a2i.models import AudioToImage, DenseEncoder
from keras_a2i.models.model_file import load_model
from keras_a2i.objectives import MeanSquaredError, Objective, Spectrum
from keras_a2i.records.build import build_records
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.training.callbacks import Checkpoint
from keras_a2i.training.fit import fit
from keras_a2i.training.run_folder import RunFolder
from keras_a2i.training.trainer import TrainingInterrupted

IMAGE = ImageConfig(size=16)
SMALL = {"units": (16, 8), "base_channels": 8, "generator.channels": (8, 8)}

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    build(path, ToneSource(n_sources=3), split=SplitSpec(kind="block", val_fraction=0.25, guard=0))
    return path


def train(records, out, **options):
    return fit(records, out, **({"recipe": "features", "settings": SMALL, "epochs": 4, "batch_size": 8} | options))


def held_out_mse(model, records):
    val = Records(records).decoded("val")
    real = val.images.astype(np.float32) / 127.5 - 1
    return np.mean((model.predict(val.inputs, verbose=0) - real) ** 2)


def weights(model):
    return [np.array(variable) for variable in model.variables]


def assert_same(a, b):
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    return out, train(records, out)


def test_run_folder_holds_everything(whole, records):
    out, model = whole
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
    assert not list(out.glob("**/*.tmp*"))


def test_history_val_scores_equal_those_of_the_model_on_held_out_pairs(whole, records):
    out, model = whole
    row, mse = RunFolder(out).read_history()[-1], held_out_mse(model, records)
    assert row["val_mse"] == pytest.approx(mse, rel=1e-4)
    # The recipe optimises the mean squared error times the batch size.
    assert row["val_loss"] == pytest.approx(8 * mse, rel=1e-4)


def test_normalization_uses_training_features_only(whole, records):
    x = Records(records).decoded("train").inputs
    _, model = whole
    np.testing.assert_allclose(model.get_layer("normalize").mean[0], x.mean(axis=0), atol=1e-3)


def test_same_seed_gives_same_model_and_another_does_not(whole, records, tmp_path):
    assert_same(train(records, tmp_path / "again"), whole[1])
    other = train(records, tmp_path / "other", seed=1)
    assert any((a != b).any() for a, b in zip(weights(other), weights(whole[1]), strict=True))


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


def test_resume_after_interrupt_equals_uninterrupted_run(whole, records, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(
        TrainingInterrupted, match=r"stopped after epoch 2 of 4, which is saved in .*Resume it with resume=True"
    ):
        train(records, out, callbacks=[StopIn(3)])
    assert (out / "model.keras").is_file()
    model = fit(records, out, resume=True)
    assert_same(model, whole[1])
    rows = RunFolder(out).read_history()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["loss"] == pytest.approx(RunFolder(whole[0]).read_history()[-1]["loss"])


def test_resume_after_kill_continues_from_last_saved_epoch(whole, records, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)
    saves = []
    original = Checkpoint.save

    def save_twice(self):
        if len(saves) == 2:
            raise SystemExit("killed")
        saves.append(self.epoch)
        original(self)

    monkeypatch.setattr(Checkpoint, "save", save_twice)
    with pytest.raises(SystemExit):
        train(records, out)
    monkeypatch.setattr(Checkpoint, "save", original)
    assert saves == [1, 2] and RunFolder(out).read_history()[-1]["epoch"] == 3
    assert_same(fit(records, out, resume=True), whole[1])


def test_interrupt_soon_after_resume_keeps_saved_epoch(records, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(TrainingInterrupted):
        train(records, out, callbacks=[StopIn(3)])
    before = load_model(out / "model.keras")[0]
    with pytest.raises(TrainingInterrupted, match="after epoch 2 of 4"):
        fit(records, out, resume=True, callbacks=[StopIn(3)])
    for a, b in zip(load_model(out / "model.keras")[0].weights, before.weights, strict=True):
        np.testing.assert_array_equal(a, b)


class StopAtEnd(keras.callbacks.Callback):
    """Simulates Ctrl-C after an epoch has been reported."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_reported_epoch_is_saved(whole, records, tmp_path):
    out = tmp_path / "run"
    reported = []
    with pytest.raises(TrainingInterrupted, match="after epoch 2 of 4, which is saved"):
        report = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: reported.append(epoch + 1))
        train(records, out, callbacks=[report, StopAtEnd()])
    assert reported == [1, 2]
    assert_same(fit(records, out, resume=True), whole[1])


def test_interrupt_before_first_epoch_raises(records, tmp_path):
    with pytest.raises(TrainingInterrupted, match="before the first epoch was finished; nothing is saved"):
        train(records, tmp_path / "run", callbacks=[StopIn(1)])


def test_resume_with_more_epochs_continues(records, tmp_path):
    out = tmp_path / "run"
    # The moving average of the weights has no memory yet in the first run, and some in the second.
    train(records, out, settings=SMALL | {"ema_momentum": 0.9}, epochs=1)
    fit(records, out, resume=True, epochs=10)
    assert [row["epoch"] for row in RunFolder(out).read_history()] == list(range(1, 11))


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({}, 20),  # 27 training pairs in batches of 8 are 4 steps
        ({"batch_size": 60}, 80),
        ({"epochs": 3}, 3),
        ({"settings": {"min_steps": 80, "epochs": 2}}, 2),
        ({"settings": {"min_steps": 16}}, 4),
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


def test_resume_with_changes_raises(whole, records, tmp_path):
    out, _ = whole
    with pytest.raises(UsageError, match=r"batch_size of a resumed run must stay 8. Received: batch_size=4"):
        fit(records, out, resume=True, batch_size=4)
    with pytest.raises(UsageError, match="A resumed run keeps its recipe"):
        fit(records, out, resume=True, recipe="paper")
    build(tmp_path / "other", ToneSource(n_sources=2))
    with pytest.raises(UsageError, match="can only be resumed on the records that it was trained on"):
        fit(tmp_path / "other", out, resume=True)
    with pytest.raises(ModelError, match=r"A run folder must hold a config.json"):
        fit(records, tmp_path / "nowhere", resume=True)


def test_existing_run_is_not_replaced(whole, records, tmp_path):
    with pytest.raises(UsageError, match=r"holds a run already. Resume it"):
        train(records, whole[0])
    with pytest.raises(UsageError, match="must be written to a new or empty folder"):
        train(records, records)
    with pytest.raises(UsageError, match="resume and overwrite are mutually exclusive"):
        fit(records, whole[0], resume=True, overwrite=True)
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
    model = train(records, out, epochs=9, restore_best_weights=True, patience=2, callbacks=[Worsen()])
    rows = RunFolder(out).read_history()
    best = min(rows, key=lambda row: row["val_mse"])
    assert len(rows) == best["epoch"] + 2 < 9
    assert best["val_mse"] == pytest.approx(held_out_mse(model, records), rel=1e-4)


def test_records_without_held_out_pairs(tmp_path):
    build(tmp_path / "records", split=SplitSpec(kind="block", val_fraction=0))
    train(tmp_path / "records", tmp_path / "run", epochs=1)
    assert "val_loss" not in RunFolder(tmp_path / "run").read_history()[0]
    assert (tmp_path / "run" / "samples" / "epoch_0001.png").is_file()
    with pytest.raises(UsageError, match=r"require held-out pairs. Received: records without"):
        train(tmp_path / "records", tmp_path / "other", restore_best_weights=True)


def test_loss_not_finite_raises(records, tmp_path):
    settings = SMALL | {"learning_rate": 10.0, "schedule": "constant", "normalize": False, "layer_norm": False}

    class Poison(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.trainable_variables[0].assign(self.model.trainable_variables[0] * np.nan)

    with pytest.raises(KerasA2IError, match=r"loss must stay finite. Received: nan in epoch 1. Lower learning_rate"):
        train(records, tmp_path / "run", settings=settings, callbacks=[Poison()])


@pytest.mark.parametrize(("policy", "jit"), [("mixed_bfloat16", False), ("float32", True)])
def test_dtype_policy_and_jit_compile(records, tmp_path, policy, jit):
    seen = []
    note = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(note.model.jit_compile))
    model = train(records, tmp_path / "run", epochs=1, dtype_policy=policy, jit_compile=jit, callbacks=[note])
    assert model.get_layer("encoder_0").dtype_policy.name == policy
    assert seen == [jit]
    assert model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    assert np.isfinite(RunFolder(tmp_path / "run").read_history()[0]["loss"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 or more. Received: epochs=0"),
        ({"patience": 0}, "patience must be 1 epoch or more"),
        ({"dtype_policy": "float8"}, "dtype_policy must be one of float32"),
        ({"recipe": "papper"}, "Did you mean 'paper'"),
        ({"monitor": "val_beauty", "patience": 1}, r"monitor must be one of val_loss.*Received: monitor='val_beauty'"),
    ],
)
def test_options_out_of_range_raise(records, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        train(records, tmp_path / "run", **options)


def test_resume_of_waveform_model_equals_uninterrupted_run(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)

    def keep(epoch, logs):
        if epoch == 2:
            shutil.copytree(tmp_path / "whole", tmp_path / "parts")

    settings = SMALL | {"input": "waveform", "noise_snr_db": 10.0, "mix_snr_db": 5.0}
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=keep)]
    model = train(records, tmp_path / "whole", settings=settings, callbacks=callbacks)
    assert len(RunFolder(tmp_path / "parts").read_history()) == 2
    assert model.input_shape == (None, 16_000)
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert config["recipe"]["augmentation"]["mix_snr_db"] == 5.0 and config["recipe"]["encoder"]["input"] == "waveform"
    loaded, metadata = load_model(tmp_path / "whole" / "model.keras")
    assert metadata.input == "waveform" and loaded.input_shape == (None, 16_000)

    assert_same(fit(records, tmp_path / "parts", resume=True), model)
    still = train(
        records, tmp_path / "still", settings=SMALL | {"input": "waveform", "augmentation": a2i.Augmentation()}
    )
    with pytest.raises(AssertionError):
        assert_same(still, model)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Clips of two pitches, each with a dark or a bright image by its pitch."""
    path = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    rows = ["audio,image,label,source"]
    for i in range(16):
        tone = 0.3 * np.sin(2 * np.pi * (400 if i % 2 else 1500) * np.arange(8000) / 8000) * np.hanning(8000)
        soundfile.write(path / f"{i}.wav", tone + 0.001 * rng.standard_normal(8000), 8000)
        Image.fromarray(np.full((16, 16), (40 if i % 2 else 200) + i, np.uint8)).save(path / f"{i}.png")
        rows.append(f"{i}.wav,{i}.png,{'low' if i % 2 else 'high'},s{i // 4}")
    (path / "pairs.csv").write_text("\n".join(rows))
    features, image = FeatureConfig(sample_rate=8000), ImageConfig(size=16)
    sources = open_sources([path / "pairs.csv"], features=features, image=image)
    split = SplitSpec(kind="source", holdout=("s3",))
    build_records(sources, path / "records", features=features, image=image, split=split, workers=1)
    return path / "records"


WORDS = {
    "encoder.channels": (8, 16, 32, 32, 64),
    "latent_dim": 8,
    "ensemble": 1,
    "base_channels": 8,
    "generator.channels": (8,),
}


def fail(*_, **__):
    raise OSError("no space left on device")


@pytest.mark.parametrize("options", [{}, {"restore_best_weights": True}, {"patience": 1, "epochs": 30}])
def test_run_that_ends_after_its_last_state_resumes_to_the_same_model(records, tmp_path, options):
    options = {"settings": SMALL | {"ema_momentum": 0.9, "learning_rate": 0.05}} | options
    expected = train(records, tmp_path / "whole", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_a2i.training.trainer.save_model", fail)
        with pytest.raises(OSError, match="no space left"):
            train(records, tmp_path / "run", **options)
    assert not (tmp_path / "run" / "model.keras").exists()
    found = fit(records, tmp_path / "run", resume=True)
    assert_same(found, expected)
    rows = [[row["loss"] for row in RunFolder(tmp_path / name).read_history()] for name in ("whole", "run")]
    assert rows[0] == rows[1] and len(rows[0]) < 30
    loaded, _ = load_model(tmp_path / "run" / "model.keras")
    np.testing.assert_array_equal(loaded.get_weights()[-1], expected.get_weights()[-1])


def test_resume_of_a_streamed_training_equals_uninterrupted_run(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)

    def keep(epoch, logs):
        if epoch == 2:
            shutil.copytree(tmp_path / "whole", tmp_path / "parts")

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=keep)]
    expected = train(records, tmp_path / "whole", callbacks=callbacks, cache=False)
    assert_same(fit(records, tmp_path / "parts", resume=True, cache=False), expected)


def test_damaged_state_falls_back_to_the_one_before(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)

    def keep(epoch, logs):
        if epoch == 3:
            shutil.copytree(tmp_path / "whole", tmp_path / "parts")

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=keep)]
    expected = train(records, tmp_path / "whole", callbacks=callbacks)
    state = tmp_path / "parts" / "state"
    data = bytearray((state / "variables.npz").read_bytes())
    data[len(data) // 2] ^= 255
    (state / "variables.npz").write_bytes(data)
    (tmp_path / "parts" / "history.csv").write_text("epoch,loss\n1,half a")
    began = []
    record = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: began.append(epoch))
    assert_same(fit(records, tmp_path / "parts", resume=True, callbacks=[record]), expected)
    assert began == [2, 3] and [row["epoch"] for row in RunFolder(tmp_path / "parts").read_history()] == [1, 2, 3, 4]
    (tmp_path / "parts" / "config.json").write_text(
        (tmp_path / "parts" / "config.json").read_text().replace('"finished": true', '"finished": false')
    )
    for name in ("variables.npz", "variables.previous.npz"):
        (state / name).write_bytes(b"PK\3\4 cut")
    with pytest.raises(
        ModelError, match=r"must be readable to resume it.*variables\.npz: .*variables\.previous\.npz: "
    ):
        fit(records, tmp_path / "parts", resume=True)


def test_damaged_config_and_history_are_one_sentence(whole, tmp_path):
    values = json.loads((whole[0] / "config.json").read_text())
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
    shutil.copytree(whole[0], tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    options = {"recipe": "words-aligned", "settings": {}, "image_folder": tmp_path / "nowhere"}
    with pytest.raises(UsageError, match="image_folder must be a folder"):
        train(records, tmp_path / "run", overwrite=True, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_words_recipe_classifies_and_saves_a_model_of_images(labelled, tmp_path):
    fit(labelled, tmp_path / "run", recipe="words", settings=WORDS, epochs=25, batch_size=4)
    rows = RunFolder(tmp_path / "run").read_history()
    assert rows[-1]["labels_loss"] < 0.6 * rows[0]["labels_loss"] and "val_ssim" in rows[0]
    loaded, metadata = load_model(tmp_path / "run" / "model.keras")
    assert metadata.labels == ("high", "low") and metadata.input == "waveform"
    assert len(loaded.outputs) == 1 and loaded.output_shape == (None, 16, 16, 3)
    val = Records(labelled).decoded("val", "waveform")
    found = loaded.predict(val.inputs, verbose=0).mean(axis=(1, 2, 3))
    real = val.images.mean(axis=(1, 2, 3)) - 127.5
    assert (found[real > 0].min()) > found[real < 0].max()


def test_words_recipe_without_labels_raises(labelled, tmp_path):
    rows = ["audio,image", *(f"{i}.wav,{i}.png" for i in range(8))]
    (labelled.parent / "unlabelled.csv").write_text("\n".join(rows))
    features, image = FeatureConfig(sample_rate=8000), ImageConfig(size=16)
    sources = open_sources([labelled.parent / "unlabelled.csv"], features=features, image=image)
    split = SplitSpec(kind="random")
    build_records(sources, tmp_path / "records", features=features, image=image, split=split, workers=1)
    with pytest.raises(UsageError, match=r"classifies labels: the records must have two or more"):
        fit(tmp_path / "records", tmp_path / "run", recipe="words", settings=WORDS)


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


def test_own_model_and_own_objectives_are_trained_and_resumed(records, tmp_path):
    keras.utils.get_custom_objects()["Brightness"] = Brightness
    keras.utils.set_random_seed(3)
    model, objectives = own_model(), [MeanSquaredError(0.5, batch_size=9), Brightness(2.0), keras.losses.Huber()]
    fit(records, tmp_path / "run", model=model, objectives=objectives, epochs=2, batch_size=9, verbose=0)
    rows = RunFolder(tmp_path / "run").read_history()
    assert {"mse_loss", "brightness_loss", "huber_loss", "val_brightness_loss"} <= set(rows[0])
    total = 0.5 * rows[0]["mse_loss"] + 2 * rows[0]["brightness_loss"] + rows[0]["huber_loss"]
    assert rows[0]["loss"] == pytest.approx(total, rel=1e-3)
    resumed = fit(records, tmp_path / "run", resume=True, epochs=3, verbose=0)
    assert len(RunFolder(tmp_path / "run").read_history()) == 3
    assert isinstance(resumed, AudioToImage) and isinstance(AudioToImage.from_preset(tmp_path / "run"), AudioToImage)


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


def test_verbose_prints_epochs_with_held_out_values(records, tmp_path, capsys):
    train(records, tmp_path / "run", epochs=2, verbose=2)
    printed = capsys.readouterr().out
    assert "Epoch 2/2" in printed and "val_ssim: " in printed
