"""A tiny preset of Stable Diffusion 3 with its tokenizers, and one short run on records of tones.

Without the extra diffusion there is nothing to collect here.
"""

import importlib.util
from typing import NamedTuple

import pytest
from support.tone_source import ToneSource, build
from support.training_runs import CopyRun

from keras_a2i.models import AudioToken
from keras_a2i.models.token_diffusion import DiffusionConfig
from keras_a2i.records.splits import SplitSpec
from keras_a2i.training.fit_audio_token import fit_audio_token

if importlib.util.find_spec("keras_hub") is None:
    collect_ignore_glob = ["test_*.py"]

SETTINGS = {"backbone_dtype": "float32", "epochs": 2, "batch_size": 4, "learning_rate": 3e-3, "verbose": 0}


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    from support.tiny_diffusion import save_tiny_preset

    folder = tmp_path_factory.mktemp("preset")
    save_tiny_preset(folder)
    return folder


@pytest.fixture(scope="session")
def diffusion(preset):
    return DiffusionConfig(preset=str(preset), image_size=16, dtype="float32").load()


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    build(path, ToneSource(n_sources=2, seconds=6), split=SplitSpec(kind="block", val_fraction=0.25, guard=0))
    return path


class Run(NamedTuple):
    """A training of two epochs: its folder, its model, and the folder as it was when epoch 2 began."""

    folder: object
    model: AudioToken
    killed: object


@pytest.fixture(scope="session")
def run(records, preset, tmp_path_factory):
    home = tmp_path_factory.mktemp("audio-token")
    copy = CopyRun(home / "run", home / "killed", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)
        model = fit_audio_token(records, home / "run", preset=preset, callbacks=[copy], **SETTINGS)
    return Run(home / "run", model, home / "killed")
