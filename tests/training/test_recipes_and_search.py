"""Recipes at work on small records: which one is chosen, styles that are drawn, pictures and sounds that are found."""

import dataclasses
import re
import shutil
from typing import NamedTuple

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from keras_a2i.cli.main import cli
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import KerasA2IError, ModelError, UsageError
from keras_a2i.models.objective_weights import ObjectiveWeights
from keras_a2i.models.recipes import RECIPES, get_recipe
from keras_a2i.objectives import ImageAutoencoder, Perceptual
from keras_a2i.records.build import build_records
from keras_a2i.records.dataset import load_records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.serving.predictor import load
from keras_a2i.serving.search import load_searcher
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.training.default_recipe import choose_recipe
from keras_a2i.training.fit import fit
from keras_a2i.training.pretrain import read_extra_images, train_autoencoder
from keras_a2i.training.run_folder import RunFolder

FEATURES, IMAGE = FeatureConfig(sample_rate=8000), ImageConfig(size=16, channels=1)
SMALL = {"encoder_units": (8, 8, 16, 16, 32, 8), "ensemble": 2, "base_channels": 8, "generator_channels": (8,)}


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Sounds of two pitches by four speakers; dark and bright pictures by their pitch, each of its own brightness."""
    path = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    rows = ["audio,image,label,source"]
    for i in range(48):
        tone = 0.3 * np.sin(2 * np.pi * (400 if i % 2 else 1500) * np.arange(8000) / 8000) * np.hanning(8000)
        soundfile.write(path / f"{i}.wav", tone + 0.001 * rng.standard_normal(8000), 8000)
        Image.fromarray(np.full((16, 16), (20 if i % 2 else 200) + i, np.uint8)).save(path / f"{i}.png")
        rows.append(f"{i}.wav,{i}.png,{'low' if i % 2 else 'high'},s{i // 12}")
    (path / "pairs.csv").write_text("\n".join(rows))
    return path


def build(tones, out, csv="pairs.csv", split=None, **options):
    sources = open_sources([tones / csv], features=FEATURES, image=IMAGE)
    split = split or SplitSpec(kind="source", holdout=("s3",))
    build_records(sources, out, features=FEATURES, image=IMAGE, split=split, workers=1, **options)
    return out


@pytest.fixture(scope="module")
def records(tones):
    return build(tones, tones / "records")


@pytest.fixture(scope="module")
def more_pictures(tmp_path_factory):
    """Pictures without sound, larger than those of the records, and one that is broken."""
    folder = tmp_path_factory.mktemp("more")
    for i in range(4):
        Image.fromarray(np.full((40, 30), 60 * i, np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def aligned(records, tones, more_pictures):
    seen = []
    fit(
        records,
        tones / "aligned",
        recipe="words-aligned",
        overrides=SMALL | {"autoencoder_epochs": 15},
        epochs=15,
        batch_size=8,
        pictures=more_pictures,
        report_autoencoder=lambda *row: seen.append(row),
    )
    assert [row[:2] for row in seen] == [(epoch, 15) for epoch in range(1, 16)] and seen[-1][2] < seen[0][2]
    return tones / "aligned"


@pytest.fixture(scope="module")
def styled(records, tones):
    overrides = SMALL | {"autoencoder_epochs": 2, "style_units": 2, "variational": 0.5, "consistency": 0.1}
    fit(records, tones / "styled", recipe="words-variational", overrides=overrides, epochs=15, batch_size=8)
    return tones / "styled"


class Said(NamedTuple):
    exit_code: int
    output: str


def run(*arguments):
    """The exit status and all that was said, an error's sentence too."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    said = str(result.exception) if isinstance(result.exception, KerasA2IError) else ""
    return Said(result.exit_code, result.output + said)


def test_the_preset_is_chosen_by_the_records(tones, records, tmp_path, monkeypatch):
    assert choose_recipe(records) == "words-adversarial"
    one_label = ["audio,image,label,source", *(f"{i}.wav,{i}.png,l{i // 12},s{i // 12}" for i in range(48))]
    (tones / "scenes.csv").write_text("\n".join(one_label))
    scenes = build(tones, tmp_path / "scenes", "scenes.csv")
    assert choose_recipe(scenes) == "scenes"
    monkeypatch.setattr("keras_a2i.training.default_recipe.MANY", 36)
    assert choose_recipe(scenes) == "scenes-many"
    assert choose_recipe(build(tones, tmp_path / "silent", waveform=False)) == "features"


def test_sounds_find_pictures_and_pictures_find_sounds(aligned, tones):
    searcher = load_searcher(aligned)
    pictures, sounds = ([tones / f"{i}.{kind}" for i in range(36, 48)] for kind in ("png", "wav"))
    for query in (36, 37):
        result = searcher.find_images(tones / f"{query}.wav", pictures)
        matches = result.matches
        assert not result.skipped and [int(m.path.stem) % 2 for m in matches[:6]] == [query % 2] * 6
        assert matches[0].similarity >= matches[-1].similarity + 0.1
        matches = searcher.find_audio(tones / f"{query}.png", sounds).matches
        assert [int(m.path.stem) % 2 for m in matches[:6]] == [query % 2] * 6
    vectors = searcher.embed_images(np.zeros((3, 16, 16, 1), np.float32))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_search_on_the_command_line(aligned, tones, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    found = run("search", aligned, tones / "36.wav", tones, tmp_path, "--top", "3", "--sheet", tmp_path / "sheet.png")
    assert found.exit_code == 0, found.output
    assert len(re.findall(r"^ *\d\.\d{3}  .*\.png$", found.output, re.M)) == 3
    assert "skipped: " in found.output and "broken.png" in found.output
    assert Image.open(tmp_path / "sheet.png").width > 3 * 100
    found = run("search", aligned, tones / "36.png", tones / "37.wav", tones / "38.wav")
    assert found.exit_code == 0 and "at 0 s" in found.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{aligned}", "{tones}/pairs.csv", "{tones}"], "query must be a .wav"),
        (["{aligned}", "{tones}/none.wav", "{tones}"], "which doesn't exist"),
        (
            ["{aligned}", "{tones}/1.png", "{tones}", "--sheet", "x.png"],
            "sheet must be left out where the query is an image",
        ),
        (["{aligned}", "{tones}/1.wav", "{tones}/pairs.csv"], "to search through. Received: none"),
        (["{styled}", "{tones}/1.wav", "{tones}/1.png"], "whose training aligned audio and images"),
        (["no_run", "{tones}/1.wav", "{tones}/1.png"], "Received: no_run, which doesn't exist"),
    ],
)
def test_searches_that_cannot_be_are_refused(arguments, message, aligned, styled, tones):
    found = run("search", *(a.format(aligned=aligned, styled=styled, tones=tones) for a in arguments))
    assert found.exit_code in (1, 2) and message in " ".join(found.output.split())


def test_nothing_that_can_be_read_is_said(aligned, tmp_path, tones):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"a file that can be read. Received: 1 files"):
        load_searcher(aligned).find_images(tones / "1.wav", [tmp_path / "broken.png"])
    (tmp_path / "image_encoder.keras").write_bytes(b"nothing")
    (tmp_path / "model.keras").write_bytes((aligned / "model.keras").read_bytes())
    with pytest.raises(ModelError, match="can't be loaded as a Keras model"):
        load_searcher(tmp_path)


def test_samples_differ_and_stay_with_their_label(styled, records):
    predictor = load(styled)
    (sounds, images), *_ = load_records(records, "val", features="waveform")
    drawn = predictor.sample(sounds.numpy(), 4, seed=1)
    assert drawn.shape == (12, 4, 16, 16, 1)
    np.testing.assert_array_equal(drawn, predictor.sample(sounds.numpy(), 4, seed=1))
    assert np.abs(drawn[:, 0] - drawn[:, 1]).mean() > 0.01
    usual = predictor.predict_inputs(sounds.numpy())
    np.testing.assert_allclose(predictor.sample(sounds.numpy(), 2, temperature=0)[:, 1], usual, atol=1e-6)
    wider = predictor.sample(sounds.numpy(), 4, temperature=2, seed=1)
    assert wider.std(axis=1).mean() > drawn.std(axis=1).mean()
    bright = images.numpy().mean(axis=(1, 2, 3)) > 0
    means = drawn.mean(axis=(2, 3, 4))
    assert means[bright].mean() > means[~bright].mean() + 0.2


def test_samples_on_the_command_line(styled, aligned, tones, tmp_path):
    found = run("generate", styled, tones / "1.wav", "--out", tmp_path, "--samples", "3", "--temperature", "1.5")
    assert found.exit_code == 0, found.output
    assert "3 images" in found.output
    assert sorted(p.name for p in (tmp_path / "1").iterdir()) == ["0000-1.png", "0000-2.png", "0000-3.png"]
    assert (tmp_path / "1.png").is_file()
    again = run("generate", styled, tones / "1.wav", "--out", tmp_path, "--samples", "2", "--overwrite")
    assert again.exit_code == 0 and len(list((tmp_path / "1").iterdir())) == 2
    for arguments, message in (
        ([aligned, "--samples", "2"], "samples need a model with a style"),
        ([styled, "--temperature", "1"], "--temperature must be left out without --samples"),
        ([styled, "--video", "--samples", "2"], "--samples must be left out with --video"),
    ):
        model, *options = arguments
        refused = run("generate", model, tones / "2.wav", "--out", tmp_path / "other", *options)
        assert refused.exit_code != 0 and message in " ".join(refused.output.split())


def test_a_training_with_a_picture_autoencoder_goes_on_as_if_it_had_not_stopped(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)

    def keep(epoch, logs):
        if epoch == 1:
            shutil.copytree(tmp_path / "whole", tmp_path / "parts")

    overrides = SMALL | {"autoencoder_epochs": 2, "style_units": 2}
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=keep)]
    whole = fit(records, tmp_path / "whole", overrides=overrides, epochs=2, batch_size=8, callbacks=callbacks)
    assert len(RunFolder(tmp_path / "parts").read_history()) == 1
    parts = fit(records, tmp_path / "parts", resume=True)
    assert RunFolder(tmp_path / "parts").read_config().recipe["name"] == "words-adversarial"
    history = RunFolder(tmp_path / "parts").read_history()[0]
    assert {"mse", "labels", "variational", "adversarial", "consistency", "val_ssim"} <= set(history)
    for a, b in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_pictures_without_sound_are_read_as_those_of_the_records(records, more_pictures, tmp_path):
    found = read_extra_images(more_pictures, IMAGE)
    assert found.shape == (4, 16, 16, 1) and found.mean(axis=(1, 2, 3)).tolist() == [0, 60, 120, 180]
    options = {"recipe": "words-aligned", "overrides": SMALL, "epochs": 1, "batch_size": 8}
    with pytest.raises(UsageError, match="must lie in a folder"):
        fit(records, tmp_path / "none", pictures=tmp_path / "nowhere", **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"must hold PNG or JPEG pictures. Received: 0"):
        fit(records, tmp_path / "none", pictures=tmp_path / "empty", **options)
    with pytest.raises(UsageError, match="for recipes with a picture autoencoder"):
        fit(records, tmp_path / "none", recipe="words", pictures=more_pictures)


def test_what_looks_at_pictures_learns_first_and_is_held_still_after():
    keras.utils.set_random_seed(0)
    generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(256), keras.layers.Reshape((16, 16, 1))])
    autoencoder = ImageAutoencoder(generator, n_labels=2, batch_size=4)
    objective = Perceptual(1.0, autoencoder)
    before = [weights.copy() for weights in autoencoder.encoder.get_weights()]
    images = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 1)).astype(np.float32)
    pairs = tf.data.Dataset.from_tensor_slices((images, (images, np.arange(8) % 2))).batch(4)
    train_autoencoder(autoencoder, pairs, 8, None, epochs=2, batch_size=4, learning_rate=1e-3)
    after = autoencoder.encoder.get_weights()
    assert all(np.abs(a - b).max() > 1e-5 for a, b in zip(before, after, strict=True))
    assert not objective.trainable_variables and generator.trainable_variables


def test_neighbours_come_one_after_the_other(tones, tmp_path):
    rows = ["audio,image,source,time", *(f"{i}.wav,{i}.png,s{i // 12},{i % 12}" for i in range(24))]
    (tones / "times.csv").write_text("\n".join(rows))
    folder = build(tones, tmp_path / "records", "times.csv", SplitSpec(kind="block", val_fraction=0.0))
    batches = list(load_records(folder, batch_size=8, neighbours=True).as_numpy_iterator())
    shades = np.rint((np.concatenate([y for _, y in batches]).mean(axis=(1, 2, 3)) + 1) * 127.5).astype(int)
    numbers = np.where(shades < 128, shades - 20, shades - 200)
    assert len(numbers) == 24
    firsts, seconds = numbers[0::2], numbers[1::2]
    expected = np.where(firsts % 12 == 11, firsts - 1, firsts + 1)
    np.testing.assert_array_equal(seconds, expected)
    assert len(set(firsts)) == 12
    with pytest.raises(UsageError, match="batches of even size"):
        load_records(folder, batch_size=7, neighbours=True)
    with pytest.raises(UsageError, match="Received: neighbours with cache=False"):
        load_records(folder, batch_size=8, cache=False, neighbours=True)


def test_presets_are_listed_and_shown():
    found = run("recipes")
    assert found.exit_code == 0 and all(name in found.output for name in RECIPES)
    assert "mse x 2, ssim, spectrum x 3" in found.output
    shown = run("recipes", "words")
    assert re.search(r"^encoder_units +24,48,96,96,128,64$", shown.output, re.M)
    assert re.search(r"^shuffle_within_label +true$", shown.output, re.M)
    refused = run("recipes", "word")
    assert refused.exit_code and "Did you mean 'words'?" in refused.output


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"variational": 1.0}, "style_units of a recipe must be above 0 for the objective variational"),
        ({"alignment": 1.0}, "autoencoder_epochs of a recipe must be above 0 for the objectives alignment"),
        ({"temporal": 1.0}, "shuffle_within_label of a recipe must be false for the objective temporal"),
        ({"mse": 0.0}, "A training must aim at pictures"),
        ({"ssim": -1.0}, "The objective ssim must be a number from 0"),
        ({"adversarial_start": 1.0}, "adversarial_start must be below 1"),
        ({"generator": "paint"}, "generator of a recipe must be one of"),
        ({"ensemble": 0}, "ensemble of a recipe must be a whole number from 1"),
        ({"encoder": "scenes"}, "ensemble of a recipe must be 1 for encoders other than 'words'"),
        ({"encoder_units": (8, 8)}, "encoder_units of a recipe must be 6 numbers for the encoder 'words'"),
        ({"labels": 0.0, "label_sharpness": 4.0}, "label_sharpness of a recipe must be 0 without the objective labels"),
        ({"label_sharpness": -1.0}, "label_sharpness of a recipe must be a number from 0"),
        ({"style_units": -1}, "style_units of a recipe must be a whole number from 0"),
        ({"ema": 1.0}, r"ema of a recipe must lie in \[0, 1\)"),
    ],
)
def test_presets_that_cannot_be_trained_are_refused(overrides, message):
    with pytest.raises(UsageError, match=message):
        get_recipe("words", **overrides)


def test_weights_travel_as_dictionaries():
    weights = ObjectiveWeights(labels=2.0)
    assert ObjectiveWeights.from_dict(dataclasses.asdict(weights)) == weights
    with pytest.raises(UsageError, match=r"Received: \['label'\]"):
        ObjectiveWeights.from_dict({"label": 1.0})
