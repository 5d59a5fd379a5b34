"""`fit`: the run folder, exact resuming, interruption, best weights, errors."""

import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
import soundfile
from PIL import Image
from support.tone_source import ToneSource, build

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import KerasA2IError, ModelError, UsageError
from keras_a2i.models.model_file import load_model
from keras_a2i.models.recipes import RECIPES, get_recipe
from keras_a2i.records.build import build_records
from keras_a2i.records.orders import InOrder
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.training.callbacks import Checkpoint
from keras_a2i.training.fit import fit
from keras_a2i.training.run_folder import RunFolder
from keras_a2i.training.trainer import TrainingInterrupted

IMAGE = ImageConfig(size=16)
SMALL = {"encoder_units": (16, 8), "base_channels": 8, "generator_channels": (8, 8)}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    build(path, ToneSource(n_sources=3), split=SplitSpec(kind="block", val_fraction=0.25, guard=0))
    return path


def train(records, out, **options):
    return fit(records, out, **({"recipe": "tiny", "overrides": SMALL, "epochs": 4, "batch_size": 8} | options))


def weights(model):
    return [np.array(variable) for variable in model.variables]


def assert_same(a, b):
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    return out, train(records, out)


def test_the_run_folder_holds_everything(whole, records):
    out, model = whole
    config = json.loads((out / "config.json").read_text())
    assert config["recipe"]["name"] == "tiny" and config["epochs"] == 4 and config["n_parameters"] > 0
    rows = RunFolder(out).read_history()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert {"loss", "val_loss", "val_ssim", "val_histogram_similarity", "learning_rate", "seconds"} <= set(rows[0])
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert [p.name for p in sorted((out / "samples").iterdir())] == [f"epoch_{i:04d}.png" for i in (1, 2, 3, 4)]
    assert Image.open(out / "samples" / "epoch_0004.png").width > 300
    loaded, metadata = load_model(out / "model.keras")
    for a, b in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    with zipfile.ZipFile(out / "model.keras") as archive, h5py.File(archive.open("model.weights.h5")) as file:
        assert "layers" in file and "optimizer" not in file
    assert metadata.image.size == 16 and metadata.recipe == "tiny" and len(metadata.feature_mean) == 104
    assert not list(out.glob("**/*.tmp*"))


def test_held_out_scores_are_those_of_the_model_on_the_held_out_pairs(whole, records):
    out, model = whole
    val = next(iter(Records(records).dataset("val", 100).as_numpy_iterator()))
    mse = np.mean((model.predict(val[0], verbose=0) - val[1]) ** 2)
    assert RunFolder(out).read_history()[-1]["val_loss"] == pytest.approx(8 * mse, rel=1e-4)


def test_the_normalisation_comes_from_the_training_features_alone(whole, records):
    x = np.concatenate([x for x, _ in Records(records).dataset(order=InOrder()).as_numpy_iterator()])
    _, model = whole
    np.testing.assert_allclose(model.get_layer("normalize").mean[0], x.mean(axis=0), atol=1e-3)


def test_the_same_seed_gives_the_same_model_and_another_does_not(whole, records, tmp_path):
    assert_same(train(records, tmp_path / "again"), whole[1])
    other = train(records, tmp_path / "other", seed=1)
    assert any((a != b).any() for a, b in zip(weights(other), weights(whole[1]), strict=True))


class StopIn(keras.callbacks.Callback):
    """Presses Ctrl-C in the second step of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.stop_epoch, self.current = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.current = epoch + 1

    def on_train_batch_begin(self, batch, logs=None):
        if self.current == self.stop_epoch and batch == 1:
            raise KeyboardInterrupt


def test_an_interrupted_training_saves_and_goes_on_as_if_it_hadn_t_been(whole, records, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(
        TrainingInterrupted, match=r"Stopped after epoch 2 of 4, which is saved. Go on with: .*--resume"
    ):
        train(records, out, callbacks=[StopIn(3)])
    assert (out / "model.keras").is_file()
    model = fit(records, out, resume=True)
    assert_same(model, whole[1])
    rows = RunFolder(out).read_history()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["loss"] == pytest.approx(RunFolder(whole[0]).read_history()[-1]["loss"])


def test_a_killed_training_goes_on_from_its_last_saved_epoch(whole, records, tmp_path, monkeypatch):
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


def test_an_interruption_soon_after_going_on_leaves_the_saved_epoch(records, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(TrainingInterrupted):
        train(records, out, callbacks=[StopIn(3)])
    before = load_model(out / "model.keras")[0]
    with pytest.raises(TrainingInterrupted, match="after epoch 2 of 4"):
        fit(records, out, resume=True, callbacks=[StopIn(3)])
    for a, b in zip(load_model(out / "model.keras")[0].weights, before.weights, strict=True):
        np.testing.assert_array_equal(a, b)


class StopAtEnd(keras.callbacks.Callback):
    """Presses Ctrl-C when an epoch has been reported."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_what_has_been_reported_is_saved(whole, records, tmp_path):
    out = tmp_path / "run"
    reported = []
    with pytest.raises(TrainingInterrupted, match="after epoch 2 of 4, which is saved"):
        train(records, out, callbacks=[StopAtEnd()], report=lambda row: reported.append(row["epoch"]))
    assert reported == [1, 2]
    assert_same(fit(records, out, resume=True), whole[1])


def test_interrupted_before_the_first_epoch(records, tmp_path):
    with pytest.raises(TrainingInterrupted, match="before the first epoch was finished: nothing is saved"):
        train(records, tmp_path / "run", callbacks=[StopIn(1)])


def test_more_epochs_after_the_end(records, tmp_path):
    out = tmp_path / "run"
    # An average of the weights that has no memory yet in the first of these, and has some in all of them.
    train(records, out, overrides=SMALL | {"ema": 0.9}, epochs=1)
    fit(records, out, resume=True, epochs=10)
    assert [row["epoch"] for row in RunFolder(out).read_history()] == list(range(1, 11))


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({}, 20),  # 27 training pairs in batches of 8 are 4 steps
        ({"batch_size": 60}, 80),
        ({"epochs": 3}, 3),
        ({"overrides": {"min_steps": 80, "epochs": 2}}, 2),
        ({"overrides": {"min_steps": 16}}, 4),
    ],
)
def test_few_pairs_are_passed_over_more_often_unless_passes_are_asked_for(
    records, tmp_path, monkeypatch, options, epochs
):
    class Begun(Exception):
        pass

    def begin(folder, config, records, cache):
        assert config.epochs == epochs
        raise Begun

    monkeypatch.setattr("keras_a2i.training.fit.Trainer", begin)
    monkeypatch.setitem(RECIPES, "tiny", get_recipe("tiny", epochs=4))
    with pytest.raises(Begun):
        given = {"overrides": {"min_steps": 80}, "batch_size": 8} | options
        fit(records, tmp_path / "run", recipe="tiny", **given)


def test_what_can_t_change_when_going_on(whole, records, tmp_path):
    out, _ = whole
    with pytest.raises(UsageError, match=r"must have the batch_size it began with, 8. Received: 4"):
        fit(records, out, resume=True, batch_size=4)
    with pytest.raises(UsageError, match="keeps its recipe"):
        fit(records, out, resume=True, recipe="paper")
    build(tmp_path / "other", ToneSource(n_sources=2))
    with pytest.raises(UsageError, match="must have the records it began with"):
        fit(tmp_path / "other", out, resume=True)
    with pytest.raises(ModelError, match=r"A run folder holds a config.json"):
        fit(records, tmp_path / "nowhere", resume=True)


def test_a_run_isn_t_replaced_unasked(whole, records, tmp_path):
    with pytest.raises(UsageError, match=r"holds a run. Go on with --resume"):
        train(records, whole[0])
    with pytest.raises(UsageError, match="must go into a new or empty folder"):
        train(records, records)
    with pytest.raises(UsageError, match="either goes on or is replaced"):
        fit(records, whole[0], resume=True, overwrite=True)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError, match=r"must go into a folder. Received: the file"):
        train(records, file)
    assert file.read_text() == "mine"


class Worsen(keras.callbacks.Callback):
    """Spoils the weights from an epoch on, so that the best epoch is the one before."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= 2:
            for variable in self.model.trainable_variables:
                variable.assign(variable * 3)


def test_best_weights_and_stopping_early(records, tmp_path):
    out = tmp_path / "run"
    model = train(records, out, epochs=9, best=True, early_stop=2, callbacks=[Worsen()])
    rows = RunFolder(out).read_history()
    best = min(rows, key=lambda row: row["val_loss"])
    assert len(rows) == best["epoch"] + 2 < 9
    val = next(iter(Records(records).dataset("val", 100).as_numpy_iterator()))
    mse = np.mean((model.predict(val[0], verbose=0) - val[1]) ** 2)
    assert best["val_loss"] == pytest.approx(8 * mse, rel=1e-4)


def test_without_held_out_pairs(tmp_path):
    build(tmp_path / "records", split=SplitSpec(kind="block", val_fraction=0))
    train(tmp_path / "records", tmp_path / "run", epochs=1)
    assert "val_loss" not in RunFolder(tmp_path / "run").read_history()[0]
    assert (tmp_path / "run" / "samples" / "epoch_0001.png").is_file()
    with pytest.raises(UsageError, match=r"need held-out pairs. These records have none"):
        train(tmp_path / "records", tmp_path / "other", best=True)


def test_a_loss_that_isn_t_finite_is_said(records, tmp_path):
    overrides = SMALL | {"learning_rate": 10.0, "schedule": "constant", "normalize": False, "layer_norm": False}

    class Poison(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.trainable_variables[0].assign(self.model.trainable_variables[0] * np.nan)

    with pytest.raises(KerasA2IError, match=r"The loss must stay finite. It became nan in epoch 1. Lower the learning"):
        train(records, tmp_path / "run", overrides=overrides, callbacks=[Poison()])


@pytest.mark.parametrize(("precision", "jit"), [("mixed_bfloat16", False), ("float32", True)])
def test_precision_and_jit(records, tmp_path, precision, jit):
    seen = []
    note = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(note.model.jit_compile))
    model = train(records, tmp_path / "run", epochs=1, precision=precision, jit=jit, callbacks=[note])
    assert model.get_layer("encoder_0").dtype_policy.name == precision
    assert seen == [jit]
    assert model.output.dtype == "float32"
    assert keras.mixed_precision.dtype_policy().name == "float32"
    assert np.isfinite(RunFolder(tmp_path / "run").read_history()[0]["loss"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 or more. Received: 0"),
        ({"early_stop": 0}, "early_stop must be 1 epoch or more"),
        ({"precision": "float8"}, "precision must be one of float32"),
        ({"recipe": "sead"}, "Did you mean 'seed'"),
    ],
)
def test_options_out_of_range(records, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        train(records, tmp_path / "run", **options)


def test_a_model_of_sound_is_trained_and_resumed_as_if_never_interrupted(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)

    def keep(epoch, logs):
        if epoch == 2:
            shutil.copytree(tmp_path / "whole", tmp_path / "parts")

    overrides = SMALL | {"input": "waveform", "noise_snr_db": 10.0, "mix_snr_db": 5.0}
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=keep)]
    model = train(records, tmp_path / "whole", overrides=overrides, callbacks=callbacks)
    assert len(RunFolder(tmp_path / "parts").read_history()) == 2
    assert model.input_shape == (None, 16_000)
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert config["recipe"]["augmentation"]["mix_snr_db"] == 5.0 and config["recipe"]["input"] == "waveform"
    loaded, metadata = load_model(tmp_path / "whole" / "model.keras")
    assert metadata.input == "waveform" and loaded.input_shape == (None, 16_000)

    assert_same(fit(records, tmp_path / "parts", resume=True), model)
    still = train(records, tmp_path / "still", overrides=SMALL | {"input": "waveform", "augmentation": {}})
    with pytest.raises(AssertionError):
        assert_same(still, model)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Twelve sounds of two pitches, each with a dark or a bright picture by its pitch."""
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


WORDS = {"encoder_units": (8, 16, 32, 32, 64, 8), "ensemble": 1, "base_channels": 8, "generator_channels": (8,)}


def test_words_learn_labels_with_the_pictures_and_leave_a_model_of_pictures(labelled, tmp_path):
    fit(labelled, tmp_path / "run", recipe="words", overrides=WORDS, epochs=25, batch_size=4)
    rows = RunFolder(tmp_path / "run").read_history()
    assert rows[-1]["labels"] < 0.6 * rows[0]["labels"] and "val_ssim" in rows[0]
    loaded, metadata = load_model(tmp_path / "run" / "model.keras")
    assert metadata.labels == ("high", "low") and metadata.input == "waveform"
    assert len(loaded.outputs) == 1 and loaded.output_shape == (None, 16, 16, 3)
    (sounds, images), *_ = Records(labelled).dataset("val", input="waveform")
    found = loaded.predict(sounds, verbose=0).mean(axis=(1, 2, 3))
    real = images.numpy().mean(axis=(1, 2, 3))
    assert (found[real > 0].min()) > found[real < 0].max()


def test_words_need_labels(labelled, tmp_path):
    rows = ["audio,image", *(f"{i}.wav,{i}.png" for i in range(8))]
    (labelled.parent / "unlabelled.csv").write_text("\n".join(rows))
    features, image = FeatureConfig(sample_rate=8000), ImageConfig(size=16)
    sources = open_sources([labelled.parent / "unlabelled.csv"], features=features, image=image)
    split = SplitSpec(kind="random")
    build_records(sources, tmp_path / "records", features=features, image=image, split=split, workers=1)
    with pytest.raises(UsageError, match=r"learns labels with the pictures: the records must have two or more"):
        fit(tmp_path / "records", tmp_path / "run", recipe="words", overrides=WORDS)
