"""An exported model without TensorFlow and Keras; tests/light_install.sh does the same in an environment of its own."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import soundfile

from keras_a2i.config import ImageConfig
from keras_a2i.exporters.export import export
from keras_a2i.models import AudioToImage, DenseEncoder, ResidualGenerator
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.serving.predictor import load

_BLOCKED = ("tensorflow", "keras", "pandas", "matplotlib", "google_crc32c", "jax", "torch")
_BLOCK = f"import sys; sys.modules.update(dict.fromkeys({_BLOCKED!r})); "
_COMMAND = _BLOCK + "sys.argv[0] = 'keras-a2i'; from keras_a2i.cli.main import main; main()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A .tflite and an .onnx file with a style, a .keras file, and two and a half seconds of noise."""
    folder = tmp_path_factory.mktemp("light")
    keras.utils.set_random_seed(0)
    model = AudioToImage(
        DenseEncoder(units=(16, 8)),
        ResidualGenerator(channels=(8,), base_channels=8),
        image_size=16,
        style_units=3,
        normalization=(np.zeros(104), np.full(104, 225.0)),
    )
    metadata = ModelMetadata(image=ImageConfig(size=16), style_units=3)
    export(model, folder / "model.tflite", metadata=metadata)
    export(model, folder / "model.onnx", metadata=metadata)
    save_model(model, folder / "model.keras", metadata)
    soundfile.write(folder / "a.wav", np.random.default_rng(0).uniform(-0.3, 0.3, 40_000), 16_000)
    return folder


def run(folder, code, *args):
    return subprocess.run([sys.executable, "-c", code, *args], cwd=folder, capture_output=True, text=True)


@pytest.mark.training
@pytest.mark.parametrize("name", ["model.tflite", "model.onnx"])
def test_load_without_tensorflow_predicts_the_same_images(folder, name):
    code = (
        f"import keras_a2i, numpy; model = keras_a2i.load('{name}'); "
        f"numpy.savez('{name}.npz', images=model.predict('a.wav'), samples=model.sample('a.wav', 2, seed=3))"
    )
    done = run(folder, _BLOCK + code)
    assert done.returncode == 0, done.stderr
    found = np.load(folder / f"{name}.npz")
    np.testing.assert_allclose(found["images"], load(folder / name).predict(folder / "a.wav"), atol=1e-5)
    expected = load(folder / "model.keras").sample(folder / "a.wav", 2, seed=3)
    np.testing.assert_allclose(found["samples"], expected, atol=1e-4)
    assert np.abs(expected[:, 0] - expected[:, 1]).max() > 0.02


@pytest.mark.training
def test_commands_without_tensorflow_generate_images_videos_and_live_images(folder):
    for args, files in (
        (("generate", "model.tflite", "a.wav", "--out", "images"), ("images/a/0002.png", "images/a.png")),
        (("generate", "model.tflite", "a.wav", "--out", "samples", "--samples", "2"), ("samples/a/0002-2.png",)),
        (("generate", "model.tflite", "a.wav", "--out", "videos", "--video", "--fps", "4"), ("videos/a.mp4",)),
        (
            ("live", "model.tflite", "--input", "a.wav", "--to", "live", "--rate", "2", "--seconds", "1"),
            ("live/000001.png",),
        ),
    ):
        done = run(folder, _COMMAND, *args)
        assert done.returncode == 0, done.stderr
        assert all((folder / file).stat().st_size for file in files)


@pytest.mark.training
@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("generate", "model.keras", "a.wav", "--out", "x"), "Error: Loading model.keras needs the package keras"),
        (("export", "model.keras", "--out", "x.tflite"), "Error: This command needs the package keras"),
    ],
)
def test_commands_that_need_tensorflow_name_the_full_installation(folder, args, sentence):
    done = run(folder, _COMMAND, *args)
    assert done.returncode == 1 and done.stderr.startswith(sentence), done.stderr
    assert done.stderr.rstrip().endswith("which isn't installed. Install it with: pip install keras-a2i")
