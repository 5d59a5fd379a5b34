"""Runs of the recipe audio-token: training, resuming, drawing, and what other commands answer."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image
from support.tone_source import build
from support.vector_files import FEATURES, IMAGE

import keras_a2i as a2i
from keras_a2i.cli import fit_audio_token as fit_command
from keras_a2i.cli import generate as generate_command
from keras_a2i.errors import ModelError, UsageError
from keras_a2i.evaluation.run_overview import run_overview
from keras_a2i.models import AudioToken
from keras_a2i.models.model_file import metadata_of, read_model
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.embeddings_npz import EmbeddingsNpzSource
from keras_a2i.training.fit_audio_token import fit_audio_token

pytestmark = pytest.mark.diffusion
WAVEFORMS = (0.1 * np.random.default_rng(0).standard_normal((5, 16_000))).astype(np.float32)


def test_run_folder_holds_the_embedder_history_and_sheets(run, preset):
    config = json.loads((run.folder / "config.json").read_text())
    assert config["finished"] and config["recipe"]["name"] == "audio-token" and config["epochs"] == 2
    assert config["recipe"]["preset"] == str(preset) and config["recipe"]["prompt"] == "a photo of *"
    assert config["n_parameters"] == sum(w.numpy().size for w in run.model.embedder.trainable_weights)
    columns = (run.folder / "history.csv").read_text().splitlines()[0]
    assert columns == "epoch,seconds,loss,val_loss,learning_rate"
    assert Image.open(run.folder / "samples" / "epoch_0002.png").height > 2 * 128
    # The model of the preset isn't copied, neither there nor into the state.
    with np.load(run.folder / "state" / "variables.npz") as state:
        embedder = run.model.embedder
        assert len(state) - 1 == len(embedder.variables) + 2 + 2 * len(embedder.trainable_variables)
    assert "audio-token on records" in run_overview([run.folder]).render_text()


def test_images_have_the_size_of_the_records_and_depend_on_seed_steps_and_audio(run):
    images = run.model.generate(WAVEFORMS, steps=2, seed=3)
    assert (images.shape, images.dtype) == ((5, 16, 16, 3), np.float32)
    assert np.isfinite(images).all() and np.abs(images).max() <= 1
    np.testing.assert_array_equal(images, run.model.generate(WAVEFORMS, steps=2, seed=3))
    np.testing.assert_allclose(images[4:], run.model.generate(WAVEFORMS[4:], steps=2, seed=3), atol=1e-5)
    for others in ({"seed": 4}, {"steps": 3}, {"guidance_scale": 1.0}):
        assert np.abs(images - run.model.generate(WAVEFORMS, **({"steps": 2, "seed": 3} | others))).max() > 1e-4
    assert np.abs(images[0] - images[1]).max() > 1e-6
    samples = run.model.sample(WAVEFORMS[:1], 2, steps=2, seed=3)
    np.testing.assert_allclose(samples[0, 0], images[0], atol=1e-5)
    assert samples.shape == (1, 2, 16, 16, 3) and np.abs(samples[0, 1] - images[0]).max() > 1e-3


def test_loaded_run_draws_the_same_images(run, tmp_path):
    expected = run.model.generate(WAVEFORMS[:2], steps=2, guidance_scale=3.0, seed=1)
    np.testing.assert_allclose(
        AudioToken.from_preset(run.folder).generate(WAVEFORMS[:2], steps=2, guidance_scale=3.0, seed=1),
        expected,
        atol=1e-5,
    )
    predictor = a2i.load(run.folder, steps=2, guidance_scale=3.0, seed=1)
    np.testing.assert_allclose(predictor.predict_inputs(WAVEFORMS[:2]), expected, atol=1e-5)
    samples = predictor.sample(WAVEFORMS[:2], 2, seed=1)
    np.testing.assert_allclose(samples[:, 0], expected, atol=1e-5)
    assert predictor.can_sample and not predictor.can_encode and samples.shape == (2, 2, 16, 16, 3)


def test_commands_resume_and_generate_as_an_uninterrupted_run(run, records, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(run.killed, out)
    arguments = [str(records), "--out", str(out), "--resume"]
    result = CliRunner().invoke(fit_command.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and "model.keras: trained in" in result.stdout
    assert "recipe audio-token" in result.stderr and "resumed at epoch 2" in result.stderr
    resumed = read_model(out / "model.keras")
    for x, y in zip(resumed.weights, run.model.embedder.weights, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())
    soundfile.write(tmp_path / "a.wav", WAVEFORMS[:2].reshape(-1), 16_000)
    arguments = [str(out), str(tmp_path / "a.wav"), "--out", str(tmp_path / "images"), "--steps", "2"]
    for options, names in (
        (["--seed", "7"], ["0000.png", "0001.png"]),
        (["--samples", "2", "--overwrite"], ["0000-1.png", "0000-2.png", "0001-1.png", "0001-2.png"]),
    ):
        result = CliRunner().invoke(generate_command.command, [*arguments, *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        folder = tmp_path / "images" / "a"
        assert sorted(path.name for path in folder.glob("*.png")) == names
        assert Image.open(folder / names[0]).size == (16, 16) and (tmp_path / "images" / "a.png").exists()
    with pytest.raises(UsageError, match=r"--guide must be left out for a run of fit-audio-token"):
        CliRunner().invoke(generate_command.command, [*arguments, "--guide", "3"], catch_exceptions=False)


def test_what_defines_a_run_cannot_change_when_it_is_resumed(run, records):
    with pytest.raises(UsageError, match=r"prompt of a resumed run must stay 'a photo of \*'. Received: prompt='a \*'"):
        fit_audio_token(records, run.folder, resume=True, prompt="a *")
    with pytest.raises(UsageError, match=r"is resumed by fit_audio_token .* recipe 'audio-token'"):
        a2i.fit(records, run.folder, resume=True, epochs=9)
    with pytest.raises(UsageError, match=r"is resumed by fit_audio_token .* recipe 'audio-token'"):
        a2i.fit_image_to_audio(records, run.folder, resume=True)


def test_moved_preset_is_named_and_replaced_by_its_new_place(run, preset, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    moved = shutil.copytree(preset, tmp_path / "moved")
    model = tmp_path / "run" / "model.keras"
    embedder = AudioToken.from_preset(run.folder).embedder
    config = embedder.get_config()
    config["diffusion"] |= {"preset": str(tmp_path / "gone")}
    lost = type(embedder).from_config(config)
    lost.set_weights(embedder.get_weights())
    model.unlink()
    lost.save(model)
    with pytest.raises(ModelError, match=r"preset must be .*gone.* run .* was trained with it; .*diffusion=\.\.\."):
        AudioToken.from_preset(model)
    again = AudioToken.from_preset(model, diffusion=moved)
    expected = run.model.generate(WAVEFORMS[:1], steps=2)
    np.testing.assert_allclose(again.generate(WAVEFORMS[:1], steps=2), expected, atol=1e-5)


def test_text_encoders_of_other_sizes_are_refused(run, monkeypatch):
    monkeypatch.setattr(run.model.diffusion, "token_dims", (8, 8))
    with pytest.raises(ModelError, match=r"word embeddings of \(16, 24\) numbers.* Received: \(8, 8\)"):
        AudioToken(run.model.embedder, run.model.diffusion)


def test_vectors_of_another_model_train_with_frames(preset, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32)
    images = np.random.default_rng(1).integers(0, 255, (8, 16, 16, 3)).astype(np.uint8)
    np.savez(tmp_path / "v.npz", embeddings=vectors, images=images, sources=np.array(list("aabbccdd")))
    source = EmbeddingsNpzSource(tmp_path / "v.npz", features=FEATURES, image=IMAGE)
    build(tmp_path / "records", source, split=SplitSpec(kind="source", holdout=("d",)))
    options = {"preset": preset, "backbone_dtype": "float32", "epochs": 1, "verbose": 0}
    model = fit_audio_token(tmp_path / "records", tmp_path / "run", frames=3, **options)
    assert model.embedder.get_layer("frames").output.shape == (None, 3, 4)
    assert model.generate(vectors, steps=1).shape == (8, 16, 16, 3)
    with pytest.raises(UsageError, match=r"frames must divide the length of an embedding.* Received: frames=5"):
        fit_audio_token(tmp_path / "records", tmp_path / "run2", frames=5, **options)


def test_export_and_other_commands_say_why_they_refuse(run, tmp_path):
    for call in (
        lambda: a2i.export(run.folder, tmp_path / "model.tflite"),
        lambda: a2i.export(run.folder, tmp_path / "page", format="web"),
        lambda: a2i.AudioToImage.from_preset(run.folder),
        lambda: metadata_of(run.model.embedder),
    ):
        with pytest.raises(
            UsageError, match=r"must contain the network .* several gigabytes. No exported file could hold"
        ):
            call()
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"temperature 1 for a model that generates from noise"):
        a2i.load(run.folder).sample(WAVEFORMS, 2, temperature=0.5)
    with pytest.raises(UsageError, match=r"steps must be 1 to 1000.* Received: steps=0"):
        a2i.load(run.folder, steps=0)


def test_evaluate_scores_a_run_with_the_steps_of_its_predictor(run, records, untrained):
    report = a2i.evaluate(a2i.load(run.folder, steps=1), records, samples=2)
    assert report.n_pairs == 3
    assert report.measure("variety").value > 0
