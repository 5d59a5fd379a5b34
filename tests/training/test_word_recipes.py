"""Recipes of words on small records: labels, styles, alignment, search, resuming; the choice of a recipe."""

import re
import warnings
from typing import NamedTuple

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image
from support.training_runs import CopyRun

from keras_a2i.cli.main import cli
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import KerasA2IError, ModelError, SourceError, UsageError
from keras_a2i.models import DenseEncoder, TransposedGenerator
from keras_a2i.models.model_file import load_model
from keras_a2i.objectives import ImageAutoencoder, Perceptual
from keras_a2i.recipes import get_recipe
from keras_a2i.recipes.default_recipe import choose_recipe
from keras_a2i.records.build import build_records
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.serving.predictor import load
from keras_a2i.serving.search import load_searcher
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.training.fit import fit
from keras_a2i.training.plan import plan_run
from keras_a2i.training.pretrain import read_image_folder, train_autoencoder
from keras_a2i.training.run_folder import RunFolder

FEATURES, IMAGE = FeatureConfig(sample_rate=8000), ImageConfig(size=16, channels=1)
SMALL = {
    "encoder.channels": (4, 8, 8, 16, 16),
    "latent_dim": 8,
    "ensemble": 1,
    "base_channels": 8,
    "generator.channels": (8,),
}
# Where the network doesn't matter: fewer layers take less time to trace.
DENSE = {
    "encoder": DenseEncoder(units=(16, 8), input="waveform"),
    "generator": TransposedGenerator(channels=(8,), base_channels=8),
}

pytestmark = pytest.mark.training


def test_model_of_words_is_trained_by_its_recipe_or_a_warning_tells_that_its_encoder_isnt(records):
    records = Records(records)
    settings = {"encoder.channels": (4, 4, 4, 4, 8), "latent_dim": 4, "ensemble": 1, "generator.channels": (8,)}
    recipe = get_recipe("words-adversarial", **settings)
    model = recipe.build(FEATURES, image_size=16, channels=1, labels=records.labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plan_run(records, model=model, options={}).recipe["name"] == "words-adversarial"
        other = recipe.build(FEATURES, image_size=16, channels=1, labels=("a", "b", "c"))
        other.encoder.trainable = False
        assert plan_run(records, model=other, options={}).recipe["name"] == "scenes"
    with pytest.warns(UserWarning, match="No objective trains the encoder of this model: it classifies first"):
        plan_run(records, model=model, objectives=["mse"], options={})


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Clips of two pitches by four speakers; dark and bright images by their pitch, each of its own brightness."""
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
def extra_images(tmp_path_factory):
    """Images without audio, larger than those of the records, and one that is damaged."""
    folder = tmp_path_factory.mktemp("more")
    for i in range(4):
        Image.fromarray(np.full((40, 30), 60 * i, np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def aligned(records, tones, extra_images):
    seen = []
    fit(
        records,
        tones / "aligned",
        recipe="words-aligned",
        settings=DENSE | {"autoencoder_epochs": 15},
        epochs=15,
        batch_size=8,
        image_folder=extra_images,
        progress=lambda *row: seen.append(row),
    )
    assert seen == [("image autoencoder", epoch, 15) for epoch in range(1, 16)]
    return tones / "aligned"


@pytest.fixture(scope="module")
def styled(records, tones):
    settings = SMALL | {"autoencoder_epochs": 2, "style_units": 2, "variational": 0.5, "perceptual": 0.1}
    settings |= {"adversarial": 0, "beta_1": 0.9}
    fit(records, tones / "styled", recipe="words-adversarial", settings=settings, epochs=15, batch_size=8)
    return tones / "styled"


class Result(NamedTuple):
    exit_code: int
    output: str


def run(*arguments):
    """Returns the exit status and the output, with the sentence of an error."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    said = str(result.exception) if isinstance(result.exception, KerasA2IError) else ""
    return Result(result.exit_code, result.output + said)


def test_choose_recipe_by_the_records(tones, records, tmp_path, monkeypatch):
    assert choose_recipe(Records(records)) == (
        "words-exemplars",
        "a source has clips of several labels, few enough to keep images of each",
    )
    with monkeypatch.context() as patch:
        patch.setattr("keras_a2i.recipes.default_recipe.MANY_LABELS", 1)
        assert choose_recipe(Records(records)) == (
            "words-adversarial",
            "a source has clips of several labels, of 2 in all",
        )
    one_label = ["audio,image,label,source", *(f"{i}.wav,{i}.png,l{i // 12},s{i // 12}" for i in range(48))]
    (tones / "scenes.csv").write_text("\n".join(one_label))
    scenes = build(tones, tmp_path / "scenes", "scenes.csv")
    assert choose_recipe(Records(scenes))[0] == "exemplars"
    # Shores are labelled day and night, several labels to a recording: moments of longer recordings aren't words.
    shores = tmp_path / "shores"
    build_records(
        open_sources(["synthetic:surf:48"], features=FEATURES, image=IMAGE), shores, features=FEATURES, image=IMAGE
    )
    assert any(len(labels) > 1 for labels in Records(shores).labels_per_source.values())
    name, reason = choose_recipe(Records(shores))
    assert name == "exemplars" and reason.startswith("the records hold moments of longer recordings")
    monkeypatch.setattr("keras_a2i.recipes.default_recipe.MANY", 36)
    assert choose_recipe(Records(scenes))[0] == "scenes-many"
    some = ["audio,image,label,source", *(f"{i}.wav,{i}.png,{'' if i < 3 else i % 2},s{i // 12}" for i in range(48))]
    (tones / "some.csv").write_text("\n".join(some))
    partly = Records(build(tones, tmp_path / "partly", "some.csv"))
    assert choose_recipe(partly) == (
        "scenes-many",
        "the records hold clips of which 3 have no label, 36 for training",
    )
    with pytest.raises(UsageError, match=r"every pair must have one. Received: 3 pairs without a label. Label these"):
        fit(partly, tmp_path / "run", recipe="words-adversarial", settings=SMALL)
    silent = Records(build(tones, tmp_path / "silent", waveform=False))
    assert choose_recipe(silent) == ("features", "the records hold no audio")


def test_search_finds_images_for_audio_and_audio_for_images(aligned, tones):
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


def test_search_command(aligned, tones, tmp_path):
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
def test_search_command_wrong_use_raises(arguments, message, aligned, styled, tones):
    found = run("search", *(a.format(aligned=aligned, styled=styled, tones=tones) for a in arguments))
    assert found.exit_code in (1, 2) and message in " ".join(found.output.split())


def test_search_without_readable_files_raises(aligned, tmp_path, tones):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"a file that can be read. Received: 1 files"):
        load_searcher(aligned).find_images(tones / "1.wav", [tmp_path / "broken.png"])
    (tmp_path / "image_encoder.keras").write_bytes(b"nothing")
    (tmp_path / "model.keras").write_bytes((aligned / "model.keras").read_bytes())
    with pytest.raises(ModelError, match="can't be loaded as a Keras model"):
        load_searcher(tmp_path)


def test_words_recipe_classifies_and_saves_a_model_of_images(styled, records):
    rows = RunFolder(styled).read_history()
    assert rows[-1]["labels_loss"] < 0.6 * rows[0]["labels_loss"] and "val_ssim" in rows[0]
    loaded, metadata = load_model(styled / "model.keras")
    assert metadata.labels == ("high", "low") and metadata.input == "waveform"
    assert len(loaded.outputs) == 1 and loaded.output_shape == (None, 16, 16, 1)
    val = Records(records).decoded("val", "waveform")
    found = loaded.predict(val.inputs, verbose=0).mean(axis=(1, 2, 3))
    real = val.images.mean(axis=(1, 2, 3)) - 127.5
    assert (found[real > 0].min()) > found[real < 0].max()


def test_words_recipe_without_labels_raises(tones, tmp_path):
    (tones / "unlabelled.csv").write_text("\n".join(["audio,image", *(f"{i}.wav,{i}.png" for i in range(8))]))
    records = build(tones, tmp_path / "records", "unlabelled.csv", SplitSpec(kind="random"))
    with pytest.raises(UsageError, match=r"classifies labels: the records must have two or more"):
        fit(records, tmp_path / "run", recipe="words-adversarial", settings=SMALL)


def test_samples_differ_and_keep_their_label(styled, records):
    predictor = load(styled)
    val = Records(records).decoded("val", "waveform")
    drawn = predictor.sample(val.inputs, 4, seed=1)
    assert drawn.shape == (12, 4, 16, 16, 1)
    np.testing.assert_array_equal(drawn, predictor.sample(val.inputs, 4, seed=1))
    assert np.abs(drawn[:, 0] - drawn[:, 1]).mean() > 0.01
    usual = predictor.predict_inputs(val.inputs)
    np.testing.assert_allclose(predictor.sample(val.inputs, 2, temperature=0)[:, 1], usual, atol=1e-6)
    wider = predictor.sample(val.inputs, 4, temperature=2, seed=1)
    assert wider.std(axis=1).mean() > drawn.std(axis=1).mean()
    bright = val.images.mean(axis=(1, 2, 3)) > 127.5
    means = drawn.mean(axis=(2, 3, 4))
    assert means[bright].mean() > means[~bright].mean() + 0.2


def test_generate_command_with_samples(styled, aligned, tones, tmp_path):
    found = run("generate", styled, tones / "1.wav", "--out", tmp_path, "--samples", "3", "--temperature", "1.5")
    assert found.exit_code == 0, found.output
    assert "3 images" in found.output
    assert sorted(p.name for p in (tmp_path / "1").glob("*.png")) == ["0000-1.png", "0000-2.png", "0000-3.png"]
    assert (tmp_path / "1.png").is_file()
    again = run("generate", styled, tones / "1.wav", "--out", tmp_path, "--samples", "2", "--overwrite")
    assert again.exit_code == 0 and len(list((tmp_path / "1").glob("*.png"))) == 2
    for arguments, message in (
        ([aligned, "--samples", "2"], "samples need a model with a style"),
        ([styled, "--temperature", "1"], "--temperature must be left out without --samples"),
        ([styled, "--video", "--samples", "2"], "--samples must be left out with --video"),
    ):
        model, *options = arguments
        refused = run("generate", model, tones / "2.wav", "--out", tmp_path / "other", *options)
        assert refused.exit_code != 0 and message in " ".join(refused.output.split())


def test_resume_with_image_autoencoder_equals_uninterrupted_run(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)
    copy = CopyRun(tmp_path / "whole", tmp_path / "parts", 1)
    settings = DENSE | {"label_sharpness": 4.0, "autoencoder_epochs": 2, "style_units": 2}
    options = {"recipe": "words-adversarial", "settings": settings}
    whole = fit(records, tmp_path / "whole", **options, epochs=2, batch_size=8, callbacks=[copy])
    assert len(RunFolder(tmp_path / "parts").read_history()) == 1
    parts = fit(records, tmp_path / "parts", resume=True)
    history = RunFolder(tmp_path / "parts").read_history()[0]
    assert {"mse_loss", "labels_loss", "variational_loss", "adversarial_loss", "perceptual_loss", "val_ssim"} <= set(
        history
    )
    for a, b in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_image_folder_is_read_like_the_images_of_records(records, extra_images, tmp_path):
    found = read_image_folder(extra_images, IMAGE)
    assert found.shape == (4, 16, 16, 1) and found.mean(axis=(1, 2, 3)).tolist() == [0, 60, 120, 180]
    options = {"recipe": "words-aligned", "settings": SMALL, "epochs": 1, "batch_size": 8}
    with pytest.raises(SourceError, match="image_folder must be a folder"):
        fit(records, tmp_path / "none", image_folder=tmp_path / "nowhere", **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"image_folder must hold PNG or JPEG images. Received: .*with 0"):
        fit(records, tmp_path / "none", image_folder=tmp_path / "empty", **options)
    with pytest.raises(UsageError, match="image_folder requires a recipe with an image autoencoder"):
        fit(records, tmp_path / "none", recipe="words-exemplars", image_folder=extra_images)


def test_image_encoder_is_trained_first_and_frozen_afterwards():
    keras.utils.set_random_seed(0)
    generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(256), keras.layers.Reshape((16, 16, 1))])
    autoencoder = ImageAutoencoder(generator, n_labels=2, batch_size=4)
    objective = Perceptual(1.0)
    objective.attach(keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), *generator.layers]), autoencoder)
    before = [weights.copy() for weights in autoencoder.encoder.get_weights()]
    images = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 1)).astype(np.float32)
    pairs = tf.data.Dataset.from_tensor_slices((images, (images, np.arange(8) % 2))).batch(4)
    train_autoencoder(autoencoder, pairs, 8, None, epochs=2, batch_size=4, learning_rate=1e-3)
    after = autoencoder.encoder.get_weights()
    assert all(np.abs(a - b).max() > 1e-5 for a, b in zip(before, after, strict=True))
    assert not objective.trainable_variables and generator.trainable_variables
