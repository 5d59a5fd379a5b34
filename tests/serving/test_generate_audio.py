"""Wav files of images."""

import keras
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image

from keras_a2i.cli import generate_audio as cli
from keras_a2i.errors import ModelError, SourceError, UsageError
from keras_a2i.models import ImageToAudio
from keras_a2i.serving.generate_audio import generate_audio


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return ImageToAudio(
        image_size=16, sample_rate=8000, duration=0.25, latent_dim=4, style_units=2, widths=(4, 4, 4, 4, 4)
    )


@pytest.fixture
def drawings(tmp_path):
    folder = tmp_path / "drawings"
    folder.mkdir()
    for i, name in enumerate(("b.png", "a.jpg")):
        Image.new("RGB", (30, 20), (90 * i, 40, 200)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_folder_gives_a_readable_wav_file_per_image(model, drawings, tmp_path):
    done = generate_audio(model, drawings, tmp_path / "out")
    assert done.paths == [tmp_path / "out" / "a.wav", tmp_path / "out" / "b.wav"] and done.skipped == []
    for path in done.paths:
        info = soundfile.info(path)
        assert (info.samplerate, info.frames, info.channels, info.subtype) == (8000, 2000, 1, "PCM_16")
    expected = model.generate(np.full((1, 16, 16, 3), [-1.0, 40 / 127.5 - 1, 200 / 127.5 - 1]))[0]
    np.testing.assert_allclose(soundfile.read(tmp_path / "out" / "b.wav")[0], expected, atol=1e-4)


def test_the_same_seed_writes_the_same_bytes_and_overwrite_replaces_them(model, drawings, tmp_path):
    first, again, other = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    for folder, seed in ((first, 1), (again, 1), (other, 2)):
        generate_audio(model, drawings / "b.png", folder, seed=seed, temperature=1.0)
    assert (first / "b.wav").read_bytes() == (again / "b.wav").read_bytes() != (other / "b.wav").read_bytes()
    with pytest.raises(UsageError, match=r"folder must not hold files of an earlier call. Received: .*1 with 1 of"):
        generate_audio(model, drawings / "a.jpg", first)
    generate_audio(model, drawings / "a.jpg", first, overwrite=True)
    assert sorted(path.name for path in first.glob("*.wav")) == ["a.wav"]


def test_damaged_image_is_skipped_or_stops_a_strict_call(model, drawings, tmp_path):
    (drawings / "c.png").write_bytes(b"damaged")
    steps = []
    done = generate_audio(model, drawings, tmp_path / "out", progress=lambda *state: steps.append(state))
    assert len(done.paths) == 2 and done.skipped == ["c.png isn't a PNG or JPEG image"] and steps == [(3, 3)]
    with pytest.raises(SourceError, match=r"c\.png isn't a PNG or JPEG image"):
        generate_audio(model, drawings, tmp_path / "strict", strict=True)
    with pytest.raises(SourceError, match=r"No image could be read \(1 given\). c\.png isn't"):
        generate_audio(model, drawings / "c.png", tmp_path / "none")
    assert not (tmp_path / "strict").exists() and not (tmp_path / "none").exists()


def test_images_that_cannot_be_named_or_found_are_refused(model, drawings, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"images must be \.png, .* files or folders of them. Received: no such file"):
        generate_audio(model, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UsageError, match=r"images must have different names. Received: b.png twice"):
        generate_audio(model, [drawings, drawings / "b.png"], tmp_path / "out")
    Image.new("RGB", (4, 4)).save(drawings / "a.png")
    done = generate_audio(model, drawings, tmp_path / "out")
    assert [path.name for path in done.paths] == ["a.jpg.wav", "a.png.wav", "b.wav"]


def test_command_writes_files_and_names_what_it_skips(model, drawings, tmp_path):
    (tmp_path / "run").mkdir()
    model.save(tmp_path / "run" / "model.keras")
    (drawings / "c.png").write_bytes(b"damaged")
    arguments = [str(tmp_path / "run"), str(drawings), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and str(tmp_path / "out" / "a.wav") in result.stdout
    assert "skipped: c.png isn't a PNG" in result.stderr and "1 of 3 images skipped" in result.stderr
    again = CliRunner().invoke(cli.command, arguments).exception
    assert "On the command line: --out" in str(again)


def test_run_without_a_model_is_refused(drawings, tmp_path):
    with pytest.raises(ModelError, match=r"A preset must be a run folder"):
        generate_audio(tmp_path / "nothing", drawings, tmp_path / "out")
