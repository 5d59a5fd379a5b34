"""Images of audio files in folders: names, sheets, samples, and what is never mixed or lost."""

import re

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image
from support.loudness_model import Loudness

import keras_a2i as a2i
from keras_a2i.cli.main import cli
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.conversion import to_uint8
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.models.shipped import shipped_models
from keras_a2i.serving import images as images_module
from keras_a2i.serving.images import generate_images
from keras_a2i.serving.model_inputs import count_inputs
from keras_a2i.serving.predictor import Predictor
from keras_a2i.serving.staged_folder import LIST_FILE, StagedFolder


@pytest.fixture
def audio(tmp_path):
    """Half a second of rising noise, ten clips of the stand-in model."""
    samples = np.random.default_rng(0).uniform(-1, 1, 8_000) * np.linspace(0, 1, 8_000)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    return tmp_path / "a.wav"


def read(path):
    return np.asarray(Image.open(path))


def test_generate_images_writes_what_predict_returns_and_a_sheet(audio, tmp_path):
    calls = []
    paths = generate_images(Loudness(), audio, tmp_path / "new" / "a", progress=lambda *args: calls.append(args))
    assert [path.name for path in paths] == [f"{i:04d}.png" for i in range(10)]
    np.testing.assert_array_equal([read(path) for path in paths], to_uint8(Loudness().predict(audio)))
    assert read(tmp_path / "new" / "a.png").shape[1] > 8 * 128 and calls == [(10, 10)]
    samples, rate = soundfile.read(audio)
    again = generate_images(Loudness(), samples, tmp_path / "b", sample_rate=rate, sheet=False)
    np.testing.assert_array_equal([read(path) for path in again], [read(path) for path in paths])
    assert not (tmp_path / "b.png").exists()


def test_generate_images_replaces_an_earlier_call_only_when_asked(audio, tmp_path):
    folder = tmp_path / "a"
    generate_images(Loudness(), audio, folder)
    (folder / "mine.png").write_bytes(b"mine")
    (folder / "0099.png").write_bytes(b"mine too")
    with pytest.raises(
        UsageError, match=r"folder must not hold files of an earlier call. Received: .*a with 10 of them"
    ):
        generate_images(Loudness(), audio, folder)
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    with pytest.raises(SourceError, match=r"broken.wav can't be read"):
        generate_images(Loudness(), tmp_path / "broken.wav", folder, overwrite=True)
    assert len(list(folder.glob("*.png"))) == 12, "What can't be replaced stays."
    samples, rate = soundfile.read(audio)
    generate_images(Loudness(), samples[: len(samples) // 2], folder, sample_rate=rate, overwrite=True)
    names = sorted(path.name for path in folder.glob("*.png"))
    assert names == [*(f"{k:04d}.png" for k in range(len(names) - 2)), "0099.png", "mine.png"] and len(names) < 12
    assert (folder / "0099.png").read_bytes() == b"mine too"
    # With more clips than before, a file of another origin is in the way.
    (folder / f"{len(names) - 2:04d}.png").write_bytes(b"mine, too")
    with pytest.raises(UsageError, match=r"Only files that an earlier call wrote are replaced. Received: .*png, which"):
        generate_images(Loudness(), audio, folder, overwrite=True)
    assert sorted(path.name for path in folder.glob("*.png"))[-2:] == ["0099.png", "mine.png"]
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "b.png").write_bytes(b"a picture of mine")
    with pytest.raises(UsageError, match=r"b\.png, which is another one"):
        generate_images(Loudness(), audio, tmp_path / "b", overwrite=True)
    assert not (tmp_path / "b").exists()
    with pytest.raises(UsageError, match=r"folder must be a folder. Received: the file"):
        generate_images(Loudness(), audio, audio)


def test_generate_images_with_samples_numbers_them(audio, tmp_path):
    metadata = ModelMetadata(
        features=FeatureConfig(duration=0.25), image=ImageConfig(size=16), input="waveform", style_units=1
    )

    def decode(latents):
        return np.tile(np.tanh(latents[:, 1])[:, None, None, None], (1, 16, 16, 3)).astype(np.float32)

    model = Predictor(
        lambda clips: np.zeros((len(clips), 16, 16, 3), np.float32),
        metadata,
        encode_fn=lambda clips: np.zeros((len(clips), 2), np.float32),
        decode_fn=decode,
    )
    paths = generate_images(model, audio, tmp_path / "s", samples=3, temperature=0.5, seed=7)
    assert [path.name for path in paths] == [f"000{i}-{j}.png" for i in range(2) for j in (1, 2, 3)]
    styles = 0.5 * np.random.default_rng(7).standard_normal(3)
    expected = to_uint8(np.tanh(styles.astype(np.float32)))
    np.testing.assert_array_equal([read(path)[0, 0, 0] for path in paths], np.tile(expected, 2))
    with pytest.raises(UsageError, match="samples must be 1 or more, and temperature between 0 and 4"):
        generate_images(model, audio, tmp_path / "t", samples=0)
    with pytest.raises(UsageError, match="samples need a model with a style"):
        generate_images(Loudness(), audio, tmp_path / "t", samples=2)
    assert not (tmp_path / "t").exists()


def test_count_inputs_of_audio_vectors_and_unreadable_files(audio, tmp_path):
    assert count_inputs(audio, Loudness().metadata) == 10 and count_inputs(audio, Loudness().metadata, 0.04) == 13
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    assert count_inputs(tmp_path / "broken.wav", Loudness().metadata) == 1
    np.save(tmp_path / "v.npy", np.zeros((7, 12), np.float32))
    metadata = ModelMetadata(features=FeatureConfig(embedding=12), image=ImageConfig(size=16))
    assert count_inputs(tmp_path / "v.npy", metadata) == 7


@pytest.mark.parametrize("left", [[], [LIST_FILE + ".tmp"], [LIST_FILE, "0000.png", "beside-a.png"]])
def test_what_a_killed_call_left_is_replaced(left, tmp_path):
    hidden = tmp_path / ".a.tmp"
    hidden.mkdir()
    for name in left:
        (hidden / name).write_text("[]")
    with StagedFolder(tmp_path / "a", overwrite=False) as staged:
        staged.stage("0000.png").write_text("new")
        staged.commit()
    assert (tmp_path / "a" / "0000.png").read_text() == "new" and not hidden.exists()


def test_hidden_folder_of_others_is_left_alone(tmp_path):
    (tmp_path / ".a.tmp").mkdir()
    (tmp_path / ".a.tmp" / "mine.txt").write_text("mine")
    with (
        pytest.raises(UsageError, match=r"\.a\.tmp must not exist.*Received: one with other files\. Move it"),
        StagedFolder(tmp_path / "a", overwrite=False) as staged,
    ):
        staged.stage("0000.png")
    assert (tmp_path / ".a.tmp" / "mine.txt").read_text() == "mine"


def test_sheet_and_command_name_the_predicted_labels(tmp_path, monkeypatch):
    captions, heard = [], []
    draw_sheet = images_module.draw_sheet
    monkeypatch.setattr(
        images_module,
        "draw_sheet",
        lambda rows, names, texts: (captions.extend(texts), draw_sheet(rows, names, texts))[1],
    )
    digit = shipped_models()["digits"] / "model.tflite"
    tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    samples = np.concatenate([tone, np.zeros(16_000)]).astype(np.float32)
    generate_images(a2i.load(digit), samples, tmp_path / "a", sample_rate=16_000, on_labels=heard.extend)
    assert heard == a2i.load(digit).predict_labels(samples, 16_000).answers and heard[1] == "unknown"
    assert captions == [f"0 s: {heard[0]}", f"1 s: {heard[1]}"]
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    told = CliRunner().invoke(cli, ["generate", "digits", str(tmp_path / "a.wav"), "--out", str(tmp_path / "images")])
    assert told.exit_code == 0 and re.search(r"a: 2 images; predicted labels: .*unknown \([12]\)", told.output)
    heard.clear()
    generate_images(a2i.load(digit), samples, tmp_path / "b", sample_rate=16_000, sheet=False)
    assert not heard and images_module._short("child speech, kid speaking") == "child speech, k…"
