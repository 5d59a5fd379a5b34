"""Records of tones, and one whole training on them that the tests of `fit` and of resuming share."""

import shutil
from typing import NamedTuple

import pytest
from support.tone_source import ToneSource, build
from support.training_runs import tensorboard_logs, train

from keras_a2i.models import AudioToImage
from keras_a2i.records.splits import SplitSpec
from keras_a2i.training.callbacks import Checkpoint


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    build(path, ToneSource(n_sources=3), split=SplitSpec(kind="block", val_fraction=0.25, guard=0))
    return path


class Whole(NamedTuple):
    """A training of four epochs: its run folder, its model, and the folder as it was before epoch 3 was saved."""

    run: object
    model: AudioToImage
    killed: object


@pytest.fixture(scope="session")
def whole(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save = Checkpoint.save

    def copy_and_save(self):
        if self.epoch == 3:
            shutil.copytree(folder / "run", folder / "killed", dirs_exist_ok=True)
        save(self)

    with pytest.MonkeyPatch.context() as patch, tensorboard_logs():
        patch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)
        patch.setattr(Checkpoint, "save", copy_and_save)
        model = train(records, folder / "run")
    return Whole(folder / "run", model, folder / "killed")
