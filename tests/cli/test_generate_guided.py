"""`keras-a2i generate --guide`: images, distances, and one sentence for what doesn't go together."""

import re

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image
from support.aligned_runs import aligned_run
from support.styled_models import exemplar_model, prototype_model

from keras_a2i.cli.main import cli
from keras_a2i.errors import SourceError
from keras_a2i.exporters.export import export
from keras_a2i.models.model_file import save_model
from keras_a2i.models.shipped import shipped_models

DISTANCES = r"a: 2 images, distance from the target ([\d.]+) to ([\d.]+)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with a style, a run that aligned audio and images, an exported file, an image and audio."""
    folder = tmp_path_factory.mktemp("guided")
    model = prototype_model()
    (folder / "run").mkdir()
    save_model(model, folder / "run" / "model.keras", model.metadata)
    exemplars = exemplar_model()
    save_model(exemplars, folder / "exemplars.keras", exemplars.metadata)
    export(folder / "run", folder / "model.tflite")
    aligned_run(folder / "aligned")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "image.png")
    soundfile.write(folder / "a.wav", rng.uniform(-0.3, 0.3, 20_000), 16_000)
    (folder / "broken.wav").write_bytes(b"no audio")
    return folder


@pytest.fixture
def generate(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    return lambda *args: CliRunner().invoke(cli, ["generate", *map(str, args), "--out", str(tmp_path / "out")])


def images_in(path):
    return np.stack([np.asarray(Image.open(file), int) for file in sorted(path.glob("*.png"))])


@pytest.mark.training
def test_file_that_does_not_exist_ends_the_command_before_anything_is_written(generate, tmp_path):
    found = generate("run", "a.wav", "nowhere.wav")
    assert isinstance(found.exception, SourceError) and not (tmp_path / "out").exists()
    assert str(found.exception) == "Every AUDIO must exist. Received: nowhere.wav, which can't be found"


@pytest.mark.training
def test_guide_writes_nearer_images_and_prints_distances(generate, tmp_path):
    plain = generate("run", "a.wav")
    assert plain.exit_code == 0 and "distance" not in plain.output
    own = images_in(tmp_path / "out" / "a")
    found = generate("run", "a.wav", "broken.wav", "--guide", 0, "--guide-by", "aligned", "--overwrite")
    assert found.exit_code == 0 and "skipped: broken.wav can't be read as audio" in found.output, found.output
    np.testing.assert_array_equal(images_in(tmp_path / "out" / "a"), own)
    before, after = map(
        float, re.search(r"a: 2 images, distance from the target ([\d.]+) to ([\d.]+)", found.output).groups()
    )
    assert before == after
    found = generate("run", "a.wav", "--guide", 6, "--guide-by", "aligned", "--guide-latent", "--overwrite")
    first, after = map(
        float, re.search(r"a: 2 images, distance from the target ([\d.]+) to ([\d.]+)", found.output).groups()
    )
    assert first == before and after < before - 0.01
    assert np.abs(images_in(tmp_path / "out" / "a") - own).mean() > 1


@pytest.mark.training
def test_guide_goes_with_samples_films_an_image_and_the_models_own_space(generate, tmp_path):
    found = generate("aligned", "a.wav", "--guide", 2)
    assert found.exit_code == 0 and "2 images, distance" in found.output, found.output
    options = ("--guide", 2, "--towards", "image.png", "--samples", 2, "--temperature", 0.5, "--seed", 1)
    found = generate("run", "a.wav", *options, "--overwrite")
    assert found.exit_code == 0 and "4 images, distance" in found.output, found.output
    found = generate(
        "exemplars.keras",
        "a.wav",
        "--guide",
        1,
        "--guide-by",
        "aligned",
        "--guide-starts",
        3,
        "--seed",
        4,
        "--overwrite",
    )
    assert found.exit_code == 0 and "2 images, distance" in found.output, found.output
    pytest.importorskip("av")
    found = generate("run", "a.wav", "--guide", 1, "--guide-by", "aligned", "--video", "--fps", 4, "--style-walk", 1)
    assert found.exit_code == 0, found.output
    assert re.search(r"5 frames, .*, distance from the target [\d.]+ to [\d.]+", found.output), found.output


@pytest.mark.training
@pytest.mark.skipif("digits" not in shipped_models(), reason="The shipped models aren't installed")
def test_shipped_model_is_guided_by_its_keras_file(generate):
    found = generate("digits", "a.wav", "--guide", 1, "--guide-starts", 1, "--towards", "image.png")
    assert found.exit_code == 0 and "2 images, distance" in found.output, found.output


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["run", "--guide-by", "aligned"], "--guide-by must be left out without --guide"),
        (["run", "--guide-latent"], "--guide-latent must be left out without --guide"),
        (["run", "--guide-starts", "2"], "--guide-starts must be left out without --guide"),
        (["run", "--towards", "image.png"], "--towards must be left out without --guide"),
        (["run", "--seed", "1"], "--seed must be left out without --samples, --style-walk or --guide"),
        (["run", "--guide", "5", "--temperature", "1"], "--temperature must be left out without --samples or --style"),
        (
            ["run", "--guide", "5", "--guide-starts", "2", "--samples", "2"],
            "--guide-starts must be left out with --samples, whose images start at their own styles",
        ),
        (
            ["run", "--guide", "5", "--guide-starts", "2", "--video", "--style-walk", "1"],
            "--guide-starts must be left out with --style-walk",
        ),
        (["run", "--guide", "5", "--video", "--smooth", "1"], "--smooth must be left out with --guide"),
        (["run", "--guide", "5"], "Received: by=None. Train one on the same records with the recipe words-aligned. On"),
        (["run", "--guide", "5"], "On the command line: --guide-by"),
        (["aligned", "--guide", "5", "--guide-starts", "2"], "starts=2. On the command line: --guide-starts"),
        (
            ["model.tflite", "--guide", "5", "--guide-by", "aligned"],
            "model must have an encoder and a generator with gradients to be guided, as a run folder, a .keras file or "
            "an AudioToImage has. Received: a function, or a TFLite, SavedModel or ONNX file. Pass the run that it "
            "was exported from, or leave guidance out",
        ),
    ],
)
def test_what_does_not_go_together_exits_with_status_2(generate, tmp_path, args, sentence):
    found = generate(args[0], "a.wav", *args[1:])
    assert found.exception.exit_status == 2 and sentence in str(found.exception), found.exception
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--guide-by", "nowhere"], "by must be a run folder whose training aligned"),
        (["--guide-by", "run"], "by must be a run folder whose training aligned"),
        (["--towards", "none.png"], "none.png"),
        (["--towards", "broken.wav"], "broken.wav"),
    ],
)
def test_files_that_cannot_guide_exit_with_status_1(generate, tmp_path, args, sentence):
    found = generate("run", "a.wav", "--guide", 5, *args)
    assert found.exception.exit_status == 1 and sentence in str(found.exception), found.exception
    assert not (tmp_path / "out").exists()


def test_number_of_steps_out_of_range_is_refused(generate):
    found = generate("run", "a.wav", "--guide", "-1")
    assert found.exit_code == 2 and "'--guide': -1 is not in the range 0<=x<=1000" in found.output
